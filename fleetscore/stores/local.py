"""The local store: a folder. Every write lands as a new file under its final name in one step, so a kill leaves old or new."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlparse

import pyarrow as pa

from fleetscore.errors import ConflictError, MissingBlobError
from fleetscore.stores.base import Entry, check_path

OWN_FOLDER = ".fleetscore"
"""Holds temporary files and locks, and the embedded host's history; no store path begins with it."""


class LocalStore:
    """A folder as a store. Conditional writes hold among all processes of one machine."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.url = self.root.as_uri()
        self._temporary = self.root / OWN_FOLDER / "tmp"
        self._locks = self.root / OWN_FOLDER / "locks"

    @classmethod
    def from_url(cls, url: str) -> LocalStore:
        """The store at `file:///folder` or at a plain folder path; the folder is made on the first write."""
        return cls(Path(unquote(urlparse(url).path)) if url.startswith("file://") else Path(url).expanduser())

    def read(self, path: str) -> bytes:
        return self.read_tagged(path)[0]

    def read_tagged(self, path: str) -> tuple[bytes, str]:
        try:
            with self._file(path).open("rb") as file:
                return file.read(), _etag(os.fstat(file.fileno()))
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise _missing(path) from error

    def open(self, path: str) -> pa.NativeFile:
        try:
            return pa.memory_map(str(self._file(path)), "r")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise _missing(path) from error

    def write(self, path: str, data: bytes) -> str:
        with self.sink(path) as file:
            file.write(data)
            file.flush()
            return _etag(os.fstat(file.fileno()))

    def create(self, path: str, data: bytes) -> bool:
        target = self._parent_made(path)
        temporary = self._written(data)
        try:
            os.link(temporary, target)  # fails if the name exists, in one step
        except FileExistsError:
            return False
        finally:
            temporary.unlink()
        return True

    def replace(self, path: str, data: bytes, etag: str | None) -> str:
        with self._lock(path):
            entry = self.stat(path)
            if (entry.etag if entry else None) != etag:
                raise ConflictError(
                    f"{path} was changed by somebody else since it was read.", fix="Read it again and retry."
                )
            return self.write(path, data)

    @contextlib.contextmanager
    def sink(self, path: str) -> Iterator[IO[bytes]]:
        target = self._parent_made(path)
        temporary = self._temporary_path()
        try:
            with temporary.open("wb") as file:
                yield file
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    def stat(self, path: str) -> Entry | None:
        file = self._file(path)
        return _entry(path, file) if file.is_file() else None

    def list(self, prefix: str) -> Iterator[Entry]:
        folder, _, _ = prefix.rpartition("/")
        base = self.root / folder if folder else self.root
        paths = (p.relative_to(self.root).as_posix() for p in base.rglob("*") if p.is_file())
        wanted = sorted(p for p in paths if p.startswith(prefix) and not p.startswith(OWN_FOLDER + "/"))
        for path in wanted:
            with contextlib.suppress(FileNotFoundError):  # deleted since it was listed
                yield _entry(path, self.root / path)

    def delete(self, path: str) -> None:
        self._file(path).unlink(missing_ok=True)

    def _file(self, path: str) -> Path:
        return self.root / check_path(path)

    def _parent_made(self, path: str) -> Path:
        target = self._file(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def _temporary_path(self) -> Path:
        self._temporary.mkdir(parents=True, exist_ok=True)
        return self._temporary / uuid.uuid4().hex

    def _written(self, data: bytes) -> Path:
        temporary = self._temporary_path()
        temporary.write_bytes(data)
        return temporary

    @contextlib.contextmanager
    def _lock(self, path: str) -> Iterator[None]:
        self._locks.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(path.encode()).hexdigest()[:32]
        with (self._locks / name).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # released by the kernel when a holder is killed
            yield


def _etag(status: os.stat_result) -> str:
    return f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"


def _entry(path: str, file: Path) -> Entry:
    status = file.stat()
    return Entry(path, status.st_size, _etag(status), datetime.fromtimestamp(status.st_mtime, UTC))


def _missing(path: str) -> MissingBlobError:
    return MissingBlobError(f"{path} is not in the store.")
