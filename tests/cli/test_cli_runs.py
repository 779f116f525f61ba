"""Commands that start runs, on the real local host: exit codes, what is printed, what is stored."""

import json
import os
import resource
import signal
import subprocess
import sys

import pytest
from said import Command
from toy_workload import write_lines

from fleetscore.manifest import read_manifest
from fleetscore.run_records import read_run
from fleetscore.stores.base import Store

WINDOW = "2026-01-01T00"
RUN = f"toy-{WINDOW}"


@pytest.mark.parametrize(
    ("behaviours", "code", "state"),
    [
        (["ok"] * 12, 0, "published"),
        (["ok"] * 11 + ["fail"], 10, "published"),
        (["ok"] * 11 + ["late"], 10, "published"),
        (["ok"] * 6 + ["fail"] * 6, 20, "unpublished"),
        ([], 20, "unpublished"),
    ],
    ids=["good", "failed within the threshold", "late", "beyond the threshold", "no data"],
)
def test_the_exit_code_says_how_the_run_ended(
    program: Command, store: Store, behaviours: list[str], code: int, state: str
) -> None:
    """0 only if all expected partitions have a good outcome, 10 if published otherwise, 20 if nothing was published."""
    write_lines(store, WINDOW, [(f"p{n}", n, how) for n, how in enumerate(behaviours)])
    said = program("run", "toy", "--window", WINDOW, "--json")
    assert said.code == code, said.err
    status = json.loads(said.out)
    assert (status["id"], status["state"]) == (RUN, state)
    assert status["record"]["partitions"] == len(behaviours)
    assert sum(status["record"]["counts"].values()) == len(behaviours)


def test_a_run_is_told_and_its_failure_leads_to_explain_and_retry(program: Command, store: Store) -> None:
    """The text has counts, the first cause, the paths, and the two commands that come next; a retry mends only what failed."""
    write_lines(store, WINDOW, [(f"p{n}", n, "ok") for n in range(12)] + [("broken", 1, "fail")])
    said = program("run", "toy", "--window", WINDOW)
    assert said.code == 10
    assert "13 expected: 12 scored, 1 failed" in said.out
    assert "1 failed, bad_value, first broken: It says fail." in said.out
    assert f"results/toy/{WINDOW}/manifest.json" in said.out
    assert f"fleetscore explain {RUN} broken" in said.out
    assert f"{RUN}: " in said.err  # progress, as lines: standard error is no terminal

    again = program("run", "toy", "--window", WINDOW)
    assert (again.code, read_run(store, RUN).state) == (10, "published")
    assert f"{RUN} was published already" in again.out

    write_lines(store, WINDOW, [(f"p{n}", n, "ok") for n in range(12)] + [("broken", 1, "ok")])
    mended = program("retry", RUN, "--json")
    assert mended.code == 0, mended.err
    assert json.loads(mended.out)["id"] == f"{RUN}-r2"
    assert read_run(store, f"{RUN}-r2").shards == 1
    assert read_manifest(store, "toy", WINDOW).outcomes == {"scored": 13}


def test_a_run_of_one_partition_leaves_the_others_out(program: Command, store: Store) -> None:
    """--partition names what is expected."""
    write_lines(store, WINDOW, [("a", 1, "ok"), ("b", 2, "ok")])
    said = program("run", "toy", "--window", WINDOW, "--partition", "b")
    assert said.code in (0, 10, 20)
    assert said.err


def test_a_backfill_runs_each_missing_window_once(program: Command, store: Store) -> None:
    """Windows in [from, to), the worst window's exit code, and nothing done twice."""
    for hour in range(4):
        write_lines(store, f"2026-01-01T{hour:02d}", [(f"p{n}", n, "ok") for n in range(3)])
    said = program(
        "backfill", "toy", "--from", WINDOW, "--to", "2026-01-01T03", "--json", "--max-parallel", "2"
    )
    assert said.code == 0, said.err
    told = json.loads(said.out)
    assert [window["window"][-2:] for window in told["windows"]] == ["00", "01", "02"]
    assert (told["done"], told["total"]) == (3, 3)
    before = read_manifest(store, "toy", WINDOW)
    again = program("backfill", "toy", "--from", WINDOW, "--to", "2026-01-01T04")
    assert again.code == 0, again.err
    assert "4 windows: 4 published" in again.out
    assert read_manifest(store, "toy", WINDOW) == before


def test_training_stores_a_model_set_and_pins_it(program: Command, command: Command, store: Store) -> None:
    """`train` is a run; its model set is the current one unless --no-pin; promote and rollback move between them."""
    write_lines(store, WINDOW, [("a", 1, "ok")])
    said = program("train", "toy", "--from", WINDOW, "--to", "2026-01-01T01", "--json")
    assert said.code == 0, said.err
    first = json.loads(said.out)["record"]["model_set"]
    assert json.loads(command("models", "list", "toy", "--json").out)["current"] == first

    write_lines(store, WINDOW, [("a", 1, "ok"), ("b", 1, "ok")])
    second = program("train", "toy", "--from", WINDOW, "--to", "2026-01-01T01", "--no-pin", "--json")
    version = json.loads(second.out)["record"]["model_set"]
    assert json.loads(command("models", "list", "toy", "--json").out)["current"] == first
    assert json.loads(command("models", "promote", "toy", version, "--json").out)["current"] == version
    assert json.loads(command("models", "rollback", "toy", "--json").out)["current"] == first


def test_ctrl_c_says_how_to_continue_and_the_same_command_does(program: Command, store: Store) -> None:
    """130, the command that resumes, no host left behind; resumed, the run ends whole and nothing is scored twice."""
    store.write("settings/toy.toml", b"slow_s = 1.5\n")
    write_lines(store, WINDOW, [(f"p{n}", n, "slow") for n in range(4)])
    environment = os.environ | {"FLEETSCORE_STORE": store.url, "FLEETSCORE_INLINE_SHARD_S": "1"}
    following = subprocess.Popen(
        [sys.executable, "-m", "fleetscore", "run", "toy", "--window", WINDOW],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
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
    from fleetscore.cli.embedded import EmbeddedHost

    return EmbeddedHost(store.url).find() is not None


def test_cancel_asks_a_run_to_stop(program: Command, command: Command, store: Store) -> None:
    """A run that is cancelled before it scores publishes nothing: 20."""
    from datetime import UTC, datetime

    from fleetscore.requests import ask_run

    write_lines(store, WINDOW, [("a", 1, "ok")])
    ask_run(store, "toy", WINDOW, datetime.now(UTC), "test")
    assert command("cancel", RUN).code == 0
    assert program("run", "toy", "--window", WINDOW).code == 20
    assert read_run(store, RUN).state == "cancelled"


def test_a_tiny_window_costs_little_more_than_its_imports(program: Command, store: Store) -> None:
    """From the command to its exit, host started and stopped: at most 4 CPU seconds of the command, its host and its workers."""
    write_lines(store, WINDOW, [("a", 1, "ok")])
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert program("run", "toy", "--window", WINDOW).code == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 4
