"""Backfills: what they would do is said beforehand, finished work is never repeated, live windows go first."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from app_host import Host, wait_until
from hypothesis import given
from hypothesis import strategies as st
from toy_workload import write_lines

from fleetscore.errors import CapacityError, InputError
from fleetscore.fleet.answers import BackfilledWindow, BackfillStatus
from fleetscore.fleet.following import STILL_LIMIT_S, StillWatch
from fleetscore.operations.due.backfills import MOST_WINDOWS, list_windows, preview_backfill, wait_for_live_s
from fleetscore.pipeline.local import execute, run_window
from fleetscore.pipeline.submit import decide_backfilled, submit_backfilled, submit_run
from fleetscore.records import FINAL, Only, RunRecord, RunRequest, RunState
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.runs.run_records import read_run
from fleetscore.store.base import Store
from fleetscore.store.paths import run_path
from orchestrators.backfill import backfill_lane

NOW = datetime(2026, 1, 2, tzinfo=UTC)
WINDOWS = [f"2026-01-01T{hour:02d}" for hour in range(4)]


@pytest.fixture
def four(store: Store) -> Store:
    """One window published, one with failures, one unpublished, one that never ran."""
    write_lines(store, WINDOWS[0], [("a", 1, "ok")])
    write_lines(store, WINDOWS[1], [(f"p{i}", i, "fail" if i == 0 else "ok") for i in range(20)])
    write_lines(store, WINDOWS[2], [("a", 1, "fail")])
    write_lines(store, WINDOWS[3], [("a", 1, "ok")])
    for window in WINDOWS[:3]:
        run_window(store, "toy", window)
    return store


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (Only.MISSING, [False, False, True, True]),
        (Only.FAILED, [False, True, True, True]),
        (Only.ALL, [True] * 4),
    ],
)
def test_a_dry_run_says_which_windows_would_run_and_why_and_writes_nothing(
    four: Store, only: Only, expected: list[bool]
) -> None:
    """Published windows are left alone unless they were asked for; every window has a reason."""
    before = {entry.path: entry.etag for entry in four.list("")}
    preview = preview_backfill(four, "toy", WINDOWS, only)
    assert [window.runs for window in preview.windows] == expected
    assert (preview.would_run, preview.total) == (sum(expected), 4)
    assert all(window.why for window in preview.windows)
    assert {entry.path: entry.etag for entry in four.list("")} == before


def test_after_a_backfill_nothing_is_left_to_do_and_nothing_was_done_twice(four: Store) -> None:
    """The second backfill starts no run; the published window kept its first run."""
    for window in WINDOWS:
        asked = submit_backfilled(four, "toy", window, NOW, "backfill-1", Only.MISSING)
        if asked.fresh:
            execute(four, asked.request)
    write_lines(four, WINDOWS[2], [("a", 1, "ok")])
    again = [submit_backfilled(four, "toy", window, NOW, "backfill-2", Only.MISSING) for window in WINDOWS]
    assert [asked.fresh for asked in again] == [False, False, True, False]  # the third had failed once more
    assert four.stat(f"runs/toy-{WINDOWS[0]}-r2/run.json") is None


def test_a_window_that_failed_is_scored_again_where_it_failed(four: Store) -> None:
    """Its data was fixed: a backfill of what is missing publishes it, though its partitions were failed, not late."""
    write_lines(four, WINDOWS[2], [("a", 1, "ok")])
    asked = submit_backfilled(four, "toy", WINDOWS[2], NOW, "backfill-1", Only.MISSING)
    assert execute(four, asked.request).counts == {"scored": 1}


@given(
    st.sampled_from(RunState),
    st.sampled_from(Only),
    st.dictionaries(st.sampled_from(["scored", "failed", "late"]), st.integers(0, 3)),
)
def test_published_work_is_repeated_only_when_everything_or_its_failures_were_asked_for(
    state: RunState, only: Only, counts: dict[str, int]
) -> None:
    """Whatever the newest run: under way is left alone, published runs again only for all, or for failed where some failed."""
    request = RunRequest("toy-w", "toy", "w", 1, NOW, "x")
    decision = decide_backfilled(RunRecord(request, state, NOW, counts=counts), only)
    bad = counts.get("failed", 0) + counts.get("late", 0)
    published = state is RunState.PUBLISHED
    expected = state in FINAL and (not published or only is Only.ALL or (only is Only.FAILED and bad > 0))
    assert decision.runs == expected


def test_a_backfill_waits_while_a_live_window_is_under_way_but_not_for_ever(store: Store) -> None:
    """A run that the timer asked for holds backfills up until it has ended, and for two hours at the most."""
    write_lines(store, WINDOWS[0], [("a", 1, "ok")])
    assert wait_for_live_s(store, NOW) == 0.0
    asked = submit_run(store, "toy", WINDOWS[0], NOW, "timer")
    assert wait_for_live_s(store, NOW) > 0.0
    assert wait_for_live_s(store, NOW + timedelta(hours=3)) == 0.0
    execute(store, asked.request)
    assert wait_for_live_s(store, NOW) == 0.0


@pytest.mark.parametrize("left", [None, b"", b'{"request":'])
def test_a_record_that_is_lost_or_damaged_holds_up_no_backfill(store: Store, left: bytes | None) -> None:
    """A live run that the index has under way and whose record cannot be read costs no other window its backfill."""
    asked = submit_run(store, "toy", WINDOWS[0], NOW, "timer")
    path = run_path(asked.request.run, "run.json")
    store.delete(path) if left is None else store.write(path, left)
    assert wait_for_live_s(store, NOW) == 0.0
    submit_run(store, "toy", WINDOWS[1], NOW, "timer")
    assert wait_for_live_s(store, NOW) > 0.0


def test_a_lane_asks_again_until_no_live_window_is_under_way() -> None:
    """The flow sets a timer for each answer that says wait, and starts the window after that."""

    class Context:
        instance_id, version = "me", "2"
        current_utc_datetime = NOW

        def get_input(self) -> Any:
            return {"workload": "toy", "windows": ["w"], "only": "missing"}

        def call_activity_with_retry(self, name: str, options: Any, asked: Any) -> tuple[str, Any]:
            return name, asked

        def create_timer(self, at: datetime) -> tuple[str, Any]:
            return "timer", at

        def call_sub_orchestrator(self, name: str, asked: Any, instance_id: str) -> tuple[str, Any]:
            return name, instance_id

    wait = {"ok": True, "value": {"wait_s": 10.0}}
    go = {"ok": True, "value": {"request": {"run": "toy-w"}, "start": True, "state": "requested"}}
    flow = backfill_lane(Context())
    yielded = [flow.send(answer) for answer in (None, wait, None, go)]
    assert [name for name, _ in yielded] == ["ask_window", "timer", "ask_window", "run"]
    assert yielded[1][1] == NOW + timedelta(seconds=10)


def test_a_mistyped_year_is_refused_at_once(store: Store) -> None:
    """A year of hours is taken; more windows than a backfill's most are told by their number, and none at all by the field at fault."""
    assert len(list_windows(store, "toy", "2025-01-01T00", "2026-01-01T00")) == 8760
    with pytest.raises(InputError, match=rf"8,765,835 windows.*{MOST_WINDOWS:,} at the most") as raised:
        list_windows(store, "toy", "1026-03-04T00", "2026-03-04T03")
    assert raised.value.field == "from"
    with pytest.raises(InputError, match="no window in") as raised:
        list_windows(store, "toy", WINDOWS[1], WINDOWS[1])
    assert raised.value.field == "to"


def test_an_impossible_span_is_refused_by_both_doors(
    host: Host, host_store: Store, command: Callable[..., tuple[int, str]]
) -> None:
    """The command and the endpoint refuse too many windows before anything is looked up or started."""
    asked = {"workload": "toy", "from": "1026-01-01T00", "to": WINDOWS[0]}
    for dry_run in (True, False):
        answer = host.post("backfills", {**asked, "dry_run": dry_run})
        assert (answer.status_code, answer.json()["error"]["field"]) == (400, "from")
    code, said = command("backfill", "toy", "--from", asked["from"], "--to", asked["to"], "--dry-run")
    assert (code, "a backfill takes 10,000 at the most" in said) == (2, True)


def test_the_command_and_the_door_say_the_same(
    host: Host, host_store: Store, command: Callable[..., tuple[int, str]]
) -> None:
    """`backfill --dry-run` over HTTP, newest first, and from the store; no run is started."""
    write_lines(host_store, WINDOWS[0], [("a", 1, "ok")])
    options = (
        "backfill",
        "toy",
        "--from",
        WINDOWS[0],
        "--to",
        WINDOWS[3],
        "--dry-run",
        "--newest-first",
        "--json",
    )
    code, out = command(*options, "--host", host.url, "--key", host.key)
    asked = {"workload": "toy", "from": WINDOWS[0], "to": WINDOWS[3], "dry_run": True, "newest_first": True}
    answer = host.post("backfills", asked)
    assert (code, answer.status_code, json.loads(out)) == (0, 200, answer.json())
    assert [w["window"] for w in answer.json()["windows"]] == WINDOWS[2::-1]
    assert host.get("runs?workload=toy")["runs"] == []
    code, out = command(*options[:-1])
    assert (code, "3 windows, 3 would run" in out) == (0, True)


def test_a_backfill_hands_over_little_however_many_names_it_has(host: Host, host_store: Store) -> None:
    """1,999 of 2,000 long keys are named: the orchestrations' inputs stay small, and exactly these are scored."""
    window, names = "2026-01-05T00", [f"p{n:05d}-{'x' * 40}" for n in range(2_000)]
    write_lines(host_store, window, [(name, number, "ok") for number, name in enumerate(names)])
    asked = {"workload": "toy", "from": window, "to": "2026-01-05T01", "partitions": names[1:]}
    started = host.post("backfills", asked).json()
    wait_until(lambda: host.get(f"backfills/{started['id']}")["state"] == "Completed", 110.0)
    assert read_results(host_store, read_manifest(host_store, "toy", window)).num_rows == 1_999
    answer = requests.get(
        f"{host.url}/runtime/webhooks/durabletask/instances?showInput=true",
        headers={"x-functions-key": host.master_key},
        timeout=30,
    )
    inputs = {
        each["instanceId"]: each["input"] for each in answer.json() if window in json.dumps(each["input"])
    }
    assert len(inputs) >= 2
    assert max(len(json.dumps(given)) for given in inputs.values()) < 10_000
    run = read_run(host_store, f"toy-{window}")
    assert run.request.partitions == tuple(names[1:])


def standing(**window: str) -> BackfillStatus:
    """A backfill that runs, of one window that waits."""
    waiting = BackfilledWindow(**{"window": WINDOWS[0], "run": "", "state": "waiting", **window})
    return BackfillStatus("b1", "Running", (waiting,), 0, 1)


def test_the_wait_for_a_backfill_that_stands_still_ends_with_a_reason() -> None:
    """Its orchestration may be on a queue that nobody serves; the limit counts from its last change."""
    still, moved = StillWatch(), standing(run="toy-2", verdict="good", state="published")
    still.check(standing(), 0.0)
    still.check(standing(), STILL_LIMIT_S)
    still.check(moved, STILL_LIMIT_S + 1.0)
    still.check(moved, 2 * STILL_LIMIT_S)
    with pytest.raises(CapacityError, match=r"b1 is Running, with 0 of 1 windows done") as ended:
        still.check(moved, 2 * STILL_LIMIT_S + 2.0)
    assert (ended.value.code, "not repeated" in ended.value.fix) == ("backfill_stands_still", True)


def test_a_window_that_takes_long_is_no_standstill() -> None:
    """As long as a run of it is under way, a backfill is waited for."""
    still, scoring = StillWatch(), standing(run="toy-1", state="scoring")
    for hour in range(48):
        still.check(scoring, 3600.0 * hour)
