"""A PostgreSQL server of the tests' own, on this machine alone."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from adbc_driver_postgresql import dbapi

_DEBIAN = Path("/usr/lib/postgresql")


@dataclass(frozen=True)
class PostgresServer:
    """A running server: its URL, and how to start and stop it."""

    url: str
    folder: Path
    port: int
    binaries: Path

    def run(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Execute a statement and commit; returns its rows."""
        with dbapi.connect(self.url, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute(sql, values) if values else cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"-p {self.port} -h 127.0.0.1 -k {self.folder} -c fsync=off"
        self._control("-o", options, "-l", str(self.folder / "log"), "-w", "start")

    def stop(self) -> None:
        """Stop it at once, with whatever its clients are doing."""
        self._control("-m", "immediate", "-w", "stop")

    def _control(self, *arguments: str) -> None:
        command = [str(self.binaries / "pg_ctl"), "-D", str(self.folder / "data"), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self.folder, user=_owner())


def _owner() -> str | None:
    """Whose processes the server's are: it refuses to run as root."""
    return "postgres" if os.geteuid() == 0 else None


def _binaries() -> Path:
    found = sorted(_DEBIAN.glob("*/bin/initdb"))
    initdb = str(found[-1]) if found else shutil.which("initdb")
    if initdb is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    return Path(initdb).parent


@contextlib.contextmanager
def running_server() -> Iterator[PostgresServer]:
    """A new, empty server, stopped and removed in the end."""
    binaries = _binaries()
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    owner = _owner()
    if owner:
        os.chown(folder, pwd.getpwnam(owner).pw_uid, pwd.getpwnam(owner).pw_gid)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = PostgresServer(f"postgresql://fleet:geheim@127.0.0.1:{port}/postgres", folder, port, binaries)
    password = folder / "password"
    password.write_text("geheim")
    password.chmod(0o644)
    initdb = [str(binaries / "initdb"), "-D", str(folder / "data"), "-U", "fleet", "-A", "scram-sha-256"]
    initdb += ["--pwfile", str(password), "--no-sync", "-E", "UTF8", "--locale=C"]
    try:
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=folder, user=owner)
        server.start()
        yield server
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
