"""The store: many writes in one commit, each undone alone, and one owner a folder."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from devhost import records
from devhost.commits import new_instance
from devhost.errors import HostLockedError, RequestError, SettingsError
from devhost.records import Filter
from devhost.store import Store


def _with_store(folder: Path, work: Callable[[Store], Coroutine[Any, Any, Any]]) -> Any:
    async def run() -> Any:
        store = Store(folder)
        try:
            return await work(store)
        finally:
            store.close()

    return asyncio.run(run())


def _add(connection: sqlite3.Connection, instance_id: str, is_wanted: bool = True) -> str:
    records.start_instance(connection, new_instance("o", instance_id, None, 1, ""), False)
    if not is_wanted:
        raise RequestError(400, "not this one")
    return instance_id


def test_failed_write_is_undone_alone(tmp_path: Path) -> None:
    """Of writes that share a commit, one that raises leaves nothing behind and takes no other with it."""

    async def work(store: Store) -> tuple[list[Any], list[str]]:
        writes = [store.write(_add, f"i{number}", number % 7 != 3) for number in range(50)]
        results = await asyncio.gather(*writes, return_exceptions=True)
        stored = await store.read(records.list_instances, Filter(), "", 100)
        return results, [each.id for each in stored]

    results, stored = _with_store(tmp_path, work)
    failed = {number for number, result in enumerate(results) if isinstance(result, RequestError)}
    assert failed == {number for number in range(50) if number % 7 == 3}
    assert set(stored) == {f"i{number}" for number in range(50)} - {f"i{number}" for number in failed}


def test_what_is_written_is_read_after_reopening(tmp_path: Path) -> None:
    """A write that has returned is there when the folder is opened again."""

    async def write(store: Store) -> str:
        return await store.write(_add, "kept")

    async def read(store: Store) -> Any:
        return await store.read(records.get_instance, "kept")

    assert _with_store(tmp_path, write) == "kept"
    assert _with_store(tmp_path, read).status == "Pending"


def test_folder_has_one_owner(tmp_path: Path) -> None:
    """A folder that is open cannot be opened again, and can be once it is closed."""
    first = Store(tmp_path)
    with pytest.raises(HostLockedError, match="another host"):
        Store(tmp_path)
    first.close()
    Store(tmp_path).close()


def test_another_layout_is_refused(tmp_path: Path) -> None:
    """A database of another version of the host is not touched."""
    Store(tmp_path).close()
    with sqlite3.connect(tmp_path / "devhost.sqlite") as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(SettingsError, match="layout 99"):
        Store(tmp_path)


def test_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """A data folder below a file is refused with a text."""
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="cannot be made"):
        Store(tmp_path / "file" / "data")


def test_filters_combine(tmp_path: Path) -> None:
    """Time, status and prefix narrow a list together; pages follow each other without gap or overlap."""

    async def work(store: Store) -> None:
        for number in range(20):
            start = new_instance("o", f"{'ab'[number % 2]}{number:02d}", None, number, "")
            await store.write(records.start_instance, start, False)
            ended = replace(start.instance, status="Completed" if number < 18 else "Running")
            await store.write(records.put_instance, ended)
        chosen = Filter(created_from=4, created_to=15, statuses=("Completed",), prefix="a")
        expected = [f"a{number:02d}" for number in range(4, 16, 2)]
        seen: list[str] = []
        while page := await store.read(records.list_instances, chosen, seen[-1] if seen else "", 4):
            seen += [each.id for each in page]
        assert seen == expected
        assert await store.write(records.purge, chosen) == len(expected)
        assert await store.read(records.list_instances, Filter(statuses=()), "", 9) == []
        assert len(await store.read(records.list_instances, Filter(), "", 100)) == 20 - len(expected)
        assert await store.write(records.purge, Filter()) == 18 - len(expected)  # never what has not ended

    _with_store(tmp_path, work)


@pytest.mark.parametrize("spare", range(4))
def test_missing_file_handles_are_named_as_such(tmp_path: Path, spare: int) -> None:
    """A process without file handles says so; it is not advised to make room or to correct rights."""
    program = (
        "import os, resource, sys\n"
        "from pathlib import Path\n"
        "from devhost.errors import SettingsError\n"
        "from devhost.store import Store\n"
        "lowest = os.open(os.devnull, os.O_RDONLY)\n"
        "os.close(lowest)\n"
        "limit = lowest + 1 + int(sys.argv[2])\n"  # the lock of the folder takes the first
        "resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))\n"
        "try:\n"
        "    Store(Path(sys.argv[1])).close()\n"
        "except SettingsError as error:\n"
        "    print(error)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), str(spare)], capture_output=True, text=True, check=True
    ).stdout
    assert "no file handles left" in said and "make room" not in said
