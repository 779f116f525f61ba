"""Logs for the tests of server_load."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from fleetscore.store.local import LocalStore


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """An empty store."""
    return LocalStore(tmp_path / "store")


@pytest.fixture(scope="session")
def line() -> Callable[..., str]:
    """Build a log line of 17 or 16 columns from the few cells that matter."""

    def build(
        start: str,
        server: str,
        load: object = 1,
        sums: Iterable[object] = (1, 2, 3, 4, 5, 6, 7),
        width: int = 17,
    ) -> str:
        megabytes, *parts, secure = sums
        cells = ["1", start, start, "3", megabytes, "4", "1", "web", *parts, secure, load]
        ends = [server, "192.168.0.1"]
        cells = [*cells, *ends] if width == 17 else [*cells[1:], *reversed(ends)]
        return ",".join(map(str, cells))

    return build


@pytest.fixture(scope="session")
def logs(line: Callable[..., str]) -> Callable[..., bytes]:
    """Build a file of one row an hour for each of some servers, for some days of June 2016."""

    def build(servers: list[str], first: int, days: int, load: int = 50) -> bytes:
        rows = [
            line(f"2016-06-{first + day:02d} {hour:02d}:10:00", server, load + hour)
            for day in range(days)
            for hour in range(24)
            for server in servers
        ]
        return ("\n".join(rows) + "\n").encode()

    return build
