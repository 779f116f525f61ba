"""The local store: a folder. Every write lands as a new file under its final name in one step, so a kill
leaves old or new.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import stat
import time
import uuid
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit

import pyarrow as pa

from fleetscore.errors import ConflictError, SettingsError, StoreError
from fleetscore.store.base import OWN_FOLDER, Entry, check_path, is_path
from fleetscore.store.local_errors import reading, writing

_log = logging.getLogger("fleetscore.store")
_FLUSHES = 16
_LOCKS = 256
_LEFTOVER_S = 24 * 3600.0  # a temporary file without writes for so long belongs to a writer that was killed


class LocalStore:
    """A folder as a store. Conditional writes hold among all processes of one machine.

    One path cannot be a folder of another ("a" and "a/b"): the second of the two is a StoreError.
    """

    def __init__(self, root: Path) -> None:
        """Use the folder `root`, which the first write makes if it is missing."""
        self.root = root.resolve()
        self.url = self.root.as_uri()
        self._temporary = self.root / OWN_FOLDER / "tmp"
        self._locks = self.root / OWN_FOLDER / "locks"
        self._is_swept = False
        self._new_folders: set[Path] = set()

    @classmethod
    def from_url(cls, url: str) -> LocalStore:
        """The store at `file:///folder` or at a plain folder path; SettingsError for a URL that names
        another machine.
        """
        if not url.startswith("file://"):
            return cls(Path(url).expanduser())
        parts = urlsplit(url)
        if parts.netloc not in ("", "localhost"):
            raise SettingsError(
                f"Store URL {url!r} names the machine {parts.netloc!r}.",
                fix="Use file:///folder (three slashes) or a plain path such as ./folder.",
                field="store",
            )
        return cls(Path(unquote(parts.path)))

    def exists(self) -> bool:
        """Whether the folder is there."""
        return self.root.is_dir()

    def read(self, path: str) -> bytes:
        """The content; MissingBlobError when there is none."""
        return self.read_tagged(path)[0]

    def read_tagged(self, path: str) -> tuple[bytes, str]:
        """Content and etag of the same version; MissingBlobError when there is none."""
        with reading(path), open(self._file(path), "rb", opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            _require_file(path, status.st_mode)
            return file.read(), _etag(status)

    def open(self, path: str) -> pa.NativeFile:
        """The file, mapped into memory: its version stays readable when the path is overwritten or
        deleted.
        """
        with reading(path):
            _require_file(path, self._file(path).stat().st_mode)
            return pa.memory_map(str(self._file(path)), "r")

    def write(self, path: str, data: bytes) -> str:
        """Write or overwrite whole; returns the etag."""
        with writing(path), self._written(path, data) as temporary:
            return self._land(path, temporary)

    def create(self, path: str, data: bytes) -> bool:
        """Write only if nothing is there; of many racing calls exactly one gets True."""
        with writing(path), self._written(path, data) as temporary:
            _stamp(temporary)
            _sync(temporary)
            return self._link(path, temporary)

    def replace(self, path: str, data: bytes, etag: str | None) -> str:
        """Write only over the version `etag` (None: only if nothing is there); ConflictError otherwise.
        Returns the new etag.
        """
        with writing(path), self._written(path, data) as temporary, self._lock(path):
            new_etag = _stamp(temporary)
            _sync(temporary)
            if etag is None:
                won = self._link(path, temporary)
            elif won := self._etag_there(path) == etag:
                temporary.replace(self._file(path))
                self._sync_name(self._file(path))
            if not won:
                raise ConflictError(
                    f"{path} was modified concurrently since it was read.", fix="Read it again and retry."
                )
            return new_etag

    @contextlib.contextmanager
    def sink(self, path: str) -> Iterator[IO[bytes]]:
        """A writer for large files; the path appears when the block ends without an exception, and not at
        all otherwise.
        """
        with self._temporary_file(path) as temporary:
            with temporary.open("wb") as file:
                yield file
            with writing(path):
                self._land(path, temporary)

    def stat(self, path: str) -> Entry | None:
        """The entry at exactly that path, or None."""
        with reading(path):
            return _entry(path, self._file(path))

    def list(self, prefix: str, most: int | None = None) -> Iterator[Entry]:
        """The first `most` entries, or all, whose path starts with `prefix`, sorted; looks only into
        folders that can hold such paths.
        """
        folder, slash, _ = prefix.rpartition("/")
        if slash and not is_path(folder):
            return  # no path begins so
        with reading(prefix):
            yield from islice(_walk(str(self.root / folder), folder + slash, prefix, self.root), most)

    def list_folders(self, folder: str) -> Sequence[str]:
        """The folders directly in `folder` ("" or ending with "/") that hold anything, each ending with
        "/", sorted.
        """
        with reading(folder):
            below = self.root / folder
            names = [found.name for found in below.iterdir() if found.is_dir()] if below.is_dir() else []
            paths = sorted(f"{folder}{name}/" for name in names)
            return [path for path in paths if next(self.list(path, 1), None) is not None]

    def flush(self, paths: Iterable[str]) -> None:
        """Return when the files at the paths, and their names, are on the disk; those that are not there
        are passed over.
        """
        with ThreadPoolExecutor(_FLUSHES) as pool:  # the file system writes many at once in the time of one
            list(pool.map(self._flush, paths))

    def _flush(self, path: str) -> None:
        file = self._file(path)
        with writing(path), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            _sync(file)
            self._sync_name(file)

    def delete(self, path: str, etag: str | None = None) -> None:
        """Remove the path, or only the version `etag` of it; nothing happens if that is not there."""
        file = self._file(path)
        with reading(path):
            if not file.is_file():
                return
        with writing(path), self._lock(path):
            if etag is None or etag == self._etag_there(path):
                file.unlink(missing_ok=True)

    def _file(self, path: str) -> Path:
        """The file at the path; StoreError where symbolic links lead it out of the store."""
        file = self.root / check_path(path)
        if not _stays_within(file, self.root):
            raise StoreError(
                f"{path} is, or lies behind, a symbolic link that leads out of the store.",
                fix="Copy the file into the store, or make the folder that it lies in the store.",
                retry=False,
            )
        return file

    def _etag_there(self, path: str) -> str | None:
        entry = _entry(path, self._file(path))
        return entry.etag if entry else None

    def _link(self, path: str, temporary: Path) -> bool:
        """Whether the file could be put under its final name, which nothing had before; in one step."""
        target = self._file(path)
        try:
            os.link(temporary, target)
        except FileExistsError:
            if target.is_dir():
                raise
            return False
        self._sync_name(target)
        return True

    def _land(self, path: str, temporary: Path) -> str:
        """Put the file under its final name, over whatever is there; returns its etag."""
        etag = _stamp(temporary)
        with self._lock(path):
            temporary.replace(self._file(path))
        return etag

    @contextlib.contextmanager
    def _written(self, path: str, data: bytes) -> Iterator[Path]:
        with self._temporary_file(path) as temporary:
            temporary.write_bytes(data)
            yield temporary

    @contextlib.contextmanager
    def _temporary_file(self, path: str) -> Iterator[Path]:
        """A name for a file that will become `path`, whose folder is made; gone in the end."""
        with writing(path):
            self._make_folder(self._file(path).parent)
            self._temporary.mkdir(parents=True, exist_ok=True)
            self._sweep()
        temporary = self._temporary / uuid.uuid4().hex
        try:
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)

    def _make_folder(self, folder: Path) -> None:
        """Make the folder and those above it, and remember them: their names are not on the disk yet."""
        missing = [each for each in (folder, *folder.parents) if not each.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        self._new_folders.update(missing)

    def _sync_name(self, file: Path) -> None:
        """Have the kernel write the file's name to the disk, with the names of the folders above that this
        process made.
        """
        folder = file.parent
        _sync(folder)
        while folder in self._new_folders:
            self._new_folders.discard(folder)
            folder = folder.parent
            _sync(folder)

    def _sweep(self) -> None:
        """Remove, once per process and store, what killed writers left behind."""
        if self._is_swept:
            return
        self._is_swept = True
        with os.scandir(self._temporary) as found:
            for entry in found:
                with contextlib.suppress(FileNotFoundError):  # another process sweeps, or lands it
                    if time.time() - entry.stat().st_mtime > _LEFTOVER_S:
                        Path(entry.path).unlink()

    @contextlib.contextmanager
    def _lock(self, path: str) -> Iterator[None]:
        """Keep every other conditional or overwriting write of the path waiting; few lock files serve all
        paths.
        """
        self._locks.mkdir(parents=True, exist_ok=True)
        name = f"{zlib.crc32(path.encode()) % _LOCKS:02x}"
        with (self._locks / name).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # released by the kernel when a holder is killed
            yield


def _walk(folder: str, base: str, prefix: str, root: Path) -> Iterator[Entry]:
    """The entries below `folder`, whose path is `base`, that start with `prefix`; links that lead out of
    `root` are passed over.
    """
    try:
        with os.scandir(folder) as found:
            # A folder sorts as "name/", since that is how the paths below it go on.
            named = sorted(
                (
                    (e.name + "/" * e.is_dir(), e)
                    for e in found
                    if (base + e.name + "/").startswith(prefix) and _is_listed(e, root)
                ),
                key=itemgetter(0),
            )
    except (FileNotFoundError, NotADirectoryError):
        return
    for name, file in named:
        path = base + name
        if path == OWN_FOLDER + "/":
            continue
        if name.endswith("/"):
            yield from _walk(file.path, path, prefix, root)
        elif path.startswith(prefix) and (entry := _entry(path, file)):
            yield entry


def _is_listed(entry: os.DirEntry[str], root: Path) -> bool:
    """Whether the entry is a file or folder of the store, and no link that leads out of it, or in a
    circle.
    """
    if not entry.is_symlink():
        return True
    target = Path(os.path.realpath(entry.path))
    inside = target.is_relative_to(root) and not Path(entry.path).is_relative_to(target)
    if not inside:
        _log.warning(
            "%s is passed over: it is a symbolic link that leads out of the store, or in a circle.",
            entry.path,
        )
    return inside


def _stays_within(file: Path, root: Path) -> bool:
    return Path(os.path.realpath(file)).is_relative_to(root)


def _open_at_once(file: str, flags: int) -> int:
    """Open without waiting: a named pipe waits for a writer otherwise."""
    return os.open(file, flags | os.O_NONBLOCK)


def _require_file(path: str, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError
    if not stat.S_ISREG(mode):
        raise StoreError(f"{path} is no regular file.", fix="Put the file there, or remove it.", retry=False)


def _sync(file: Path) -> None:
    """Have the kernel write the file, or the names in the folder, to the disk."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _stamp(file: Path) -> str:
    """Give the file the time to the nanosecond, and return its etag.

    The kernel's own stamp moves on only every few milliseconds, and a freed inode number is soon used
    again: two contents of one size could share an etag.
    """
    now_ns = time.time_ns()
    os.utime(file, ns=(now_ns, now_ns))
    return _etag(file.stat())


def _etag(status: os.stat_result) -> str:
    return f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"


def _entry(path: str, file: Path | os.DirEntry[str]) -> Entry | None:
    try:
        status = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return Entry(path, status.st_size, _etag(status), datetime.fromtimestamp(status.st_mtime, UTC))
