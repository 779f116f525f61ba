"""Commands that start runs, on the real local host: exit codes, what is printed, what is stored."""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from said import Command
from toy_workload import write_lines

from fleetscore.fleet.embedded_host import EmbeddedHost
from fleetscore.fleet.remote import RemoteFleet
from fleetscore.runs.manifests import read_manifest
from fleetscore.runs.run_records import read_run
from fleetscore.store import open_store
from fleetscore.store.base import Store

PIPELINE = Path(__file__).resolve().parents[1] / "pipeline"

WINDOW = "2026-01-01T00"
RUN = f"toy-{WINDOW}"


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store whose host runs already, for the tests that are not about starting one."""
    environment = {"FLEETSCORE_WORKLOADS": "toy=toy_workload:Toy", "PYTHONPATH": str(PIPELINE)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        store = open_store(str(tmp_path_factory.mktemp("hosted") / "store"))
        Path(store.url.removeprefix("file://")).mkdir()
        host = EmbeddedHost(store.url)
        host.ensure()
        yield store
        host.stop()


@pytest.mark.parametrize(
    ("window", "behaviours", "code", "state"),
    [
        ("2026-01-03T00", ["ok"] * 12, 0, "published"),
        ("2026-01-03T01", ["ok"] * 11 + ["fail"], 10, "published"),
        ("2026-01-03T02", ["ok"] * 11 + ["late"], 10, "published"),
        ("2026-01-03T03", ["ok"] * 6 + ["fail"] * 6, 20, "unpublished"),
        ("2026-01-03T04", [], 20, "unpublished"),
    ],
    ids=["good", "failed within the threshold", "late", "beyond the threshold", "no data"],
)
def test_the_exit_code_says_how_the_run_ended(
    hosted: Store, command: Command, window: str, behaviours: list[str], code: int, state: str
) -> None:
    """0 only if all expected partitions have a good outcome, 10 if published otherwise, 20 if nothing was published."""
    write_lines(hosted, window, [(f"p{n}", n, how) for n, how in enumerate(behaviours)])
    said = command("run", "toy", "--window", window, "--json", store=hosted)
    assert said.code == code, said.err
    status = json.loads(said.out)
    assert (status["id"], status["state"]) == (f"toy-{window}", state)
    assert status["record"]["partitions"] == len(behaviours)
    assert sum(status["record"]["counts"].values()) == len(behaviours)


def test_a_run_is_told_and_its_failure_leads_to_explain_and_retry(hosted: Store, command: Command) -> None:
    """The text has counts, the first cause, the paths, and the two commands that come next; a retry fixes only what failed."""
    write_lines(hosted, WINDOW, [(f"p{n}", n, "ok") for n in range(12)] + [("broken", 1, "fail")])
    said = command("run", "toy", "--window", WINDOW, store=hosted)
    assert said.code == 10
    assert "13 expected: 12 scored, 1 failed" in said.out
    assert "1 failed, bad_value, first broken: It says fail." in said.out
    assert f"results/toy/{WINDOW}/manifest.json" in said.out
    assert f"fleetscore explain {RUN} broken" in said.out
    assert f"{RUN}: " in said.err  # progress, as lines: standard error is no terminal

    again = command("run", "toy", "--window", WINDOW, store=hosted)
    assert (again.code, read_run(hosted, RUN).state) == (10, "published")
    assert f"{RUN} was published already" in again.out

    write_lines(hosted, WINDOW, [(f"p{n}", n, "ok") for n in range(12)] + [("broken", 1, "ok")])
    fixed = command("retry", RUN, "--json", store=hosted)
    assert fixed.code == 0, fixed.err
    assert json.loads(fixed.out)["id"] == f"{RUN}-r2"
    assert read_run(hosted, f"{RUN}-r2").shards == 1
    assert read_manifest(hosted, "toy", WINDOW).outcomes == {"scored": 13}


def test_a_retry_of_what_did_not_fail_makes_no_round(
    hosted: Store, command: Command, program: Command
) -> None:
    """From the store, from an app and over HTTP the published run is the answer; models that could score nothing are refused."""
    window = "2026-01-03T11"
    run = f"toy-{window}"
    write_lines(hosted, window, [("a", 1, "ok"), ("b", 2, "ok")])
    assert command("run", "toy", "--window", window, store=hosted).code == 0
    app = EmbeddedHost(hosted.url).find()
    assert app is not None
    for said in (command("retry", run, store=hosted), program("retry", run, "--host", app.url)):
        assert (said.code, said.out.splitlines()[0].partition(":")[0]) == (0, "Nothing to retry"), said
        assert "--only all" in said.out
    answered = json.loads(command("retry", run, "--json", store=hosted).out)
    assert (answered["id"], answered["verdict"]) == (run, "good")
    refused = command("retry", run, "--models", "current", store=hosted)
    assert (refused.code, "Nothing of toy-2026-01-03T11 failed" in refused.err) == (2, True)
    started = RemoteFleet(app.url).start_retry(run)
    assert (started.id, started.state, started.created) == (run, "published", False)
    assert not list(hosted.list(f"runs/{run}-r2/"))
    assert command("retry", run, "--only", "all", store=hosted).code == 0
    assert read_run(hosted, f"{run}-r2").state == "published"


def _limit_handles(pids: list[int]) -> None:
    """Leave the processes no file handle beyond those that are open."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(
                pid, resource.RLIMIT_NOFILE, (len(list(Path(f"/proc/{pid}/fd").iterdir())), hard)
            )


def _free_handles(app: int) -> None:
    """Give the app's processes all handles again, those too that a limited one has started meanwhile."""
    for _ in range(10):
        for pid in _below(app):
            with contextlib.suppress(ProcessLookupError):
                _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
        time.sleep(0.5)


def _below(pid: int) -> list[int]:
    """The processes that the process has started, and those that these have."""
    words = "".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    return [below for child in map(int, words.split()) for below in (child, *_below(child))]


@pytest.mark.slow
def test_a_command_waits_while_the_app_lacks_file_handles(hosted: Store, program: Command) -> None:
    """Where no worker of the app can open a file for seconds, the run is started or followed again, and published."""
    window = "2026-01-03T12"
    write_lines(hosted, window, [("a", 1, "ok"), ("b", 2, "ok")])
    app = EmbeddedHost(hosted.url).find()
    assert app is not None
    _limit_handles(_below(app.pid))
    again = threading.Timer(2.0, _free_handles, (app.pid,))
    again.start()
    said = program("run", "toy", "--window", window, "--store", hosted.url)
    again.join()
    assert (said.code, read_run(hosted, f"toy-{window}").counts) == (0, {"scored": 2}), said


def test_a_run_of_one_partition_leaves_the_others_out(hosted: Store, command: Command) -> None:
    """--partition names what is scored; the others are skipped, since nobody asked for them."""
    window = "2026-01-03T10"
    write_lines(hosted, window, [("a", 1, "ok"), ("b", 2, "ok")])
    assert command("run", "toy", "--window", window, "--partition", "b", store=hosted).code == 0
    assert read_manifest(hosted, "toy", window).outcomes == {"scored": 1, "skipped": 1}


def test_a_backfill_runs_each_missing_window_once(hosted: Store, command: Command) -> None:
    """Windows in [from, to), the worst window's exit code, and nothing done twice."""
    first, stop = "2026-01-07T00", "2026-01-07T03"
    for hour in range(4):
        write_lines(hosted, f"2026-01-07T{hour:02d}", [(f"p{n}", n, "ok") for n in range(3)])
    arguments = ("backfill", "toy", "--from", first)
    said = command(*arguments, "--to", stop, "--json", "--max-parallel", "2", store=hosted)
    assert said.code == 0, said.err
    told = json.loads(said.out)
    assert [window["window"][-2:] for window in told["windows"]] == ["00", "01", "02"]
    assert (told["done"], told["total"]) == (3, 3)
    before = read_manifest(hosted, "toy", first)
    again = command(*arguments, "--to", "2026-01-07T04", store=hosted)
    assert again.code == 0, again.err
    assert "4 windows: 4 published" in again.out
    assert read_manifest(hosted, "toy", first) == before


def test_training_stores_a_model_set_and_pins_it(hosted: Store, command: Command) -> None:
    """`train` is a run; its model set is the current one unless --no-pin; promote and rollback move between them."""

    def train(*options: str) -> str:
        said = command("train", "toy", "--from", first, "--to", stop, "--json", *options, store=hosted)
        assert said.code == 0, said.err
        version: str = json.loads(said.out)["record"]["model_set"]
        return version

    def current(*words: str) -> str:
        version: str = json.loads(command("models", *words, "--json", store=hosted).out)["current"]
        return version

    first, stop = "2026-01-06T00", "2026-01-06T01"
    write_lines(hosted, first, [("a", 1, "ok")])
    old = train()
    assert current("list", "toy") == old
    write_lines(hosted, first, [("a", 1, "ok"), ("b", 1, "ok")])
    new = train("--no-pin")
    assert current("list", "toy") == old
    assert current("promote", "toy", new) == new
    assert current("rollback", "toy") == old


def test_ctrl_c_says_how_to_continue_and_the_same_command_does(program: Command, store: Store) -> None:
    """130, the command that resumes, no host left behind; resumed, the run ends whole and nothing is scored twice."""
    store.write("settings/toy.toml", b"slow_s = 0.8\n")
    write_lines(store, WINDOW, [(f"p{n}", n, "slow") for n in range(4)])
    environment = os.environ | {"FLEETSCORE_STORE": store.url, "FLEETSCORE_INLINE_SHARD_S": "1"}
    following = subprocess.Popen(
        [sys.executable, "-m", "fleetscore", "run", "toy", "--window", WINDOW],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # whoever runs the tests in the background ignores it
    )  # fmt: skip
    assert following.stderr is not None
    for line in following.stderr:
        if "scoring" in line:
            break
    following.send_signal(signal.SIGINT)
    _, err = following.communicate(timeout=60)
    assert following.returncode == 130
    assert f"Continue: fleetscore run toy --window {WINDOW}" in err
    assert not host_runs(store)

    resumed = program("run", "toy", "--window", WINDOW, "--json")
    assert resumed.code == 0, resumed.err
    assert json.loads(resumed.out)["record"]["counts"] == {"scored": 4}
    assert read_manifest(store, "toy", WINDOW).rows == 4


def host_runs(store: Store) -> bool:
    """Whether the process that the store's address.json names is still there."""
    return EmbeddedHost(store.url).find() is not None


def test_cancel_asks_a_run_to_stop(program: Command, command: Command, store: Store) -> None:
    """A run that is cancelled before it scores publishes nothing: 20."""
    from datetime import UTC, datetime

    from fleetscore.pipeline.submit import submit_run

    write_lines(store, WINDOW, [("a", 1, "ok")])
    submit_run(store, "toy", WINDOW, datetime.now(UTC), "test")
    assert command("cancel", RUN).code == 0
    assert program("run", "toy", "--window", WINDOW).code == 20
    assert read_run(store, RUN).state == "cancelled"


def test_cancel_reaches_a_run_under_way(hosted: Store, command: Command) -> None:
    """The local host is told: the shard that runs ends, the others never begin, and nothing is published."""
    window = "2026-01-08T00"
    write_lines(hosted, window, [(f"p{n}", n, "slow") for n in range(8)])
    hosted.write("settings/toy.toml", b"slow_s = 1.0\n")
    started = RemoteFleet(host_of(hosted)).start_run("toy", window)
    said = command("cancel", started.id, "--json", store=hosted)
    assert said.code == 0, said.err
    assert command("run", "toy", "--window", window, store=hosted).code == 20
    hosted.delete("settings/toy.toml")
    assert read_run(hosted, started.id).state == "cancelled"


def test_what_ended_is_told_apart_from_what_was_stopped(hosted: Store, command: Command) -> None:
    """To cancel a published run says that there was nothing to stop; a training that failed says how to train again."""
    window = "2026-01-09T00"
    write_lines(hosted, window, [("a", 1, "ok")])
    assert command("run", "toy", "--window", window, store=hosted).code == 0
    assert "nothing to stop" in command("cancel", f"toy-{window}", store=hosted).out
    said = command("train", "toy", "--from", "2026-01-20T00", "--to", "2026-01-20T01", store=hosted)
    assert said.code == 20
    assert "Once that is fixed: fleetscore train toy --from 2026-01-20T00 --to 2026-01-20T01" in said.out


def host_of(store: Store) -> str:
    """Where the store's host listens."""
    address = EmbeddedHost(store.url).find()
    assert address is not None
    return address.url


def test_a_tiny_window_costs_little_more_than_its_imports(program: Command, store: Store) -> None:
    """From the command to its exit, host started and stopped: at most 4 CPU seconds of the command, its host and its workers."""
    write_lines(store, WINDOW, [("a", 1, "ok")])
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert program("run", "toy", "--window", WINDOW).code == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 4
