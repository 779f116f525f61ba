"""Exactly the partitions that were asked for are scored again, with the model version that the rule says; the
rest is copied.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from app_host import Host
from rated_workload import write_factor
from toy_workload import write_lines

from fleetscore.app_settings import AppSettings
from fleetscore.errors import FleetscoreError, InputError, StoreError
from fleetscore.models.pins import pin_version
from fleetscore.pipeline.local import execute, run_window
from fleetscore.pipeline.partition_names import match_partitions
from fleetscore.pipeline.preview import preview_run
from fleetscore.pipeline.submit import decide_backfilled, submit_backfilled, submit_retry, submit_run
from fleetscore.records import Only, RunRecord, RunState
from fleetscore.registry import EXTRA_WORKLOADS
from fleetscore.runs.ledgers import read_ledger
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.store.base import Store

NOW = datetime(2026, 1, 2, tzinfo=UTC)
WINDOW = "2026-01-01T00"
RUN = f"toy-{WINDOW}"
KEYS = [f"p{n}" for n in range(6)]
ONE_SHARD = AppSettings(inline_shard_s=100.0, parallelism=1)


@pytest.fixture
def doubled(store: Store, monkeypatch: pytest.MonkeyPatch) -> str:
    """The version that doubles: six partitions in one file are published with it."""
    monkeypatch.setenv(EXTRA_WORKLOADS, "toy=rated_workload:Rated")
    write_lines(store, WINDOW, [(key, 10 + n, "ok") for n, key in enumerate(KEYS)])
    version = write_factor(store, "2")
    pin_version(store, "toy", version, requested_by="test", why="", now=NOW)
    assert run_window(store, "toy", WINDOW, ONE_SHARD).counts == {"scored": 6}
    return version


@pytest.fixture
def tripled(store: Store, doubled: str) -> str:
    """The version that triples, pinned after the window was published."""
    version = write_factor(store, "3")
    pin_version(store, "toy", version, requested_by="test", why="", now=NOW)
    return version


def rows(store: Store) -> dict[str, int]:
    """The published rows; BugError of the manifest where its counts are not those of its files."""
    manifest = read_manifest(store, "toy", WINDOW)
    table = read_results(store, manifest)
    assert table.num_rows == manifest.rows == sum(file.rows for file in manifest.files)
    return dict(zip(table["partition"].to_pylist(), table["doubled"].to_pylist(), strict=True))


def times(factor: int, *keys: str) -> dict[str, int]:
    """What the partitions have with the factor."""
    return {key: factor * (10 + int(key[1:])) for key in keys}


def retry(store: Store, *partitions: str, models: str = "", only: Only = Only.FAILED) -> RunRecord:
    """A further round, run here."""
    asked = submit_retry(store, RUN, NOW, "test", only=only, partitions=partitions, models=models)
    return execute(store, asked.request, ONE_SHARD)


def scored_by(store: Store, run: str) -> set[str]:
    """The partitions whose ledger line says that this run scored them."""
    ledger = read_ledger(store, run).to_pylist()
    return {line["partition"] for line in ledger if line["run"] == run}


def test_exactly_the_named_partition_is_scored_with_the_version_of_its_round(
    store: Store, doubled: str, tripled: str
) -> None:
    """Five rows are copied unscored, one is scored anew with the old version, and the old file leaves the
    manifest whole.
    """
    before = {file.path for file in read_manifest(store, "toy", WINDOW).files}
    record = retry(store, "p3")
    assert rows(store) == times(2, *KEYS)
    assert scored_by(store, record.request.run) == {"p3"}
    after = read_manifest(store, "toy", WINDOW)
    assert not before & {file.path for file in after.files}
    assert sorted(file.partitions for file in after.files) == [1, 5]
    assert record.remarks == (f"Scored again: 1 with {doubled}, the version of their round.",)


@pytest.mark.parametrize("models", ["current", "the version"])
def test_models_says_otherwise(store: Store, doubled: str, tripled: str, models: str) -> None:
    """With `current` or the version's name the named partition is scored with it, and no other is."""
    retry(store, "p3", models="current" if models == "current" else tripled)
    assert rows(store) == times(2, *(key for key in KEYS if key != "p3")) | times(3, "p3")


def test_run_takes_both_options_on_a_published_window(store: Store, doubled: str, tripled: str) -> None:
    """A pattern and a version make a further round of exactly what matches; the ledger names each partition's
    version and file.
    """
    asked = submit_run(store, "toy", WINDOW, NOW, "test", partitions=("p[12]",), models=tripled)
    assert asked.fresh
    execute(store, asked.request, ONE_SHARD)
    assert rows(store) == times(2, "p0", "p3", "p4", "p5") | times(3, "p1", "p2")
    ledger = {line["partition"]: line for line in read_ledger(store, asked.request.run).to_pylist()}
    assert {key: line["model"] for key, line in ledger.items()} == {
        key: tripled if key in ("p1", "p2") else doubled for key in KEYS
    }
    named = {file.path for file in read_manifest(store, "toy", WINDOW).files}
    assert {line["file"] for line in ledger.values()} == named
    again = submit_run(store, "toy", WINDOW, NOW, "test")
    assert (again.fresh, again.state) == (False, RunState.PUBLISHED)


def test_what_failed_for_its_model_takes_the_pinned_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A partition pinned to a version whose file is broken fails; after a new pin the retry scores it with
    that, the rest stays.
    """
    monkeypatch.setenv(EXTRA_WORKLOADS, "toy=rated_workload:Rated")
    write_lines(store, WINDOW, [(f"p{n}", 10 + n, "ok") for n in range(20)])
    good, broken = write_factor(store, "2"), write_factor(store, "5")
    pin_version(store, "toy", good, requested_by="test", why="", now=NOW)
    pin_version(store, "toy", broken, partition="p1", requested_by="test", why="", now=NOW)
    store.write(f"models/toy/{broken}/factor.txt", b"7")
    assert run_window(store, "toy", WINDOW, ONE_SHARD).counts == {"scored": 19, "failed": 1}
    fixed = write_factor(store, "3")
    pin_version(store, "toy", fixed, partition="p1", requested_by="test", why="", now=NOW)
    record = retry(store)
    assert record.counts == {"scored": 20}
    assert record.remarks == (f"Scored again: 1 with {fixed}, the pinned version.",)
    assert rows(store)["p1"] == 33


def test_rounds_of_copies_keep_every_row_and_do_not_pile_up(store: Store, doubled: str) -> None:
    """After many rounds of different partitions each row is there once, and files without rows are gone."""
    for key in [*KEYS, *KEYS]:
        retry(store, key)
    assert rows(store) == times(2, *KEYS)
    assert len(read_manifest(store, "toy", WINDOW).files) <= len(KEYS)


def test_a_partition_that_fails_in_its_round_takes_nobody_with_it(store: Store, doubled: str) -> None:
    """The named partition's model raises now: the round is beyond the threshold, and what was published
    stands whole.
    """
    record = retry(store, "p3", models=write_factor(store, "raise"))
    assert (record.state, record.counts) == (RunState.UNPUBLISHED, {"scored": 5, "failed": 1})
    assert rows(store) == times(2, *KEYS)
    assert retry(store, "p3", models="current").state is RunState.PUBLISHED
    assert rows(store) == times(2, *KEYS)


def test_a_file_that_is_not_what_its_ledger_says_stops_the_copy(store: Store, doubled: str) -> None:
    """StoreError names the file and both counts; what was published stands."""
    import pyarrow.parquet as pq

    file = read_manifest(store, "toy", WINDOW).files[0]
    with store.open(file.path) as source:
        table = pq.read_table(source)
    with store.sink(file.path) as sink:
        pq.write_table(table.slice(0, 4), sink)
    with pytest.raises(StoreError, match=r"holds 3 rows .* ledger says 5"):
        retry(store, "p0")
    assert read_manifest(store, "toy", WINDOW).round == 1


@pytest.mark.parametrize(
    ("options", "field"), [({"partitions": ("p1",)}, "partitions"), ({"models": "current"}, "models")]
)
def test_options_cannot_act_on_a_run_under_way(
    store: Store, doubled: str, options: dict[str, object], field: str
) -> None:
    """InputError names the run and the field; the same request again follows it."""
    asked = submit_run(store, "toy", WINDOW, NOW, "test", partitions=("p2",))
    with pytest.raises(InputError, match="cannot act on a run that is under way") as raised:
        submit_run(store, "toy", WINDOW, NOW, "test", **options)  # type: ignore[arg-type]  # one of each
    assert (raised.value.field, raised.value.code) == (field, "under_way")
    with pytest.raises(InputError, match="cannot act"):
        submit_retry(store, RUN, NOW, "test", **options)  # type: ignore[arg-type]  # one of each
    again = submit_run(store, "toy", WINDOW, NOW, "test", partitions=("p2",))
    assert (again.fresh, again.request) == (False, asked.request)


def test_unknown_versions_and_patterns_are_refused_by_name(store: Store, doubled: str) -> None:
    """ModelError for the version before anything is written; a pattern that matches nothing fails its run by
    name.
    """
    with pytest.raises(FleetscoreError, match="no model set 'ghost'"):
        submit_retry(store, RUN, NOW, "test", models="ghost")
    assert store.stat(f"runs/{RUN}-r2/run.json") is None
    with pytest.raises(InputError, match=r"partition q\*"):
        retry(store, "q*")
    assert rows(store) == times(2, *KEYS)


def test_a_key_that_looks_like_a_pattern_means_itself() -> None:
    """Where a partition is called `a*`, that name means it alone."""
    assert match_partitions(["a*"], ["a*", "ab"]).partitions == {"a*"}
    assert match_partitions(["a*"], ["ab", "b"]).partitions == {"ab"}


def test_a_plan_shows_the_round_that_the_options_would_make(store: Store, doubled: str, tripled: str) -> None:
    """One partition to score, five settled by the round before, and the version by name."""
    preview = preview_run(store, AppSettings(), NOW, "toy", WINDOW, ("p3",), tripled)
    assert (preview.head.pending, dict(preview.head.settled)) == (1, {"scored": 5})
    assert tripled in preview.head.remarks[0]


def test_a_backfill_scores_the_named_partitions_of_every_window(
    store: Store, doubled: str, tripled: str
) -> None:
    """A published window gets a round of them, one that never ran is restricted to them; both say the
    version.
    """
    write_lines(store, "2026-01-01T01", [(key, 10 + n, "ok") for n, key in enumerate(KEYS)])
    for window in (WINDOW, "2026-01-01T01"):
        asked = submit_backfilled(
            store, "toy", window, NOW, "backfill x", Only.MISSING, partitions=("p4",), models="current"
        )
        assert asked.fresh
        execute(store, asked.request, ONE_SHARD)
        again = submit_backfilled(
            store, "toy", window, NOW, "backfill x", Only.MISSING, partitions=("p4",), models="current"
        )
        assert not again.fresh
    assert rows(store) == times(2, *(key for key in KEYS if key != "p4")) | times(3, "p4")
    second = read_ledger(store, "toy-2026-01-01T01").to_pylist()
    assert [line["partition"] for line in second if line["outcome"] == "scored"] == ["p4"]
    assert decide_backfilled(None, Only.MISSING, ("p4",)).runs


def test_commands_refuse_what_cannot_act_and_read_partitions_from_a_file(
    store: Store, command: Callable[..., tuple[int, str]], tmp_path: Path, doubled: str
) -> None:
    """--only beside --partition, an empty file and a missing one are usage errors that say what to give."""
    empty = tmp_path / "empty.txt"
    empty.write_text("\n")
    for words in (("retry", RUN), ("backfill", "toy", "--from", WINDOW, "--to", "2026-01-01T01")):
        code, said = command(*words, "--only", "failed", "--partition", "p1")
        assert (code, "--only or --partition" in said) == (2, True)
    assert "names no partition" in command("retry", RUN, "--partition", f"@{empty}")[1]
    assert "cannot be read" in command("retry", RUN, "--partition", f"@{empty}.not")[1]
    named = tmp_path / "keys.txt"
    named.write_text("p1\n\np2\n")
    code, said = command("plan", "toy", "--window", WINDOW, "--partition", f"@{named}", "--json")
    assert (code, json.loads(said)["head"]["pending"]) == (0, 2)


def test_over_http_a_retry_and_a_backfill_take_patterns(
    host: Host, host_store: Store, command: Callable[..., tuple[int, str]]
) -> None:
    """The app's answers say how many were scored again and of what; a window that a backfill cannot run,
    since it has no such partition, is said to be that, whatever it published before.
    """
    write_lines(host_store, "2026-01-01T09", [(key, n, "ok") for n, key in enumerate(KEYS)])
    place = ("--host", host.url, "--key", host.key)
    assert command("run", "toy", "--window", "2026-01-01T09", *place)[0] == 0
    code, said = command("retry", "toy-2026-01-01T09", "--partition", "p[0-2]", "--json", *place)
    shown, _ = json.JSONDecoder().raw_decode(said)
    assert "only p[0-2], after" in command("show", shown["id"], *place)[1]
    assert (code, shown["record"]["counts"]) == (0, {"scored": 6})
    assert shown["record"]["remarks"] == ["Scored again: 3 without a model."]
    span = ("--from", "2026-01-01T09", "--to", "2026-01-01T10")
    assert command("backfill", "toy", *span, "--partition", "p5", *place)[0] == 0
    assert scored_by(host_store, "toy-2026-01-01T09-r3") == {"p5"}
    code, said = command("backfill", "toy", *span, "--partition", "p5", "--partition", "ghost", *place)
    assert (code, "not run: There is neither data nor a model for partition ghost" in said) == (20, True)
    code, said = command("backfill", "toy", *span, "--partition", "ghost", "--dry-run", "--json", *place)
    (window,) = json.loads(said)["windows"]
    assert (code, window["runs"], "partition ghost" in window["why"]) == (0, False, True)
