"""What this process has read of a store and need not read again: decoded files, each kept under the version
that a listing names.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

from fleetscore.store.base import Store

Value = TypeVar("Value")
_BUDGET_BYTES = 16_000_000  # of files as they are stored; decoded they take a few times as much


class Memory:
    """Decoded files by store, path and etag: the last used ones, of `budget_bytes` in all. Safe for
    threads; values must not be changed.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._kept: OrderedDict[tuple[str, str, str], tuple[int, Any]] = OrderedDict()
        self._kept_bytes = 0
        self._lock = threading.Lock()

    def read(self, store: Store, path: str, etag: str, decode: Callable[[bytes], Value]) -> Value:
        """The file as `decode` makes it, in the version `etag` or a newer one ("": any; it never changes).

        MissingBlobError when it has to be read and is not there.
        """
        with self._lock:
            known = self._kept.get((store.url, path, etag))
            if known is not None:
                self._kept.move_to_end((store.url, path, etag))
                value: Value = known[1]
                return value
        data, found = store.read_tagged(path)
        value = decode(data)
        self._keep((store.url, path, found if etag else ""), len(data), value)
        return value

    def _keep(self, key: tuple[str, str, str], size_bytes: int, value: Any) -> None:
        with self._lock:
            before = self._kept.pop(key, None)
            self._kept[key] = (size_bytes, value)
            self._kept_bytes += size_bytes - (before[0] if before else 0)
            while self._kept_bytes > self._budget_bytes:
                _, (dropped_bytes, _) = self._kept.popitem(last=False)
                self._kept_bytes -= dropped_bytes


_MEMORY = Memory(_BUDGET_BYTES)


def read_version(store: Store, path: str, etag: str, decode: Callable[[bytes], Value]) -> Value:
    """The file as `decode` makes it, in the version `etag` that a listing just named, or a newer one; read
    once by this process.

    One path has one `decode`. MissingBlobError when it has to be read and is not there.
    """
    return _MEMORY.read(store, path, etag, decode)


def read_unchanging(store: Store, path: str, decode: Callable[[bytes], Value]) -> Value:
    """The file as `decode` makes it; for files that are written once and never changed, which this process
    reads once.

    One path has one `decode`. MissingBlobError when it has to be read and is not there.
    """
    return _MEMORY.read(store, path, "", decode)
