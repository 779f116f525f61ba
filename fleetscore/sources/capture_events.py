"""What Event Hubs and IoT Hub Capture put around readings: envelopes, bodies in several dresses, events
delivered twice.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from fleetscore.sources.records import Reject
from fleetscore.sources.request import Request

ENVELOPE = ("SequenceNumber", "Offset", "EnqueuedTimeUtc", "SystemProperties", "Properties")

_ANY = msgspec.json.Decoder()
_OBJECT = msgspec.json.Decoder(dict[str, Any])
_TIME_RUN = re.compile(r"(?:^|/)\d{4}/\d\d/\d\d(?:/\d\d){0,3}(?=/|$|\.)")
_SUFFIX = re.compile(r"\.avro$", re.IGNORECASE)
_US_TIME = "%m/%d/%Y %I:%M:%S %p"


@dataclass(frozen=True, slots=True)
class Events:
    """The objects in the bodies, each with its envelope and the number of its event; the events that hold
    none.
    """

    records: list[dict[str, Any]]
    envelopes: list[Mapping[str, Any]]
    numbers: npt.NDArray[np.int64]
    rejects: tuple[Reject, ...]


def open_events(captured: Sequence[Mapping[str, Any]], numbers: npt.NDArray[np.int64]) -> Events:
    """Open the bodies of captured events: an object, several in an array or on lines, each plain or in
    base64.
    """
    if (plain := _open_plain([event["Body"] for event in captured])) is not None:
        return Events(plain, [_envelope(event) for event in captured], numbers, ())
    records: list[dict[str, Any]] = []
    envelopes: list[Mapping[str, Any]] = []
    of_event: list[int] = []
    rejects: list[Reject] = []
    for number, event in zip(numbers.tolist(), captured, strict=True):
        body = event["Body"]
        found = open_body(body)
        if found is None:
            cause, shown = ("bad_body", _shown(body)) if body else ("empty_body", "")
            rejects.append(Reject(cause, f"event {number}", "Body", shown))
            continue
        records += found
        envelopes += [_envelope(event)] * len(found)
        of_event += [number] * len(found)
    return Events(records, envelopes, np.array(of_event, np.int64), tuple(rejects))


def _shown(body: Any) -> str:
    return repr(body[:60] if isinstance(body, bytes | str) else body)


def open_body(body: Any) -> list[dict[str, Any]] | None:
    """The objects that a body of bytes, text or JSON holds; None where it holds none that can be read.

    >>> open_body(b'[{"a": 1}, {"a": 2}]')
    [{'a': 1}, {'a': 2}]
    >>> open_body(base64.b64encode(b'{"a": 1}'))
    [{'a': 1}]
    """
    if not body:
        return None
    if not isinstance(body, bytes | str):
        return _all_objects(body)
    data = body.encode() if isinstance(body, str) else body
    opened = _objects(data)
    if opened is None:
        opened = _objects(_unpacked(data))
    return opened


def without_redelivered(
    request: Request, block: Sequence[Mapping[str, Any]], first: int
) -> tuple[Sequence[Mapping[str, Any]], npt.NDArray[np.int64], int]:
    """The events that this reading has not seen yet, with their numbers from `first` on, and how many it
    has seen.

    An event is known by its stream (hub and partition, from the path) and its sequence number; messages
    that IoT Hub routes to storage have none, and are all new.
    """
    numbers = np.arange(first, first + len(block))
    try:
        sequences = np.array([event["SequenceNumber"] for event in block], np.int64)
    except (KeyError, TypeError):
        return block, numbers, 0
    earlier = request.state.events.setdefault(stream_of(request.file.path), [])
    new = np.zeros(len(block), bool)
    new[np.unique(sequences, return_index=True)[1]] = True
    for known in earlier:
        if len(sequences) and len(known) and known[0] <= sequences.max() and known[-1] >= sequences.min():
            new &= ~np.isin(sequences, known)
    earlier.append(np.sort(sequences[new]))
    if new.all():
        return block, numbers, 0
    return (
        [event for event, is_new in zip(block, new.tolist(), strict=True) if is_new],
        numbers[new],
        int((~new).sum()),
    )


def stream_of(path: str) -> str:
    """The stream that a captured file belongs to: its path without the time, which may stand before or
    after the partition.

    >>> stream_of("ns/hub/0/2026/03/04/10/05/00.avro"), stream_of("ns/hub/2026/03/04/10/05/00/0.avro")
    ('ns/hub/0', 'ns/hub/0')
    """
    return _SUFFIX.sub("", _TIME_RUN.sub("", path, count=1))


def enqueued_time(text: Any) -> datetime | str | None:
    """The aware time of EnqueuedTimeUtc, in either of its forms; any other text as it is, for the reader
    times to refuse.

    >>> enqueued_time("2/6/2023 6:29:45 PM").isoformat()
    '2023-02-06T18:29:45+00:00'
    >>> enqueued_time("2023-02-06T18:29:45.1230000Z").isoformat()
    '2023-02-06T18:29:45.123000+00:00'
    """
    if not isinstance(text, str):
        return None
    try:
        if "/" in text:
            return datetime.strptime(text, _US_TIME).replace(tzinfo=UTC)
        found = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    except ValueError:
        return text
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _envelope(event: Mapping[str, Any]) -> Mapping[str, Any]:
    if "EnqueuedTimeUtc" not in event:
        return event
    return {**event, "EnqueuedTimeUtc": enqueued_time(event["EnqueuedTimeUtc"])}


def _open_plain(bodies: Sequence[bytes | None]) -> list[dict[str, Any]] | None:
    """The objects of bodies that are one object on one line each; None where some body is something else."""
    if not all(bodies):
        return None
    try:
        lines = b"\n".join(bodies)  # type: ignore[arg-type]  # none of them is None or text, or it raises
        records: list[dict[str, Any]] = _OBJECT.decode_lines(lines)
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError):
        return None
    return records if len(records) == len(bodies) == lines.count(b"\n") + 1 else None


def _objects(data: bytes) -> list[dict[str, Any]] | None:
    data = data.removeprefix(codecs.BOM_UTF8)  # .NET's writers of UTF-8 begin with it
    if not data:
        return None
    try:
        found = _ANY.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _objects_on_lines(data)
    if isinstance(found, str):
        return _objects(_unpacked(found.encode()))
    return _all_objects(found)


def _all_objects(found: Any) -> list[dict[str, Any]] | None:
    found = [found] if isinstance(found, dict) else found
    is_some = isinstance(found, list) and found and all(isinstance(one, dict) for one in found)
    return found if is_some else None


def _objects_on_lines(data: bytes) -> list[dict[str, Any]] | None:
    try:
        return _OBJECT.decode_lines(data) or None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _unpacked(data: bytes) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return b""
