"""Universal Binary JSON as XGBoost writes it, read with bounds: nothing is allocated by a size that the
bytes do not hold.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

DEPTH_LIMIT = 64
NUMBERS = {"i": ">i1", "U": ">u1", "I": ">i2", "l": ">i4", "L": ">i8", "d": ">f4", "D": ">f8"}
PLAIN = {"Z": None, "T": True, "F": False}


def decode(data: bytes) -> Any:
    """Return the value that the bytes hold, arrays of one type as numpy arrays; ValueError where they hold
    none.
    """
    reader = _Reader(data)
    value = reader.value(reader.marker(), DEPTH_LIMIT)
    if reader.at != len(data):
        raise ValueError("bytes follow the value")
    return value


class _Reader:
    """A place within the bytes."""

    def __init__(self, data: bytes) -> None:
        """Begin at the first byte."""
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        """Return the next bytes; ValueError where there are not so many."""
        if size < 0 or size > len(self.data) - self.at:
            raise ValueError(
                f"{size} bytes are expected at byte {self.at}, {len(self.data) - self.at} are left"
            )
        self.at += size
        return self.data[self.at - size : self.at]

    def marker(self) -> str:
        """Return the next byte as a letter."""
        return chr(self.take(1)[0])

    def peek(self) -> str:
        """Return the next byte without taking it."""
        return chr(self.data[self.at]) if self.at < len(self.data) else ""

    def size(self) -> int:
        """Return the next whole number; ValueError for another value or a negative one."""
        kind = self.marker()
        if kind not in "iUIlL":
            raise ValueError(f"a size is expected at byte {self.at}")
        found = int(self.number(kind))
        if found < 0:
            raise ValueError("a size is negative")
        return found

    def number(self, kind: str) -> Any:
        """Return a number of a type."""
        form = NUMBERS[kind]
        code = {"i1": "b", "u1": "B", "i2": "h", "i4": "i", "i8": "q", "f4": "f", "f8": "d"}[form[1:]]
        return struct.unpack(">" + code, self.take(int(form[2:])))[0]

    def text(self) -> str:
        """Return text by its size."""
        return self.take(self.size()).decode()

    def value(self, kind: str, depth: int) -> Any:
        """Return the value that a marker announces."""
        if depth == 0:
            raise ValueError("values are nested too deeply")
        if kind in NUMBERS:
            return self.number(kind)
        if kind in PLAIN:
            return PLAIN[kind]
        if kind == "C":
            return self.marker()
        if kind in "SH" and kind:
            return self.text()
        if kind == "[":
            return self.array(depth)
        if kind == "{":
            return self.mapping(depth)
        raise ValueError(f"byte {self.at} announces no value")

    def head(self) -> tuple[str, int | None]:
        """Return an array's or object's type and size, where they are given."""
        kind, size = "", None
        if self.peek() == "$":
            self.take(1)
            kind = self.marker()
            if self.peek() != "#":
                raise ValueError("a type comes without a size")
        if self.peek() == "#":
            self.take(1)
            size = self.size()
        return kind, size

    def array(self, depth: int) -> Any:
        """Return an array: numpy's where its numbers have one type, else a list."""
        kind, size = self.head()
        if kind in NUMBERS and size is not None:
            form = np.dtype(NUMBERS[kind])
            if size > len(self.data):
                raise ValueError("an array is longer than the file")
            return np.frombuffer(self.take(size * form.itemsize), form).astype(form.newbyteorder("="))
        if kind and size is not None and size > len(self.data) - self.at:
            raise ValueError("an array is longer than the file")
        if size is not None:
            return [self.value(kind or self.marker(), depth - 1) for _ in range(size)]
        found = []
        while self.peek() != "]":
            found.append(self.value(self.marker(), depth - 1))
        self.take(1)
        return found

    def mapping(self, depth: int) -> dict[str, Any]:
        """Return an object."""
        kind, size = self.head()
        found: dict[str, Any] = {}
        if size is not None:
            if size > len(self.data) - self.at:
                raise ValueError("an object is longer than the file")
            for _ in range(size):
                name = self.text()
                found[name] = self.value(kind or self.marker(), depth - 1)
            return found
        while self.peek() != "}":
            name = self.text()
            found[name] = self.value(self.marker(), depth - 1)
        self.take(1)
        return found
