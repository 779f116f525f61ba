"""The dry store: a store to look at what would happen; it reads what is there and discards what is
written.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO

import pyarrow as pa

from fleetscore.store.base import Entry, Store, check_path

_FORGOTTEN = "forgotten"


class DryStore:
    """A view of `store` whose writes are accepted, checked for a legal path, and forgotten: nothing can be
    read back.
    """

    def __init__(self, store: Store) -> None:
        """Look at `store`."""
        self._store = store
        self.url = store.url

    def exists(self) -> bool:
        """Whether the store is there."""
        return self._store.exists()

    def read(self, path: str) -> bytes:
        """The content; MissingBlobError when there is none."""
        return self._store.read(path)

    def read_tagged(self, path: str) -> tuple[bytes, str]:
        """Content and etag of the same version; MissingBlobError when there is none."""
        return self._store.read_tagged(path)

    def open(self, path: str) -> pa.NativeFile:
        """A seekable reader; MissingBlobError when there is none."""
        return self._store.open(path)

    def write(self, path: str, data: bytes) -> str:
        """Discard the data; the etag is of nothing."""
        del data
        check_path(path)
        return _FORGOTTEN

    def create(self, path: str, data: bytes) -> bool:
        """Whether nothing is there; the data is forgotten."""
        self.write(path, data)
        return self._store.stat(path) is None

    def replace(self, path: str, data: bytes, etag: str | None) -> str:
        """Discard the data, as if there were no other writer."""
        del etag
        return self.write(path, data)

    @contextmanager
    def sink(self, path: str) -> Iterator[IO[bytes]]:
        """A writer to nowhere."""
        check_path(path)
        yield io.BytesIO()

    def stat(self, path: str) -> Entry | None:
        """The entry at exactly that path, or None."""
        return self._store.stat(path)

    def list(self, prefix: str, most: int | None = None) -> Iterator[Entry]:
        """The first `most` entries, or all, whose path starts with `prefix`, sorted by path."""
        return self._store.list(prefix, most)

    def list_folders(self, folder: str) -> Sequence[str]:
        """The folders directly in `folder` that hold anything, each ending with "/", sorted."""
        return self._store.list_folders(folder)

    def flush(self, paths: Iterable[str]) -> None:
        """Nothing to do: nothing was written."""

    def delete(self, path: str, etag: str | None = None) -> None:
        """Nothing is removed."""
        del etag
        check_path(path)
