"""Messages over a pipe: a JSON header and plain bytes, each behind its length; never a pickle."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import IO, Any

FRAME_LIMIT_BYTES = 1 << 31
"""The largest message that is read; a compiled model is far below."""

_LENGTHS = struct.Struct("<QQ")


def write_frame(file: IO[bytes], header: Mapping[str, Any], payload: bytes = b"") -> None:
    """Write one message and flush it."""
    head = json.dumps(header).encode()
    file.write(_LENGTHS.pack(len(head), len(payload)))
    file.write(head)
    file.write(payload)
    file.flush()


def read_frame(file: IO[bytes]) -> tuple[dict[str, Any], bytes] | None:
    """The next message, or None at the end of the stream; ValueError for one that is cut short or too
    long.
    """
    lengths = file.read(_LENGTHS.size)
    if not lengths:
        return None
    return parse_frame(lengths + _read(file, lengths))


def _read(file: IO[bytes], lengths: bytes) -> bytes:
    return file.read(sum(_checked_lengths(lengths)))


def parse_frame(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The message in these bytes; ValueError when they are not exactly one."""
    head_bytes, payload_bytes = _checked_lengths(data[: _LENGTHS.size])
    body = data[_LENGTHS.size :]
    if len(body) != head_bytes + payload_bytes:
        raise ValueError(f"{len(body)} bytes came where {head_bytes + payload_bytes} were announced")
    header = json.loads(body[:head_bytes])
    if not isinstance(header, dict):
        raise ValueError("the header is not an object")
    return header, body[head_bytes:]


def _checked_lengths(data: bytes) -> tuple[int, int]:
    if len(data) != _LENGTHS.size:
        raise ValueError("the message is cut short")
    head_bytes, payload_bytes = _LENGTHS.unpack(data)
    if head_bytes + payload_bytes > FRAME_LIMIT_BYTES:
        raise ValueError(f"a message of {head_bytes + payload_bytes} bytes")
    return head_bytes, payload_bytes
