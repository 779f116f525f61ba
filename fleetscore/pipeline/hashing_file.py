"""A writable file that hashes what passes through."""

from __future__ import annotations

import hashlib
from typing import IO


class HashingFile:
    """A writable file that hashes with SHA-256 what passes through."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.closed = False

    def write(self, data: bytes) -> int:
        """Write and hash."""
        self._hash.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        """Nothing is held back here."""

    def close(self) -> None:
        """The file below is closed by whoever opened it."""
        self.closed = True

    def hexdigest(self) -> str:
        """The SHA-256 of all that was written."""
        return self._hash.hexdigest()
