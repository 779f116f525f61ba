"""The host's memory: one SQLite file, one writer, many commits made at once.

`Store.write` queues an operation for the writer thread, which runs all that wait in one transaction and
commits (fsync) once; the caller continues after the commit. `Store.read` runs on a thread with a connection
of its own. Operations are plain functions of a connection, in `records.py`.
"""

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from devhost.errors import HostLockedError, SettingsError

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_SCHEMA_VERSION = 2
_LARGEST_BATCH = 1000
_HANDLES = 4
_CHECKED_BYTES = 1 << 26  # larger databases are not read through at every start
_INSTANCES = """
CREATE TABLE instance (
    id TEXT PRIMARY KEY, execution TEXT NOT NULL, name TEXT NOT NULL, version TEXT, status TEXT NOT NULL,
    input TEXT, output TEXT, details TEXT, custom_status TEXT,
    created INTEGER NOT NULL, updated INTEGER NOT NULL,
    parent TEXT, parent_execution TEXT, parent_task INTEGER, parent_name TEXT,
    clock INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX instance_created ON instance (created);
"""
_SCHEMA = f"""{_INSTANCES}
CREATE TABLE history (
    instance TEXT NOT NULL, episode INTEGER NOT NULL, events TEXT NOT NULL, PRIMARY KEY (instance, episode)
) WITHOUT ROWID;
CREATE TABLE inbox (
    n INTEGER PRIMARY KEY AUTOINCREMENT, instance TEXT NOT NULL, execution TEXT, type INTEGER NOT NULL,
    due INTEGER NOT NULL DEFAULT 0, event TEXT NOT NULL
);
CREATE INDEX inbox_instance ON inbox (instance, due);
CREATE TABLE task (
    n INTEGER PRIMARY KEY AUTOINCREMENT, instance TEXT NOT NULL, execution TEXT NOT NULL, id INTEGER NOT NULL,
    name TEXT NOT NULL, input TEXT
);
CREATE INDEX task_instance ON task (instance);
CREATE TABLE timer (
    name TEXT PRIMARY KEY, last TEXT, next TEXT NOT NULL, updated TEXT NOT NULL
) WITHOUT ROWID;
"""
# Layout 1 had no instances without a version; those that had an empty one had none.
_FROM_1 = f"""
ALTER TABLE instance RENAME TO old_instance;
DROP INDEX instance_created;
{_INSTANCES}
INSERT INTO instance SELECT * FROM old_instance;
UPDATE instance SET version = NULL WHERE version = '';
DROP TABLE old_instance;
"""  # noqa: S608  # our own script


class _Operation:
    """One queued write: what to run and who waits for it."""

    __slots__ = ("arguments", "error", "function", "future", "result")

    def __init__(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], future: asyncio.Future[Any]
    ) -> None:
        self.function = function
        self.arguments = arguments
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self, connection: sqlite3.Connection) -> None:
        self.result = self.function(connection, *self.arguments)


class Store:
    """The database of one data folder; holds the folder's lock while open."""

    def __init__(self, folder: Path) -> None:
        """Open or create the database.

        Raises HostLockedError when another host has the folder, SettingsError when it cannot be used.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(
                f"the data folder {folder} cannot be made: {error}; give another with --data"
            ) from error
        self._lock = _lock_folder(folder)
        self._path = folder / "devhost.sqlite"
        try:
            self._writer, self._reader = _open(self._path)
        except BaseException:
            os.close(self._lock)
            raise
        self._queue: queue.SimpleQueue[_Operation | None] = queue.SimpleQueue()
        self._reads = ThreadPoolExecutor(1, thread_name_prefix="store-reader")
        self._thread = threading.Thread(target=self._write_forever, name="store-writer")
        self._thread.start()

    async def write(self, function: Callable[..., _T], *arguments: Any) -> _T:
        """Run `function(connection, *arguments)` in a transaction; return after its commit is on disk.

        What the function raises is raised here, and nothing that it wrote remains.
        """
        future: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        self._queue.put(_Operation(function, arguments, future))
        return await future

    async def read(self, function: Callable[..., _T], *arguments: Any) -> _T:
        """Run `function(connection, *arguments)` over what is committed."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._reads, lambda: function(self._reader, *arguments))
        except sqlite3.DatabaseError as error:
            raise _explained(error, self._path) from error

    def close(self) -> None:
        """Finish what is queued and close."""
        self._queue.put(None)
        self._thread.join()
        self._reads.shutdown()
        self._reader.close()
        self._writer.close()
        os.close(self._lock)

    def _write_forever(self) -> None:
        while True:
            first = self._queue.get()
            batch = [first] if first is not None else []
            ended = first is None
            while not ended and len(batch) < _LARGEST_BATCH:
                try:
                    following = self._queue.get_nowait()
                except queue.Empty:
                    break
                if following is None:
                    ended = True
                else:
                    batch.append(following)
            if batch:
                self._commit(batch)
                batch[0].future.get_loop().call_soon_threadsafe(_deliver, batch)
            if ended:
                return

    def _commit(self, batch: list[_Operation]) -> None:
        """Run all in one transaction; if one fails, each in its own, so that only that one is undone."""
        try:
            self._transact(batch)
        except Exception as error:
            if len(batch) == 1:
                is_sql = isinstance(error, sqlite3.DatabaseError)
                batch[0].error = _explained(error, self._path) if is_sql else error
                return
            for operation in batch:
                self._commit([operation])

    def _transact(self, batch: list[_Operation]) -> None:
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            for operation in batch:
                operation.run(self._writer)
            self._writer.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._writer.execute("ROLLBACK")
            raise


def _deliver(batch: list[_Operation]) -> None:
    for operation in batch:
        if operation.future.done():
            continue
        if operation.error is not None:
            operation.future.set_exception(operation.error)
        else:
            operation.future.set_result(operation.result)


def _open(path: Path) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    """Return a connection that writes and one that reads; raises SettingsError for a damaged file."""
    try:
        if path.exists() and path.stat().st_size == 0 and (path.parent / "keys.json").exists():
            raise sqlite3.DatabaseError("it is empty")  # SQLite would take it for a new one
        writer = _connect(path)
        _create(writer, path)
        if path.stat().st_size <= _CHECKED_BYTES:
            (finding,) = writer.execute("PRAGMA quick_check(1)").fetchone()
            if finding != "ok":
                raise sqlite3.DatabaseError(finding)
        return writer, _connect(path)
    except (sqlite3.DatabaseError, OSError) as error:
        raise _explained(error, path) from error


def _explained(error: Exception, path: Path) -> SettingsError:
    """Return an error that names the database and what to do."""
    if isinstance(error, sqlite3.OperationalError | OSError):  # a full disk, a lock, a lack of rights
        if _lacks_handles():  # SQLite says "unable to open database file" of that as well
            return SettingsError(
                f"{path} cannot be used: {error}; this process has no file handles left: allow more "
                "(`ulimit -n`), and start again"
            )
        return SettingsError(
            f"{path} cannot be used: {error}; make room, or correct its owner and rights, and start again"
        )
    return SettingsError(
        f"{path} is damaged or no database: {error}. Put a copy of it back, or move devhost.sqlite, "
        "devhost.sqlite-wal and devhost.sqlite-shm away: the orchestrations in them are then lost, and the "
        "host begins with none."
    )


def _lacks_handles() -> bool:
    """Whether the process cannot open as many files as a connection needs: database, log, index, journal."""
    opened: list[int] = []
    try:
        while len(opened) < _HANDLES:
            opened.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno in (errno.EMFILE, errno.ENFILE)
    finally:
        for handle in opened:
            os.close(handle)
    return False


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA wal_autocheckpoint=4000")
    return connection


def _create(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        connection.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version={_SCHEMA_VERSION};COMMIT;")
    elif version == 1:
        connection.executescript(f"BEGIN;{_FROM_1}PRAGMA user_version={_SCHEMA_VERSION};COMMIT;")
    elif version != _SCHEMA_VERSION:
        raise SettingsError(
            f"{path} was written by another version of the host (layout {version}, this one has "
            f"{_SCHEMA_VERSION}); delete it or give another data folder with --data"
        )


def _lock_folder(folder: Path) -> int:
    try:
        descriptor = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise SettingsError(
            f"the data folder {folder} cannot be written: {error}; give another with --data"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        os.close(descriptor)
        raise HostLockedError(
            f"another host (process {holder or 'unknown'}) works on {folder}; stop it or give another folder "
            "with --data"
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor
