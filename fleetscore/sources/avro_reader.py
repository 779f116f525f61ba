"""Rows of Avro files: records as they stand, or the events of Event Hubs and IoT Hub Capture with their
bodies opened.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa

from fleetscore.errors import InputError
from fleetscore.sources.byte_stream import read_lines
from fleetscore.sources.capture_events import ENVELOPE, Events, open_events, without_redelivered
from fleetscore.sources.formats import format_of
from fleetscore.sources.jsonl_reader import decode_lines, without_array
from fleetscore.sources.record_columns import SeenNames, table_of
from fleetscore.sources.request import RawRows, Request

_BUFFER_BYTES = 1 << 20
_BATCH_RECORDS = 20_000


def read_avro_rows(request: Request) -> Iterator[RawRows]:
    """The wanted fields of a file's records, some blocks at a time."""
    seen = SeenNames()
    wanted: list[str] = []
    row = 1
    for records in _blocks(request, None):
        wanted = request.of_records(seen.add(records))
        yield RawRows(table_of(records, wanted), np.arange(row, row + len(records)))
        row += len(records)
    seen.require(wanted, row - 1)


def read_capture_rows(request: Request) -> Iterator[RawRows]:
    """The wanted fields of the events' bodies, some blocks at a time; an event that was delivered before is
    left out and told.

    The fields of the envelope have their own names: EnqueuedTimeUtc, SequenceNumber, Offset, Properties.x,
    SystemProperties.x.
    """
    seen = SeenNames()
    wanted: list[str] = []
    event, opened = 1, 0
    for block in _captured(request):
        records, numbers, redelivered = without_redelivered(request, block, event)
        events = open_events(records, numbers)
        wanted = _wanted_fields(request, seen.add(events.records))
        opened += len(events.records)
        event += len(block)
        remarks = (_redelivered(redelivered),) if redelivered else ()
        yield RawRows(_event_table(events, wanted), events.numbers, events.rejects, remarks)
    seen.require([name for name in wanted if name.partition(".")[0] not in ENVELOPE], opened)


def _captured(request: Request) -> Iterator[list[dict[str, Any]]]:
    """The events of a file, some at a time: records of Avro, or objects on lines as IoT Hub writes them
    on request.
    """
    found = format_of(request.path)
    if found is None or found.name != "jsonl":
        yield from _blocks(request, _needed_fields(request))
        return
    for piece in without_array(request.path, read_lines(request)):
        records, numbers, _ = decode_lines(piece, 1)
        events = dict(zip(numbers.tolist(), records, strict=True))
        lines = [(line, raw) for line, raw in enumerate(piece.split(b"\n"), 1) if raw.strip()]
        # A line that is no event stands for its own body, which holds no object and so is told.
        yield [
            {**events[n], "Body": events[n].get("Body")} if n in events else {"Body": raw} for n, raw in lines
        ]


def _needed_fields(request: Request) -> list[str]:
    """The fields of the envelope that are read; the others are passed over in the file."""
    named = {request.settings.theirs(name).partition(".")[0] for name in request.columns or ()}
    return [
        "SequenceNumber",
        "Body",
        *(name for name in ENVELOPE if name in named and name != "SequenceNumber"),
    ]


def _wanted_fields(request: Request, available: Sequence[str]) -> list[str]:
    return [name for name in request.of_records(available) if name != "Body"]


def _event_table(events: Events, wanted: Sequence[str]) -> pa.Table:
    """The fields of the bodies; those that a body lacks and the envelope has are the envelope's."""
    inside = [name for name in wanted if name.partition(".")[0] not in ENVELOPE]
    outside = [name for name in wanted if name not in inside]
    within, around = table_of(events.records, inside), table_of(events.envelopes, outside)
    return pa.table({name: (within if name in inside else around)[name] for name in wanted})


def _redelivered(count: int) -> str:
    return f"{count} events were captured twice (same stream and sequence number); each is read once."


def _blocks(request: Request, fields: Sequence[str] | None) -> Iterator[list[dict[str, Any]]]:
    """The records of an Avro file, some blocks at a time; with `fields`, these alone, and the rest is
    passed over.
    """
    with request.store.open(request.path) as file:
        stream = io.BufferedReader(file, _BUFFER_BYTES)
        header = fastavro.reader(stream)
        stream.seek(0)
        records: list[dict[str, Any]] = []
        for block in fastavro.block_reader(stream, reader_schema=_projected(header.writer_schema, fields)):
            request.budget.spend(block.size)
            of_block: Any = block  # its stubs speak of any Avro value; here they are records
            records += of_block
            if len(records) >= _BATCH_RECORDS:
                yield records
                records = []
        if records:
            yield records


def _projected(schema: Any, fields: Sequence[str] | None) -> Any:
    if fields is None:
        return None
    names = [field["name"] for field in schema.get("fields", ())] if isinstance(schema, dict) else []
    if "Body" not in names:
        raise InputError(
            f"Its records have no field 'Body', as those of Capture have; their fields: {', '.join(names) or 'none'}.",
            fix='Set format = "avro" in [data], or narrow `path` to the captured files.',
            code="missing_column",
        )
    if "Properties" in fields or "SystemProperties" in fields:
        return None  # fastavro would take the bytes in these unions for text, and fail where they are none
    kept = [field for field in schema["fields"] if field["name"] in fields]
    return {**schema, "fields": kept}
