"""plan: what a run would do, and the proof that it does nothing."""

import hashlib
import json
from pathlib import Path

from said import Command
from toy_workload import write_lines

from fleetscore.pipeline.local import run_window
from fleetscore.pipeline.preview import sum_placements
from fleetscore.records import ShardPlan
from fleetscore.runs.plans import read_plan, read_shard_plans
from fleetscore.store.base import Store


def digest_of(folder: Path) -> dict[str, tuple[str, int]]:
    """Every file of the store, its content and its time of writing."""
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
        )
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_plan_changes_nothing_and_is_the_plan_that_the_run_makes(
    command: Command, estate: Store, tmp_path: Path
) -> None:
    """Not one file of the store is made, changed or removed; the run then has the same partitions, shards and seconds."""
    window = "2026-03-04T01"
    before = digest_of(tmp_path / "store")
    said = command("plan", "sensor_anomaly", "--window", window, "--json")
    assert said.code == 0, said.err
    assert digest_of(tmp_path / "store") == before

    told = json.loads(said.out)
    record = run_window(estate, "sensor_anomaly", window)
    head = read_plan(estate, record.request.run)
    assert told["head"]["request"]["run"] == record.request.run
    assert (told["head"]["partitions"], told["head"]["settled"]) == (head.partitions, dict(head.settled))
    assert [shard["partitions"] for shard in told["shards"]] == [
        shard.partitions for shard in read_shard_plans(estate, head)
    ]
    assert told["head"]["predicted_s"] == head.predicted_s


def test_a_plan_says_where_each_shard_goes_and_why(command: Command, estate: Store) -> None:
    """Partitions, what is settled already, placement with its reason, predicted seconds; a published window is planned as a new round."""
    del estate
    said = command("plan", "sensor_anomaly", "--window", "2026-03-04T00")
    assert said.code == 0, said.err
    assert "sensor_anomaly-2026-03-04T00-r2 (nothing was written)" in said.out
    assert "81 expected: 79 to score; settled already: 1 skipped, 1 late" in said.out
    assert "no Batch account is configured" in said.out
    assert "predicted s" in said.out


def test_a_plan_counts_the_preparation_that_comes_first(command: Command, store: Store) -> None:
    """Input that is not prepared yet is counted, and stays unprepared."""
    store.write("settings/toy.toml", b"prepare = true\n")
    write_lines(store, "2026-01-01T00", [("a", 1, "ok")])
    said = command("plan", "toy", "--window", "2026-01-01T00", "--json")
    assert json.loads(said.out)["to_prepare"] == 1
    assert not list(store.list("partials/"))


def test_placements_add_up() -> None:
    """Shards of one placement and reason are one line; the sums are those of the shards; the heaviest comes first."""
    shards = [
        ShardPlan(0, 10, 100, 800, 1.0, 1_000, "inline", "small"),
        ShardPlan(1, 20, 300, 2400, 5.0, 3_000, "batch", "large"),
        ShardPlan(2, 30, 200, 1600, 2.0, 2_000, "inline", "small"),
    ]
    batch, inline = sum_placements(shards)
    assert (batch.placement, batch.shards, batch.predicted_s) == ("batch", 1, 5.0)
    assert (inline.shards, inline.partitions, inline.rows, inline.predicted_s, inline.longest_s) == (
        2,
        40,
        300,
        3.0,
        2.0,
    )
