"""explain: the story of one partition, whatever became of it."""

import json
import socket
from datetime import UTC, datetime, timedelta

import msgspec
import pyarrow.parquet as pq
import pytest
from said import Command
from toy_workload import write_lines

from fleetscore.operations.explain import advise, describe_attempts, explain
from fleetscore.pipeline.attempt_marker import AttemptMarker
from fleetscore.pipeline.local import execute, run_window
from fleetscore.pipeline.submit import submit_retry, submit_run
from fleetscore.records import Only, Outcome, RunRecord, RunRequest, RunState, ShardRecord, to_json
from fleetscore.runs.index import list_runs
from fleetscore.store.base import Entry, Store
from fleetscore.store.paths import attempt_path

WINDOW = "2026-01-01T00"
RUN = f"toy-{WINDOW}"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_scored_partition_has_its_whole_story(estate: Store) -> None:
    """Input files, rows and bytes, shard with placement and seconds, the committed attempt, model, and the file with its digest."""
    story = explain(estate, "sensor_anomaly-2026-03-04T00", "pump-0002/flow")
    assert (story.outcome, story.cause, story.state) == ("scored", "", "published")
    assert (story.input.rows, story.input.files_in_all) == (60, 1)
    assert estate.stat(story.input.files[0].path) is not None
    assert story.shard is not None
    assert story.shard.placement == "inline"
    assert story.shard.measured_s is not None
    assert [attempt.state for attempt in story.attempts] == ["committed"]
    assert story.model.pinned == "current"
    assert story.output.rows == 60
    assert story.output.is_published
    assert len(story.output.sha256) == 64
    assert estate.stat(story.output.file) is not None
    assert story.advice == ""


def test_the_figures_of_a_partition_are_those_that_its_shard_kept(estate: Store, command: Command) -> None:
    """The sketch of a scored partition, recomputed from its results; of a training run how training went; of an unscored one nothing."""
    run, key = "sensor_anomaly-2026-03-04T00", "pump-0002/flow"
    story = explain(estate, run, key)
    with estate.open(story.output.file) as source:
        rows = pq.read_table(source).to_pylist()
    values = [row["value"] for row in rows if f"{row['device']}/{row['sensor']}" == key]
    assert story.figures["n"] == len(values)
    assert story.figures["mean"] == pytest.approx(sum(values) / len(values))
    assert f"n {len(values)}, mean " in command("explain", run, key).out
    assert explain(estate, run, "pump-0005/current").figures == {}
    (trained,) = [line.run for line in list_runs(estate, "sensor_anomaly", 9) if "train" in line.run]
    figures = explain(estate, trained, key).figures
    assert figures["support_vectors"] == int(figures["support_vectors"] or 0) > 0


@pytest.mark.parametrize(
    ("partition", "outcome", "advice"),
    [
        ("pump-0005/current", "late", "fleetscore retry sensor_anomaly-2026-03-04T00 --only missing"),
        ("pump-0001/humidity", "skipped", "fleetscore train sensor_anomaly"),
    ],
)
def test_a_partition_without_results_says_why_and_what_to_do(
    estate: Store, command: Command, partition: str, outcome: str, advice: str
) -> None:
    """The cause, no shard, no output, and the command that comes next; text and JSON say the same."""
    story = explain(estate, "sensor_anomaly-2026-03-04T00", partition)
    assert (story.outcome, story.shard, story.output.file) == (outcome, None, "")
    assert story.cause
    assert advice in story.advice
    text = command("explain", "sensor_anomaly-2026-03-04T00", partition).out
    assert outcome in text
    assert story.advice in text
    told = json.loads(command("explain", "sensor_anomaly-2026-03-04T00", partition, "--json").out)
    assert msgspec.convert(told, type=type(story)) == story


def test_a_failed_partition_tells_its_cause(store: Store) -> None:
    """Outcome, cause and detail come from the ledger."""
    write_lines(store, WINDOW, [(f"p{n}", n, "ok") for n in range(12)] + [("broken", 1, "fail")])
    run_window(store, "toy", WINDOW)
    story = explain(store, RUN, "broken")
    assert (story.outcome, story.cause, story.detail) == ("failed", "bad_value", "It says fail.")
    assert story.advice == f"Fix what the cause names, then: fleetscore retry {RUN}"


def test_a_line_that_a_retry_kept_points_to_the_run_that_made_it(store: Store) -> None:
    """After a retry, a partition that was good before has the first run's shard, attempt and file."""
    write_lines(store, WINDOW, [(f"p{n}", n, "ok") for n in range(12)] + [("broken", 1, "fail")])
    run_window(store, "toy", WINDOW)
    first = explain(store, RUN, "p3")
    execute(store, submit_retry(store, RUN, datetime.now(UTC), "test", only=Only.FAILED).request)
    kept = explain(store, f"{RUN}-r2", "p3")
    assert (kept.scored_by, kept.attempts, kept.shard) == (RUN, first.attempts, first.shard)
    assert kept.output.file == first.output.file
    assert explain(store, f"{RUN}-r2", "broken").scored_by == f"{RUN}-r2"


def test_attempts_that_died_are_told_with_whom_they_were_scoring(store: Store, command: Command) -> None:
    """An attempt that left only its marker died; the story says at its last sign of life and whether this partition was with it."""
    write_lines(store, WINDOW, [("a", 1, "ok"), ("b", 2, "ok")])
    request = submit_run(store, "toy", WINDOW, datetime.now(UTC), "test").request
    marker = AttemptMarker(("a", "b"), socket.gethostname(), 2**22 + 1, "gone")  # beyond every process id
    store.write(attempt_path(RUN, 0, "dead1", "crumb.json"), to_json(marker))
    execute(store, request)
    story = explain(store, RUN, "a")
    assert [attempt.state for attempt in story.attempts] == ["died", "committed"]
    assert (story.attempts[0].attempt, story.attempts[0].group, story.attempts[0].has_partition) == (
        "dead1",
        2,
        True,
    )
    text = command("explain", RUN, "a").out
    assert "dead1 died: last seen at" in text
    assert "while scoring 2 partitions together, this one among them" in text


def test_a_run_under_way_tells_what_is_known(store: Store) -> None:
    """Planned and not scored yet: no outcome, and the advice is to wait."""
    from fleetscore.app_settings import AppSettings
    from fleetscore.pipeline.plan import commit_plan
    from fleetscore.runs.run_records import record_planned

    write_lines(store, WINDOW, [("a", 1, "ok")])
    request = submit_run(store, "toy", WINDOW, datetime.now(UTC), "test").request
    record_planned(store, commit_plan(store, request, AppSettings(), datetime.now(UTC)), datetime.now(UTC))
    story = explain(store, RUN, "a")
    assert (story.outcome, story.state, story.advice) == ("", "scoring", "Wait: it is under way.")
    assert story.shard is not None
    assert story.shard.measured_s is None


def test_a_wrong_partition_gets_the_ones_like_it(command: Command, estate: Store) -> None:
    """Exit code 2, and keys that hold what was typed."""
    del estate
    said = command("explain", "sensor_anomaly-2026-03-04T00", "pump-0003")
    assert said.code == 2
    assert "has no partition 'pump-0003'." in said.err
    assert "pump-0003/flow" in said.err


def test_a_run_without_a_plan_says_so(command: Command, store: Store) -> None:
    """A run that was asked for and never planned has no partitions to tell of."""
    write_lines(store, WINDOW, [("a", 1, "ok")])
    submit_run(store, "toy", WINDOW, datetime.now(UTC), "test")
    said = command("explain", RUN, "a")
    assert said.code == 2
    assert "has no plan: it is requested." in said.err


def entry(path: str, seconds: float) -> Entry:
    """A stored file, written so many seconds after noon."""
    return Entry(path, 1, "e", NOW + timedelta(seconds=seconds))


def test_attempts_are_told_from_their_files_alone() -> None:
    """Committed, beaten, died, unfinished: by what each left behind and by the commit; oldest first."""
    files = [
        entry("x/c/crumb.json", 9),
        entry("x/a/crumb.json", 0),
        entry("x/b/outcomes.parquet", 5),
        entry("x/b/crumb.json", 4),
    ]
    before = describe_attempts(files, "x/", {"a": ["p", "q"], "b": ["q"]}, "p", None)
    assert [(story.attempt, story.state) for story in before] == [
        ("a", "unfinished"),
        ("b", "beaten"),
        ("c", "unfinished"),
    ]
    commit = ShardRecord("r", 0, "c", "inline", NOW + timedelta(seconds=9), 1.5, {}, 0, 0, "o", None)
    after = describe_attempts(files, "x/", {"a": ["p", "q"], "b": ["q"]}, "p", commit)
    assert [story.state for story in after] == ["died", "beaten", "committed"]
    assert [story.has_partition for story in after] == [True, False, True]
    assert after[2].seconds == 1.5


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_that_needs_a_look_has_advice(outcome: Outcome) -> None:
    """Scored and skipped need nothing by themselves; every other outcome names a command."""
    request = RunRequest("r", "toy", WINDOW, 1, NOW, "test")
    said = advise(RunRecord(request, RunState.PUBLISHED, NOW), "p", outcome, "some_cause", "")
    assert ("fleetscore retry r" in said) == (outcome not in (Outcome.SCORED, Outcome.SKIPPED))
