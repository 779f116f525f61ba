"""What pages ask of the store: no more for a long history than for a short one, since a container charges and waits for each request."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fleetscore.dashboard.views import ViewRequest, read_view
from fleetscore.models.model_sets import write_model_set
from fleetscore.models.report import describe_sets
from fleetscore.operations.monthly_costs import list_costs
from fleetscore.operations.watchdog import find_trouble
from fleetscore.records import RunRecord, RunRequest, RunState, to_json
from fleetscore.runs.index import index_run, list_page, list_runs_since
from fleetscore.runs.index_rollup import roll_up_index
from fleetscore.store import decoded_cache as memory
from fleetscore.store import open_store
from fleetscore.store.base import Entry, Store
from fleetscore.store.paths import run_path
from fleetscore.windows import Cadence, window_at

NOW = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)


class CountedStore:
    """A store that counts what a container would be asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.requests: list[str] = []

    def list(self, prefix: str, most: int | None = None) -> Iterator[Entry]:
        """List and count; a page of a listing has five thousand entries, more than there are here."""
        self.requests.append(f"list {prefix}")
        return self._store.list(prefix, most)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name == "url":
            return found

        def counted(path: str, *arguments: Any) -> Any:
            self.requests.append(f"{name} {path}")
            return found(path, *arguments)

        return counted


def store_with(folder: Path, days: int, sets: int) -> Store:
    """A run every twelve hours for so many days, as many model sets of eight files, and the index as housekeeping leaves it."""
    store = open_store(str(folder))
    store.write("data/toy/here.csv", b"")
    for number in range(2 * days):
        window = window_at(NOW, Cadence.HOUR).next(-2 - 12 * number)
        request = RunRequest(f"toy-{window.key}", "toy", window.key, 1, window.end, "timer")
        record = RunRecord(request, RunState.PUBLISHED, window.end, ended=window.end, facts={"cost_usd": 0.5})
        store.write(run_path(request.run, "run.json"), to_json(record))
        index_run(store, record)
    for number in range(sets):
        write_model_set(store, "toy", {f"{n}.bin": b"x" for n in range(8)}, {}, NOW - timedelta(days=number))
    roll_up_index(store, "toy", NOW)
    return store


ASKED: dict[str, Callable[[Store], Any]] = {
    "overview": lambda store: read_view(store, ViewRequest({}), NOW),
    "workload": lambda store: read_view(store, ViewRequest({"workload": "toy"}), NOW),
    "a page of runs": lambda store: list_page(store, "toy", 20, ""),
    "all runs": lambda store: list_runs_since(store, "toy", ""),
    "costs": lambda store: list_costs(store),
    "trouble": lambda store: find_trouble(store, NOW),
}


@pytest.fixture(scope="module")
def stores(session_toy: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Store]:
    """Fifty days, and seven times as many."""
    folder = tmp_path_factory.mktemp("histories")
    return store_with(folder / "short", 50, 3), store_with(folder / "long", 350, 30)


@pytest.mark.parametrize("what", ASKED)
def test_seven_times_the_history_asks_for_little_more(
    stores: tuple[Store, Store], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file a month more where all those months are asked for, and nothing more elsewhere, by a process that remembers nothing."""
    monkeypatch.setattr(memory, "_MEMORY", memory.Memory(0))
    short, long = (CountedStore(store) for store in stores)
    for store in (short, long):
        counted: Any = store
        ASKED[what](counted)
    more = len(long.requests) - len(short.requests)
    assert more <= (1 if what in ("a page of runs", "trouble") else 10), long.requests
    assert not [asked for asked in long.requests if "ledger" in asked]


def test_looking_again_asks_for_what_changes_only(stores: tuple[Store, Store]) -> None:
    """The second look lists, and reads no file of the index again; model sets are read once each, found without their files."""
    store: Any = CountedStore(stores[1])
    looks: tuple[Callable[[Store], Any], ...] = (
        ASKED["overview"],
        ASKED["costs"],
        lambda store: describe_sets(store, "toy"),
    )
    for look in looks:
        look(store)
    store.requests.clear()
    for look in looks:
        look(store)
    again = store.requests
    assert not [asked for asked in again if "read" in asked and ("index/" in asked or "set.json" in asked)]
    assert "list_folders models/toy/" in again
    listed = [asked for asked in again if asked.startswith("list models/")]
    assert all(asked.endswith("/pins/") for asked in listed)  # no pins: whether they were lost
