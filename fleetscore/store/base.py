"""The store: named bytes with conditional writes, as a folder or a Blob container. Everything durable goes
through it.

Paths are relative, "/"-separated, without "." or ".." segments. A reader sees a whole old or a whole new
version of a path, never a part. Etags are opaque; a different content has a different etag.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Protocol

import pyarrow as pa

from fleetscore.errors import InputError

OWN_FOLDER = ".fleetscore"
"""Holds a local store's temporary files and locks, and the embedded host's history; no store path begins
with it.
"""

_PATH_MOST_CHARACTERS = 1024  # of a blob's name
_SEGMENT_MOST_BYTES = 255  # of a file's name
_FORBIDDEN = re.compile("[\x00-\x1f\x7f\\\\\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored path, its size, its etag and when it was last written (aware UTC)."""

    path: str
    size_bytes: int
    etag: str
    modified: datetime


class Store(Protocol):
    """Bytes under paths. Implementations: `stores.local.LocalStore`, `stores.blob.BlobStore`; open one with
    `stores.open_store(url)`.
    """

    url: str

    def exists(self) -> bool:
        """Whether the folder or container is there, with or without content."""
        ...

    def read(self, path: str) -> bytes:
        """The content; MissingBlobError when there is none."""
        ...

    def read_tagged(self, path: str) -> tuple[bytes, str]:
        """Content and etag of the same version; MissingBlobError when there is none."""
        ...

    def open(self, path: str) -> pa.NativeFile:
        """A seekable reader for Parquet and Arrow, reading only the requested ranges; MissingBlobError when
        there is none.

        It reads one version: when the path is overwritten, reads go on with the old one or raise
        ConflictError.
        """
        ...

    def write(self, path: str, data: bytes) -> str:
        """Write or overwrite whole; returns the etag."""
        ...

    def create(self, path: str, data: bytes) -> bool:
        """Write only if nothing is there; False (and nothing written) if something is. Of many racing calls
        exactly one gets True.

        What was created, like what `replace` wrote, survives a power failure as soon as the call returns.
        """
        ...

    def replace(self, path: str, data: bytes, etag: str | None) -> str:
        """Write only over the version `etag` (None: only if nothing is there); ConflictError otherwise.
        Returns the new etag.

        A conflict can also mean that this write got through, its answer was lost, and another writer has
        replaced it since: what is applied again after a conflict must bear being applied twice.
        """
        ...

    def sink(self, path: str) -> AbstractContextManager[IO[bytes]]:
        """A writer for large files; the path appears, whole, when the block ends without an exception, and
        not at all otherwise.
        """
        ...

    def stat(self, path: str) -> Entry | None:
        """The entry at exactly that path, or None."""
        ...

    def list(self, prefix: str, most: int | None = None) -> Iterator[Entry]:
        """All entries whose path starts with `prefix` (a plain string prefix), sorted by path; the first
        `most` of them where given.
        """
        ...

    def list_folders(self, folder: str) -> Sequence[str]:
        """The folders directly in `folder` ("" or ending with "/") that hold anything, however deep, each
        ending with "/", sorted. An account with a hierarchical namespace also has those that were emptied.
        """
        ...

    def flush(self, paths: Iterable[str]) -> None:
        """Return when what stands at the paths survives a power failure; paths that are not there are
        passed over.

        Called before something that depends on them is announced. A container's writes survive as soon as
        they return.
        """
        ...

    def delete(self, path: str, etag: str | None = None) -> None:
        """Remove the path, or only the version `etag` of it; nothing happens if that is not there."""
        ...


def check_path(path: str) -> str:
    """The path itself if it is a legal store path, else InputError.

    Legal is what a folder and a Blob container both keep as it is: at most 1,024 characters and 255 bytes a
    segment, no backslash, no control character, no lone surrogate, and nothing in the store's own folder.
    """
    if not is_path(path):
        raise InputError(
            f"{path!r} is not a path inside the store.",
            fix='Use "a/b/c" without ".", ".." or empty segments, backslashes or control characters, not too long, '
            f"and not in {OWN_FOLDER}/.",
        )
    return path


def is_path(path: str) -> bool:
    """Whether `check_path` accepts the path."""
    segments = path.split("/")
    return (
        len(path) <= _PATH_MOST_CHARACTERS
        and _FORBIDDEN.search(path) is None
        and all(s not in ("", ".", "..") and len(s.encode()) <= _SEGMENT_MOST_BYTES for s in segments)
        and segments[0] != OWN_FOLDER
    )
