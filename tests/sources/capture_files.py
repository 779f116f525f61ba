"""Files as Event Hubs Capture and IoT Hub write them."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import fastavro

SCHEMA = {
    "type": "record",
    "name": "EventData",
    "namespace": "Microsoft.ServiceBus.Messaging",
    "fields": [
        {"name": "SequenceNumber", "type": "long"},
        {"name": "Offset", "type": "string"},
        {"name": "EnqueuedTimeUtc", "type": "string"},
        {
            "name": "SystemProperties",
            "type": {"type": "map", "values": ["long", "double", "string", "bytes"]},
        },
        {
            "name": "Properties",
            "type": {"type": "map", "values": ["long", "double", "string", "bytes", "null"]},
        },
        {"name": "Body", "type": ["null", "bytes"]},
    ],
}


ROUTED = {
    "type": "record",
    "name": "Message",
    "namespace": "Microsoft.Azure.Devices",
    "fields": [
        {"name": "EnqueuedTimeUtc", "type": "string"},
        {"name": "Properties", "type": {"type": "map", "values": "string"}},
        {"name": "SystemProperties", "type": {"type": "map", "values": "string"}},
        {"name": "Body", "type": ["null", "bytes"]},
    ],
}
"""What IoT Hub's own routing to storage writes: without sequence numbers."""


def event(
    sequence: int, body: bytes | None, enqueued: str = "3/4/2026 10:00:00 AM", **more: Any
) -> Mapping[str, Any]:
    """One event of a captured file."""
    return {
        "SequenceNumber": sequence,
        "Offset": str(sequence * 64),
        "EnqueuedTimeUtc": enqueued,
        "SystemProperties": {},
        "Properties": {},
        "Body": body,
        **more,
    }


def captured(events: Sequence[Mapping[str, Any]], codec: str = "null", schema: Any = SCHEMA) -> bytes:
    """An Avro file of these events."""
    sink = io.BytesIO()
    fastavro.writer(sink, fastavro.parse_schema(schema), events, codec=codec)
    return sink.getvalue()
