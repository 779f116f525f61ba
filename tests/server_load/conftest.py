"""Logs for the tests of server_load."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from fleetscore.store.local import LocalStore


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """An empty store."""
    return LocalStore(tmp_path / "store")


@pytest.fixture
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
