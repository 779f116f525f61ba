"""Every kind of state file, cut short at any byte: named by the doctor, repaired or said not to be, and never a riddle."""

import json
import random
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from app_host import Host
from toy_workload import write_lines

from fleetscore.app_settings import AppSettings
from fleetscore.errors import DamagedStateError
from fleetscore.models.pins import pin_challenger, pin_version, read_pins
from fleetscore.operations.attention.mutes import mute
from fleetscore.operations.doctor.checks import examine
from fleetscore.operations.due.late_data import submit_late
from fleetscore.operations.due.windows import list_due
from fleetscore.operations.housekeeping import sweep
from fleetscore.operations.notices.delivery import resend_pending
from fleetscore.operations.notices.notice import Notice
from fleetscore.operations.outbound.callbacks import answer_callbacks
from fleetscore.operations.repair.files import repair
from fleetscore.operations.repair.state_check import check_state
from fleetscore.operations.ticks import read_ticks, record_tick
from fleetscore.operations.watchdog import find_trouble, list_open_runs
from fleetscore.pipeline.collect import read_collected
from fleetscore.pipeline.ledger import count_outcomes
from fleetscore.pipeline.local import execute, run_training, run_window
from fleetscore.pipeline.submit import submit_retry, submit_run
from fleetscore.records import Only, PublishedAnyway, RunState, to_json
from fleetscore.registry import get_workload, read_policy
from fleetscore.runs.index import list_runs, list_runs_since
from fleetscore.runs.ledgers import read_ledger
from fleetscore.runs.manifests import read_latest, read_manifest, read_results
from fleetscore.runs.retirements import retire
from fleetscore.runs.run_records import read_run, record_state
from fleetscore.store import open_store
from fleetscore.store.base import Store
from fleetscore.store.paths import mute_path

HOURS = [f"2026-01-01T{hour:02d}" for hour in range(4)]
TRUTHS = {
    "models/toy/pins.json": "pins",
    "models/toy/pins/000001.json": "pin_change",
    "results/toy/2026-01-01T01/manifest.json": "manifest",
    "runs/toy-2026-01-01T01/run.json": "run",
    "runs/toy-2026-01-01T00/run.json": "run",
    "runs/toy-2026-01-01T00-r2/run.json": "run",
    "runs/toy-2026-01-01T01/ledger.parquet": "run_file",
    "runs/toy-2026-01-01T01/collected.json": "run_file",
    "runs/toy-2026-01-01T01/files.json": "run_file",
}
HINTS = [
    "rates/toy.json",
    "results/toy/latest.json",
    "swept/toy.json",
    "late/toy.json",
    "ticks/rescue_timer.json",
    "index",
    "profiles",
]


def now() -> datetime:
    """The time."""
    return datetime.now(UTC)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder store with two model sets, three published windows, one of them twice, and every kind of state file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLEETSCORE_WORKLOADS", "toy=toy_workload:Toy")
        folder = tmp_path_factory.mktemp("lived") / "store"
        store = open_store(str(folder))
        store.write("settings/toy.toml", b"[run]\nlate_until_s = 1e6\n")
        for hour in HOURS:
            write_lines(store, hour, [("a", 1, "ok"), ("b", 2, "ok"), ("c", 3, "ok")])
        run_training(store, "toy", HOURS[0], HOURS[1])
        time.sleep(1.1)  # versions are named to the second, and the toy's sets are alike
        run_training(store, "toy", HOURS[0], HOURS[2])
        first = read_pins(store, "toy").history[0].after
        pin_version(store, "toy", first, partition="b", requested_by="test", why="b is better with it")
        pin_challenger(store, "toy", first, requested_by="test")
        for hour in HOURS[:3]:
            run_window(store, "toy", hour)
        asked = submit_retry(store, f"toy-{HOURS[0]}", now(), "direct", only=Only.ALL)
        execute(store, asked.request)
        sweep(store, now())
        submit_late(store, "toy", now())
        record_tick(store, "rescue_timer", now())
        store.write("rates/toy.json", to_json(read_plan_rates(store)))
        store.write("profiles/toy/v1.parquet", store.read(f"runs/toy-{HOURS[0]}/ledger.parquet"))
        return folder


def read_plan_rates(store: Store) -> object:
    """The rates that a run was planned with."""
    from fleetscore.runs.plans import read_plan

    return read_plan(store, f"toy-{HOURS[0]}").rates


@pytest.fixture
def copied(lived: Path, tmp_path: Path) -> Store:
    """A copy of the store that a test may damage."""
    shutil.copytree(lived, tmp_path / "store")
    return open_store(str(tmp_path / "store"))


def cuts(store: Store, path: str) -> list[int]:
    """Lengths to cut the file to: none of it, all but the last byte, and some at random, the same each time."""
    entry = store.stat(path)
    assert entry is not None, path
    chance = random.Random(path)
    return [0, entry.size_bytes - 1, *(chance.randrange(1, entry.size_bytes) for _ in range(4))]


def rows_of(store: Store) -> dict[str, list[dict[str, object]]]:
    """The published rows of each window."""
    return {hour: read_results(store, read_manifest(store, "toy", hour)).to_pylist() for hour in HOURS[:3]}


def states_of(store: Store) -> dict[str, str]:
    """The state of each run as the index tells it."""
    return {line.run: line.state for line in list_runs(store, "toy")}


def use_everything(store: Store) -> None:
    """What timers and commands do all day; a damaged truth stops what needs it with an error that names the file."""
    kind, policy = get_workload(store, "toy"), read_policy(store, "toy")
    for step in (
        lambda: read_latest(store, "toy"),
        lambda: list_runs(store, "toy"),
        lambda: list_due(store, kind, policy, now()),
        lambda: find_trouble(store, now()),
        lambda: list_open_runs(store, now()),
        lambda: resend_pending(store, AppSettings(), now()),
        lambda: answer_callbacks(store, AppSettings(), now()),
        lambda: sweep(store, now()),
        lambda: read_ticks(store),
    ):
        step()


@pytest.mark.parametrize("path", TRUTHS, ids=lambda path: path.replace("/", "-"))
def test_a_truth_cut_anywhere_is_named_and_repaired_to_what_was_published(
    lived: Path, copied: Store, path: str
) -> None:
    """The doctor names it, what needs it raises an error with its path, and repair brings rows, pins and states back."""
    rows, pins, states = rows_of(copied), read_pins(copied, "toy"), states_of(copied)
    whole = copied.read(path)
    for length in cuts(copied, path):
        copied.write(path, whole[:length])
        assert [(bad.path, bad.kind) for bad in check_state(copied).bad] == [(path, TRUTHS[path])]
        wrong = [found for found in examine(copied, AppSettings(), now).findings if found.state == "wrong"]
        assert any(path in found.detail and "fleetscore repair" in found.fix for found in wrong)
        use_everything(copied)
        if path.startswith("results/") and length:  # from the ledger, where the run's copy is gone, too
            copied.delete(f"runs/toy-{HOURS[1]}/manifest.json")
        done = repair(copied, now())
        assert [(one.path, one.state) for one in done.repairs] == [(path, "repaired")], (length, done)
        assert copied.read(f"damaged/{path}") == whole[:length] if length else True
        assert check_state(copied).bad == ()
        assert rows_of(copied) == rows
        assert (read_pins(copied, "toy"), states_of(copied)) == (pins, states)
    assert read_run(copied, f"toy-{HOURS[1]}").counts == {"scored": 3}
    assert run_window(copied, "toy", HOURS[3]).state == "published"


@pytest.mark.parametrize("name", HINTS)
def test_a_hint_cut_anywhere_costs_nothing_but_a_warning(
    copied: Store, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Everything goes on and answers as before; the file is made anew or repaired, and the doctor only warns of it."""
    path = next(entry.path for entry in copied.list(name))
    states, latest = states_of(copied), read_latest(copied, "toy")
    whole = copied.read(path)
    for length in cuts(copied, path):
        copied.write(path, whole[:length])
        assert [(bad.path, bad.kind) for bad in check_state(copied).bad] == [(path, "hint")]
        use_everything(copied)
        assert (states_of(copied), read_latest(copied, "toy")) == (states, latest)
        assert repair(copied, now()).whole
        assert check_state(copied).bad == ()
    copied.write(path, b"")
    assert run_window(copied, "toy", HOURS[3]).state == "published"
    assert path in caplog.text or name in (
        "swept/toy.json",
        "late/toy.json",
        "ticks/rescue_timer.json",
        "profiles",
    )


def test_the_newest_window_is_told_by_the_manifests_whatever_else_lies_there(copied: Store) -> None:
    """A folder that is no window's, with a file called manifest.json, does not keep latest.json from being made anew."""
    latest = read_latest(copied, "toy")
    copied.write("results/toy/my notes/manifest.json", b"{}")
    copied.write("results/toy/latest.json", b"")
    assert read_latest(copied, "toy") == latest


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("rates/toy.json", '{"shard_s":-1,"partition_s":1,"row_s":1,"bytes_per_row":1}'),
        ("rates/toy.json", '{"shard_s":1,"partition_s":1e999,"row_s":1,"bytes_per_row":1}'),
        ("results/toy/latest.json", '{"first":"x","window":"y","manifest":"","run":""}'),
        ("swept/toy.json", '{"attempt":"9999-12-31"}'),
        ("swept/toy.json", '{"attempt":"soon"}'),
        ("late/toy.json", "[1]"),
        ("ticks/rescue_timer.json", "[" * 100_000),
    ],
)
def test_a_hint_with_impossible_values_counts_as_absent(copied: Store, path: str, text: str) -> None:
    """A run is planned and published, and timers go on, as if the file were not there."""
    copied.write(path, text.encode())
    use_everything(copied)
    assert run_window(copied, "toy", HOURS[3]).state == "published"
    assert read_latest(copied, "toy").window == HOURS[3]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "path", ["models/toy/pins.json", f"runs/toy-{HOURS[1]}/run.json", f"results/toy/{HOURS[1]}/manifest.json"]
)
def test_a_record_of_a_newer_version_is_refused_by_name_and_left_alone(copied: Store, path: str) -> None:
    """The error names the file and the version, also where a value is new; repair changes nothing."""
    record = json.loads(copied.read(path)) | {"schema": 2, "state": "dreaming"}
    copied.write(path, json.dumps(record).encode())
    with pytest.raises(DamagedStateError, match=f"{path} was written by a newer version") as caught:
        read_pins(copied, "toy"), read_run(copied, f"toy-{HOURS[1]}"), read_manifest(copied, "toy", HOURS[1])
    assert (caught.value.code, caught.value.field, caught.value.retry) == ("newer_state", path, False)
    before = copied.read(path)
    assert [(one.path, one.state) for one in repair(copied, now(), guesses=True).repairs] == [
        (path, "not repairable")
    ]
    assert copied.read(path) == before


def test_pins_of_an_older_store_are_guessed_only_when_that_is_asked_for(
    copied: Store, command: Callable[..., tuple[int, str]]
) -> None:
    """Without kept changes the newest window tells the versions; without --yes the file stays as it is, and the exit code is 1."""
    pins = read_pins(copied, "toy")
    for entry in list(copied.list("models/toy/pins/")):
        copied.delete(entry.path)
    copied.write("models/toy/pins.json", b"{")
    code, said = command("repair", "--json")
    assert (code, json.loads(said)["repairs"][0]["state"], copied.read("models/toy/pins.json")) == (
        1,
        "guess",
        b"{",
    )
    code, said = command("repair", "--yes")
    assert (code, "repaired" in said) == (0, True), said
    guessed = read_pins(copied, "toy")
    assert (guessed.current, guessed.partitions) == (pins.current, pins.partitions)


def test_changes_of_pins_from_before_are_kept_with_the_next_change(copied: Store) -> None:
    """The first change with this version writes a file for each change in pins.json, so that all can be replayed."""
    for entry in list(copied.list("models/toy/pins/")):
        copied.delete(entry.path)
    pin_version(copied, "toy", "", partition="b", requested_by="test")
    pins = read_pins(copied, "toy")
    assert len(list(copied.list("models/toy/pins/"))) == len(pins.history) == 5
    copied.delete("models/toy/pins.json")
    with pytest.raises(DamagedStateError, match=r"models/toy/pins\.json"):
        read_pins(copied, "toy")
    assert repair(copied, now()).whole
    assert read_pins(copied, "toy") == pins


def test_a_missing_manifest_of_a_published_run_is_made_anew(copied: Store) -> None:
    """What a run's record says is published, and is not there, is named and repaired."""
    rows = rows_of(copied)
    path = f"results/toy/{HOURS[0]}/manifest.json"
    copied.delete(path)
    assert [bad.path for bad in check_state(copied).bad] == [path]
    assert repair(copied, now()).whole
    assert rows_of(copied) == rows
    assert [line.run for line in read_manifest(copied, "toy", HOURS[0]).history] == [f"toy-{HOURS[0]}"]


def test_a_record_that_is_made_anew_is_told_by_the_index_too(copied: Store) -> None:
    """A run that was under way when its record was cut is failed in the list of runs as well, in the place of its request."""
    requested = now() - timedelta(days=3)
    run = submit_run(copied, "toy", "2026-01-05T00", requested, "http").request.run
    record_state(copied, run, RunState.SCORING, requested)
    copied.write(f"runs/{run}/run.json", b'{"request"')
    assert repair(copied, now()).whole
    lines = [line for line in list_runs_since(copied, "toy", "") if line.run == run]
    assert [(line.state, line.requested) for line in lines] == [(RunState.FAILED, requested)]
    assert read_run(copied, run).request.requested == requested


def test_several_damaged_files_of_one_window_are_repaired_in_one_go(copied: Store) -> None:
    """Its record, manifest, ledger and sums are all cut: the index still says that it was published, and the shards hold the rest."""
    rows, states = rows_of(copied), states_of(copied)
    run = f"runs/toy-{HOURS[1]}/"
    cut = [f"{run}run.json", f"{run}files.json", f"{run}ledger.parquet", f"{run}collected.json"]
    cut.append(f"results/toy/{HOURS[1]}/manifest.json")
    for path in cut:
        copied.write(path, copied.read(path)[:7])
    done = repair(copied, now())
    assert ({one.path for one in done.repairs}, done.whole) == (set(cut), True)
    assert (check_state(copied).bad, rows_of(copied), states_of(copied)) == ((), rows, states)


@pytest.mark.parametrize("purpose", ["score", "train"])
def test_sums_of_an_ended_run_are_made_without_its_plan(copied: Store, purpose: str) -> None:
    """Where the plan is cut too, they are made from ledger and manifest: the same counts, rows, causes and files."""
    run = f"toy-{HOURS[1]}" if purpose == "score" else f"toy-train-{HOURS[0]}-{HOURS[2]}"
    before = read_collected(copied, run)
    for name in ("plan.json", "files.json", "collected.json"):
        copied.write(f"runs/{run}/{name}", copied.read(f"runs/{run}/{name}")[:20])
    done, after = repair(copied, now()), read_collected(copied, run)
    assert all("without the times of its shards" in one.action for one in done.repairs)
    assert (after.counts, after.rows, after.causes) == (before.counts, before.rows, before.causes)
    assert purpose == "train" or set(after.files) == set(before.files)
    assert check_state(copied).bad == ()


def test_a_run_without_plan_and_ledger_is_scored_again_as_repair_advises(copied: Store) -> None:
    """Nothing else tells its outcomes, so repair says to retry it whole; that publishes the same rows."""
    rows, run = sorted(map(str, rows_of(copied)[HOURS[1]])), f"toy-{HOURS[1]}"
    for name in ("plan.json", "ledger.parquet"):
        copied.write(f"runs/{run}/{name}", copied.read(f"runs/{run}/{name}")[:20])
    [left] = [one for one in repair(copied, now()).repairs if one.state != "repaired"]
    assert left.action.endswith(f"fleetscore retry {run} --only all")
    execute(copied, submit_retry(copied, run, now(), "test", only=Only.ALL).request)
    assert repair(copied, now()).whole  # what is left of the first round is set aside
    assert (sorted(map(str, rows_of(copied)[HOURS[1]])), check_state(copied).bad) == (rows, ())


@pytest.mark.parametrize("purpose", ["score", "train"])
def test_a_lost_list_of_shards_costs_a_run_its_timeline_only(copied: Store, purpose: str) -> None:
    """Ledger and sums are made anew from the committed shards, whether or not the plan's list of shards can be read."""
    listed = f"runs/toy-{HOURS[1]}" if purpose == "score" else f"runs/toy-train-{HOURS[0]}-{HOURS[2]}"
    [shards] = [entry.path for entry in copied.list(f"{listed}/shards-")]
    for path in (shards, f"{listed}/ledger.parquet", f"{listed}/collected.json"):
        copied.write(path, copied.read(path)[:20])
    assert repair(copied, now()).whole
    assert (
        read_run(copied, listed.removeprefix("runs/")).counts["scored"]
        == count_outcomes(read_ledger(copied, listed.removeprefix("runs/")))["scored"]
    )


def test_a_manifest_that_nothing_tells_of_is_set_aside_only_when_that_is_asked_for(copied: Store) -> None:
    """No record and no index says which run published the window; with --yes it counts as not published, and is scored again."""
    path = f"results/toy/{HOURS[1]}/manifest.json"
    copied.write(path, b"{")
    for gone in (f"runs/toy-{HOURS[1]}/run.json", *(entry.path for entry in list(copied.list("index/")))):
        copied.delete(gone)
    assert [one.state for one in repair(copied, now()).repairs if one.path == path] == ["guess"]
    assert repair(copied, now(), guesses=True).whole
    assert copied.stat(path) is None
    assert run_window(copied, "toy", HOURS[1]).state == "published"


def test_acts_of_attention_are_read_as_what_they_are(copied: Store) -> None:
    """A mute, a retirement and the note of a window that was published anyway are all good; one that is cut is named."""
    mute(copied, "toy", why="known", until="7d", requested_by="test", now=now(), cause="no_rows")
    retire(copied, "toy", "z", why="sold", requested_by="test", now=now())
    note = PublishedAnyway("checked by hand", "test", now(), "too many failures")
    copied.create(mute_path("toy", "published", f"toy-{HOURS[1]}"), to_json(note))
    assert check_state(copied).bad == ()
    path = next(entry.path for entry in copied.list("attention/toy/mutes/"))
    copied.write(path, b"{")
    assert [bad.path for bad in check_state(copied).bad] == [path]


def test_one_bad_notice_or_callback_keeps_back_no_other(copied: Store) -> None:
    """A notice that was cut stays where it is, named by the doctor; the one behind it is given up after its day."""
    old = Notice("b-toy", "drift", "toy", "It drifted.", datetime(2026, 1, 1, tzinfo=UTC))
    copied.write("notices/pending/a.json", b'{"id":')
    copied.write("notices/pending/b-toy.json", to_json(old))
    copied.write("callbacks/x.json", b"")
    resend_pending(copied, AppSettings(), now())
    answer_callbacks(copied, AppSettings(), now())
    assert copied.stat("notices/given_up/b-toy.json") is not None
    assert {bad.path for bad in check_state(copied).bad} == {"notices/pending/a.json", "callbacks/x.json"}
    assert repair(copied, now()).whole
    assert copied.stat("notices/pending/a.json") is None
    assert copied.read("damaged/notices/pending/a.json") == b'{"id":'


def test_the_app_repairs_over_http(host: Host) -> None:
    """GET says what would be done and writes nothing; POST does it."""
    host.store.write("swept/toy.json", b"{")
    told = host.get("repair")
    assert [(one["path"], one["state"]) for one in told["repairs"]] == [("swept/toy.json", "repairable")]
    assert host.store.read("swept/toy.json") == b"{"
    told = host.post("repair", {"guesses": False}).json()
    assert (told["whole"], host.store.stat("swept/toy.json")) == (True, None)
