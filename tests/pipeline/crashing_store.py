"""A store that dies at its n-th write, before or after the write took effect: the fault no real store gives on demand."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from fleetscore.store.base import Store


class Killed(BaseException):
    """The process was killed here. Not an Exception, so that no handler survives it, as none survives SIGKILL."""


class CrashingStore:
    """Delegates to `store`, counting writes; the one numbered `at` (from 1) is the last."""

    def __init__(self, store: Store, at: int = 0, applied: bool = False) -> None:
        self._store = store
        self._at = at
        self._applied = applied
        self.writes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def write(self, path: str, data: bytes) -> str:
        return str(self._guarded(lambda: self._store.write(path, data)))

    def create(self, path: str, data: bytes) -> bool:
        return bool(self._guarded(lambda: self._store.create(path, data)))

    def replace(self, path: str, data: bytes, etag: str | None) -> str:
        return str(self._guarded(lambda: self._store.replace(path, data, etag)))

    def delete(self, path: str, etag: str | None = None) -> None:
        self._guarded(lambda: self._store.delete(path, etag))

    @contextmanager
    def sink(self, path: str) -> Iterator[IO[bytes]]:
        self.writes += 1
        if self.writes == self._at and not self._applied:
            with self._store.sink(path):
                raise Killed
        with self._store.sink(path) as file:
            yield file
        if self.writes == self._at:
            raise Killed

    def _guarded(self, operation: Any) -> Any:
        self.writes += 1
        mine = self.writes == self._at
        if mine and not self._applied:
            raise Killed
        result = operation()
        if mine:
            raise Killed
        return result
