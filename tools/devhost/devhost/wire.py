"""Frames between the host and its worker processes: four bytes of length, then a msgpack value."""

import asyncio
import socket
import struct
from typing import Any

import msgspec

_LENGTH = struct.Struct(">I")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def pack(value: Any) -> bytes:
    """Return the frame that carries the value."""
    body = _encode(value)
    return _LENGTH.pack(len(body)) + body


def receive(connection: socket.socket) -> Any:
    """Read one frame, blocking; raises EOFError when the other side has closed."""
    (length,) = _LENGTH.unpack(_receive_exactly(connection, _LENGTH.size))
    return _decode(_receive_exactly(connection, length))


def _receive_exactly(connection: socket.socket, size_bytes: int) -> bytes:
    parts = bytearray()
    while len(parts) < size_bytes:
        part = connection.recv(min(size_bytes - len(parts), 1 << 20))
        if not part:
            raise EOFError("the other side closed the connection")
        parts += part
    return bytes(parts)


async def read(reader: asyncio.StreamReader) -> Any:
    """Read one frame; raises EOFError when the other side has closed."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        return _decode(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise EOFError("the other side closed the connection") from error
