"""Reading a remote file by ranges: few requests for small reads, no more bytes than requested in large
ones.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable
from typing import Any

READ_AHEAD_BYTES = 256 * 1024
READ_AHEAD_MOST_BYTES = 8 * 1024 * 1024
_KEPT_RANGES = 4


def widen_range(start: int, stop: int, size_bytes: int, ahead_bytes: int) -> tuple[int, int]:
    """The range to fetch for a read of [start, stop): at least `ahead_bytes` long, moved back from the end
    of the file if need be.

    So a first small read near the end brings a Parquet footer whole, wherever it begins.

    >>> widen_range(0, 10, 1000, 100)
    (0, 100)
    >>> widen_range(990, 1000, 1000, 100)
    (900, 1000)
    """
    stop = max(stop, min(start + ahead_bytes, size_bytes))
    return min(start, max(stop - ahead_bytes, 0)), stop


class RangeReader(io.RawIOBase):
    """A seekable file of `size_bytes` whose bytes come from `fetch(start, stop)`; the last few fetched
    ranges are kept.

    Reads that go on where the last fetched range ended fetch twice as much each time, up to
    READ_AHEAD_MOST_BYTES. Not safe for threads by itself; `pyarrow.PythonFile` locks around it.
    """

    def __init__(self, fetch: Callable[[int, int], bytes], size_bytes: int, head: bytes = b"") -> None:
        """Read through `fetch`; `head` is what is already known of the beginning."""
        super().__init__()
        self._fetch = fetch
        self._size_bytes = size_bytes
        self._position = 0
        self._ahead_bytes = READ_AHEAD_BYTES
        self._kept: deque[tuple[int, bytes]] = deque([(0, head)], maxlen=_KEPT_RANGES)

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The position of the next read."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to `offset` from the start, the position or the end; a position before the start is a
        ValueError.
        """
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size_bytes}[whence]
        if base + offset < 0:
            raise ValueError(f"Cannot seek to {base + offset}, before the start of the file.")
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """The next `size` bytes, all of them unless the file ends before; everything that is left for -1 or
        None.
        """
        start = min(self._position, self._size_bytes)
        stop = self._size_bytes if size is None or size < 0 else min(start + size, self._size_bytes)
        data = self._find(start, stop)
        self._position += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` from the position; returns how many bytes there were."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _find(self, start: int, stop: int) -> bytes:
        if start >= stop:
            return b""
        for kept_start, kept in self._kept:
            if kept_start <= start and stop <= kept_start + len(kept):
                return kept[start - kept_start : stop - kept_start]
        return self._load(start, stop)

    def _load(self, start: int, stop: int) -> bytes:
        last_start, last = self._kept[-1]
        goes_on = last_start <= start <= last_start + len(last) and last_start > 0
        self._ahead_bytes = min(2 * self._ahead_bytes, READ_AHEAD_MOST_BYTES) if goes_on else READ_AHEAD_BYTES
        wide_start, wide_stop = widen_range(start, stop, self._size_bytes, self._ahead_bytes)
        data = self._fetch(wide_start, wide_stop)
        if wide_stop - wide_start <= READ_AHEAD_MOST_BYTES:  # a larger one is the caller's to keep
            self._kept.append((wide_start, data))
        return data[start - wide_start : stop - wide_start]
