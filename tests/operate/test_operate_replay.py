"""Replay from the command line and over HTTP."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

from app_host import Host
from toy_workload import write_lines

from fleetscore.pipeline.local import run_window
from fleetscore.pipeline.submit import submit_run
from fleetscore.store.base import Store

NOW = datetime(2026, 1, 1, 2, tzinfo=UTC)
WINDOW = "2026-01-01T00"
Command = Callable[..., tuple[int, str]]


def test_replay_exits_with_whether_anything_differs(store: Store, command: Command) -> None:
    """0 and `the same` for the same bytes, 10 and the difference for other ones, 2 for what was never scored."""
    write_lines(store, WINDOW, [("p7", 5, "ok"), ("late", 0, "late")])
    run_window(store, "toy", WINDOW)
    code, said = command("replay", f"toy-{WINDOW}", "p7")
    assert (code, "the same" in said) == (0, True)
    write_lines(store, WINDOW, [("p7", 6, "ok")])
    code, said = command("replay", f"toy-{WINDOW}", "p7")
    assert (code, "10 is 12 now" in said, f"data/toy/{WINDOW}.csv" in said) == (10, True, True)
    assert command("replay", f"toy-{WINDOW}", "late")[0] == 2
    code, said = command("replay", f"toy-{WINDOW}", "ghost")
    assert (code, "See what is like it: fleetscore explain" in said) == (2, True)
    assert command("replay", "toy-nowhere", "p7") == (
        2,
        "Error: There is no run 'toy-nowhere'.\n`fleetscore runs` lists them.\n",
    )


def test_a_run_that_settled_nothing_cannot_be_replayed(store: Store, command: Command) -> None:
    """A run without a ledger is told as such, with the command that shows how it stands."""
    submit_run(store, "toy", WINDOW, NOW, "test")
    code, said = command("replay", f"toy-{WINDOW}", "p7")
    assert (code, "is requested and has no ledger" in said, f"fleetscore show toy-{WINDOW}" in said) == (
        2,
        True,
        True,
    )


def test_the_door_answers_what_the_command_prints(host: Host, host_store: Store, command: Command) -> None:
    """GET /api/runs/{id}/replay/{partition}; 404 for an unknown partition."""
    write_lines(host_store, WINDOW, [("p7", 5, "ok")])
    host.ended(host.post("runs", {"workload": "toy", "window": WINDOW}).json()["id"])
    answer = host.get(f"runs/toy-{WINDOW}/replay/p7")
    assert (answer["same"], answer["rows"]) == (True, 1)
    code, said = command("replay", f"toy-{WINDOW}", "p7", "--json", "--host", host.url, "--key", host.key)
    told = json.loads(said)
    assert code == 0
    assert {**told, "seconds": 0} == {**answer, "seconds": 0}
    assert host.get(f"runs/toy-{WINDOW}/replay/ghost")["error"]["code"] == "no_partition"
