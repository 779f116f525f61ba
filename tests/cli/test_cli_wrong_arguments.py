"""Wrong arguments: each is refused, or answered, with what was wrong and what to do, and changes nothing."""

import pytest
from said import Command
from toy_workload import write_lines

from fleetscore.pipeline.local import run_window
from fleetscore.store.base import Store

WINDOW = "2026-01-01T00"
RUN = f"toy-{WINDOW}"

WRONG = [
    # arguments, exit code, what has to be said
    (("run", "toys", "--window", WINDOW), 2, "Did you mean toy?"),
    (("run", "sensors", "--window", "2026-03-04T05"), 2, "Did you mean sensor_anomaly?"),
    (("run", "toy", "--window", "2026-01-01"), 2, "is a day"),
    (("run", "toy", "--window", "2062-01-01T05"), 2, "is not due before"),
    (("run", "toy", "--window", WINDOW, "--models", "ghost"), 2, "no model set 'ghost'"),
    (
        ("run", "toy", "--window", WINDOW, "--partition", "nope/nope"),
        2,
        "neither data nor a model for partition nope/nope",
    ),
    (("run", "toy", "--window", WINDOW, "--partition", "p99"), 2, "Like it: p9"),
    (("retry", RUN, "--partition", "nope*"), 2, "neither data nor a model for partition nope*"),
    (("retry", RUN, "--partition", "p1", "--only", "all"), 2, "--only"),
    (("show", "toy-2026-01-01T99"), 2, f"Did you mean {RUN}"),
    (("explain", RUN, "p"), 2, "Like it: p0"),
    (("explain", "toy", "2026-01-01T09", "p1"), 2, "has no run of the window"),
    (("explain", "toy", "2026-01-01", "p1"), 2, f"Did you mean {WINDOW}?"),
    (("results", "toy", "--window", "2026-01-01"), 2, "is a day"),
    (("draw", "toy", "--window", "2026-01-01"), 2, "is a day"),
    (("run", "store_sales", "--window", "26-W5"), 2, "is not a week or a plain number"),
    (("explain", RUN), 2, "WORKLOAD WINDOW PARTITION"),
    (("import-models", "toy", "--from", "/nonexistent"), 2, "does not exist"),
    (("backfill", "toy", "--from", "2026-01-02T00", "--to", "2026-01-01T00"), 2, ""),
    (("mute", "toy", "--why", "x", "--until", "yesterday"), 2, "is no end of a mute"),
    (("unmute", "toy", "ghost"), 2, "None is in force"),
    (("mute", "toy", "--partition", "", "--why", "x", "--until", "7d"), 2, "'--partition': it is empty"),
    (("mute", "toy", "--cause", "", "--why", "x", "--until", "7d"), 2, "'--cause': it is empty"),
    (
        ("mute", "toy", "--cause", "typo", "--why", "x", "--until", "7d"),
        0,
        "hides nothing that needs attention",
    ),
    (("run", "toy", "--window", WINDOW, "--partition", ""), 2, "'--partition': it is empty"),
    (("run", "toy", "--window", WINDOW, "--models", ""), 2, "'--models': it is empty"),
]


@pytest.fixture
def filled(store: Store) -> Store:
    """A published window of a dozen partitions."""
    write_lines(store, WINDOW, [(f"p{n}", n, "ok") for n in range(12)])
    run_window(store, "toy", WINDOW)
    return store


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    WRONG,
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_each_gets_its_right_answer(
    arguments: tuple[str, ...], code: int, told: str, filled: Store, command: Command
) -> None:
    """The exit code is that of wrong usage, the sentence names the cure, and no run was started."""
    before = [entry.path for entry in filled.list("runs/")]
    answer = command(*arguments, store=filled)
    assert (answer.code, told in answer.err + answer.out) == (code, True), answer.err
    assert [entry.path for entry in filled.list("runs/")] == before


def test_plan_says_why_partitions_are_settled(store: Store, command: Command) -> None:
    """Outcome, cause and the first partition of what is not scored."""
    write_lines(store, WINDOW, [("a", 1, "ok"), ("dead", 1, "late"), ("dumb", 1, "late")])
    assert "2 late, no_rows, first dead" in command("plan", "toy", "--window", WINDOW, store=store).out
