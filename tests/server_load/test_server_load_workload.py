"""The workload as the pipeline sees it: preparation, discovery, scoring, training, samples."""

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from fleetscore.capabilities import SampleReport
from fleetscore.dashboard.picture_files import write_backtest
from fleetscore.errors import InputError, StoreError
from fleetscore.models.model_sets import write_model_set
from fleetscore.models.pins import Pins, pin_version, read_pins
from fleetscore.schemas import OUTCOMES, PARTITIONS
from fleetscore.sources import DataSettings
from fleetscore.store.local import LocalStore
from fleetscore.testing import check_workload
from fleetscore.windows import Window
from fleetscore.workload import MapItem, Partitions, Remark, RunContext, Shard
from fleetscore.workloads.server_load.months import hour_of
from fleetscore.workloads.server_load.samples import TRUTH_PATH
from fleetscore.workloads.server_load.settings import ServerLoadSettings
from fleetscore.workloads.server_load.sources import find_sources, list_logs
from fleetscore.workloads.server_load.workload import ServerLoad

WORKLOAD = ServerLoad()
_FOLDER = "data/server_load"
_OPTIONS = ServerLoadSettings(forest_trees=10, forest_depth=6, candidates=("forest",))


def request_of(
    store: LocalStore, window: str, options: ServerLoadSettings = _OPTIONS, pins: Pins | None = None
) -> RunContext:
    """A run of a window; a pinned version is named though no such set is stored."""
    chosen = Pins("v1") if pins is None else pins
    return RunContext(store, ServerLoad(settings=options), WORKLOAD.parse_window(window), chosen)


def prepare(run: RunContext) -> list[tuple[MapItem, dict[str, Any]]]:
    """Run all rounds of preparation; what was run, with its counts."""
    done: list[tuple[MapItem, dict[str, Any]]] = []
    while items := WORKLOAD.map_items(run):
        done += [(item, dict(WORKLOAD.map_item(run, item))) for item in items]
    return done


def discover(run: RunContext) -> dict[str, dict[str, Any]]:
    """Prepare, discover, and give the partitions by key."""
    prepare(run)
    return {row["partition"]: row for row in WORKLOAD.discover(run).expected.to_pylist()}


def hours_of(store: LocalStore, discovery: Partitions) -> bytes:
    """The content of all hours that a discovery names, as one sorted plain table's text."""
    parts = []
    for item in discovery.inputs:
        with store.open(item.path) as file:
            table = pq.read_table(file)
        parts.append(table.set_column(0, "server", table["server"].cast(pa.string())))
    return str(
        pa.concat_tables(parts).sort_by([("server", "ascending"), ("hour", "ascending")]).to_pydict()
    ).encode()


def test_every_byte_is_parsed_once(store: LocalStore, logs: Callable[..., bytes]) -> None:
    """A second window parses nothing; a file that comes late is parsed alone, and only its months are reduced again."""
    store.write(f"{_FOLDER}/a.csv", logs(["10.0.0.1"], 1, 9))
    first = prepare(request_of(store, "2016-06-08"))
    assert [facts["step"] for _, facts in first] == ["parse", "reduce"]
    assert prepare(request_of(store, "2016-06-09")) == []
    store.write(f"{_FOLDER}/late.csv", logs(["10.0.0.2"], 8, 1))
    late = prepare(request_of(store, "2016-06-09"))
    assert [(facts["step"], item.input.path.rpartition("/")[2]) for item, facts in late] == [
        ("parse", "late.csv"),
        ("reduce", "2016-06"),
    ]


def test_grown_file_is_parsed_only_where_it_grew(
    store: LocalStore, logs: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a file grows, the ranges that were there before are recognised by their bytes and not parsed again."""
    from fleetscore.workloads.server_load import partials

    parsed: list[int] = []
    original = partials.parse_piece
    monkeypatch.setattr(
        partials, "parse_piece", lambda piece, layout: parsed.append(piece.offset) or original(piece, layout)
    )  # type: ignore[func-returns-value]
    many = [f"10.0.{n}.{m}" for n in range(5) for m in range(1, 21)]
    options = ServerLoadSettings(range_mb=1)
    content = logs(many, 1, 10)
    assert 2 << 20 < len(content) < 3 << 20
    store.write(f"{_FOLDER}/a.csv", content)
    prepare(request_of(store, "2016-06-12", options))
    assert len(parsed) == 3
    store.write(f"{_FOLDER}/a.csv", content + logs(many, 11, 1))
    grown = WORKLOAD.discover(
        (prepare(request_of(store, "2016-06-12", options)), request_of(store, "2016-06-12", options))[1]
    )
    assert len(parsed) == 4
    other = LocalStore(store.root.parent / "other")
    other.write(f"{_FOLDER}/b.csv", content + logs(many, 11, 1))
    whole = ServerLoadSettings(range_mb=64, buckets=3)
    prepare(request_of(other, "2016-06-12", whole))
    assert hours_of(store, grown) == hours_of(
        other, WORKLOAD.discover(request_of(other, "2016-06-12", whole))
    )


def test_renamed_file_is_not_parsed_again(
    store: LocalStore, logs: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that were parsed under another name are known."""
    from fleetscore.workloads.server_load import partials

    store.write(f"{_FOLDER}/a.csv", logs(["10.0.0.1"], 1, 9))
    prepare(request_of(store, "2016-06-08"))
    store.write(f"{_FOLDER}/moved/b.csv", store.read(f"{_FOLDER}/a.csv"))
    store.delete(f"{_FOLDER}/a.csv")
    monkeypatch.setattr(partials, "parse_piece", lambda *_: pytest.fail("parsed again"))
    assert discover(request_of(store, "2016-06-08"))["10.0.0.1"]["rows"] == 8 * 24


def test_file_changed_while_read_is_no_partial(store: LocalStore, logs: Callable[..., bytes]) -> None:
    """A file that is not the version the item names leaves no record, and the call may be made again."""
    store.write(f"{_FOLDER}/a.csv", logs(["10.0.0.1"], 1, 1))
    (item,) = WORKLOAD.map_items(request_of(store, "2016-06-08"))
    store.write(f"{_FOLDER}/a.csv", logs(["10.0.0.1"], 1, 2))
    with pytest.raises(StoreError, match="changed"):
        WORKLOAD.map_item(request_of(store, "2016-06-08"), item)
    assert store.stat(item.output) is None


def test_outdated_reduce_writes_nothing(store: LocalStore, logs: Callable[..., bytes]) -> None:
    """A month whose logs changed after its item was listed is not reduced; the next round lists it anew."""
    store.write(f"{_FOLDER}/a.csv", logs(["10.0.0.1"], 1, 5))
    request = request_of(store, "2016-06-05")
    (parse,) = WORKLOAD.map_items(request)
    WORKLOAD.map_item(request, parse)
    (reduce,) = WORKLOAD.map_items(request)
    store.write(f"{_FOLDER}/b.csv", logs(["10.0.0.2"], 5, 1))
    WORKLOAD.map_item(request, WORKLOAD.map_items(request)[0])
    assert WORKLOAD.map_item(request, reduce)["outdated"]
    assert store.stat(reduce.output) is None
    assert set(discover(request)) == {"10.0.0.1", "10.0.0.2"}


def test_unprepared_logs_stop_discovery(store: LocalStore, logs: Callable[..., bytes]) -> None:
    """Discovery never works on a part of the logs: it says what is not prepared yet."""
    store.write(f"{_FOLDER}/a.csv", logs(["10.0.0.1"], 1, 5))
    with pytest.raises(InputError, match="not prepared") as caught:
        WORKLOAD.discover(request_of(store, "2016-06-05"))
    assert caught.value.code == "not_prepared"


def test_outcomes_known_before_scoring(
    store: LocalStore, logs: Callable[..., bytes], line: Callable[..., str]
) -> None:
    """Silent servers are late, filtered ones skipped, those of a file beyond the reject limit quarantined, the rest to be scored."""
    store.write(f"{_FOLDER}/a.csv", logs(["10.0.0.1", "10.0.0.2", "10.0.0.3"], 1, 9))
    store.write(f"{_FOLDER}/silent.csv", logs(["10.0.0.4"], 1, 5))
    good, bad = line("2016-06-08 10:00:00", "10.0.0.3"), line("2016-06-08 10:00:61", "10.0.0.3")
    store.write(f"{_FOLDER}/bad.csv", "\n".join([good, good, bad]).encode())
    options = ServerLoadSettings(servers=("10.0.0.1", "10.0.0.3", "10.0.0.4"))
    found = discover(request_of(store, "2016-06-09", options))
    assert {key: (row["outcome"], row["cause"]) for key, row in found.items()} == {
        "10.0.0.1": ("", ""),
        "10.0.0.2": ("skipped", "filtered_out"),
        "10.0.0.3": ("quarantined", "file_set_aside"),
        "10.0.0.4": ("late", "no_recent_sessions"),
    }
    assert "bad.csv: 1 of 3 rows" in found["10.0.0.3"]["detail"]
    unpinned = discover(request_of(store, "2016-06-09", options, Pins()))
    assert unpinned["10.0.0.1"]["cause"] == "no_model"


def test_quarantined_file_is_never_half_used(
    store: LocalStore, logs: Callable[..., bytes], line: Callable[..., str]
) -> None:
    """Of a file beyond the reject limit not even the good rows are used, and windows that it says nothing of go on."""
    store.write(f"{_FOLDER}/a.csv", logs(["10.0.0.1"], 1, 9))
    before = hours_of(
        store,
        WORKLOAD.discover((prepare(request_of(store, "2016-06-09")), request_of(store, "2016-06-09"))[1]),
    )
    good, bad = line("2016-06-08 10:00:00", "10.0.0.1", 99_999), line("?", "10.0.0.1")
    store.write(f"{_FOLDER}/bad.csv", "\n".join([good, good, bad]).encode())
    prepare(request_of(store, "2016-06-09"))
    assert hours_of(store, WORKLOAD.discover(request_of(store, "2016-06-09"))) == before
    assert discover(request_of(store, "2016-06-07"))["10.0.0.1"]["outcome"] == ""


def test_unreadable_files_are_remarked(store: LocalStore, logs: Callable[..., bytes]) -> None:
    """A file that is no log at all is set aside with a remark; an empty one and one that is hidden do no harm."""
    store.write(f"{_FOLDER}/a.csv", logs(["10.0.0.1"], 1, 9))
    store.write(f"{_FOLDER}/empty.csv", b"")
    store.write(f"{_FOLDER}/_SUCCESS", b"not,a,log\n")
    store.write(f"{_FOLDER}/packed.csv", b"\x1f\x8b\x08rest")
    request = request_of(store, "2016-06-09")
    prepare(request)
    discovery = WORKLOAD.discover(request)
    assert discovery.expected["partition"].to_pylist() == ["10.0.0.1"]
    assert [remark for remark in discovery.remarks if "packed.csv" in remark and "gzip" in remark]


def test_exponents_change_no_hour(store: LocalStore, logs: Callable[..., bytes]) -> None:
    """A log whose numbers are written with exponents gives the hours of the same log without them."""
    path = f"{_FOLDER}/a.csv"
    plain = logs(["10.0.0.1"], 1, 3)
    rows = [row.split(",") for row in plain.decode().splitlines()]
    columns = (4, *range(8, 15))
    written = [",".join(f"{float(c):.6E}" if n in columns else c for n, c in enumerate(row)) for row in rows]
    found = []
    for content in (plain, "\n".join(written).encode()):
        store.write(path, content)
        run = request_of(store, "2016-06-03")
        prepare(run)
        found.append(hours_of(store, WORKLOAD.discover(run)))
    assert found[0] == found[1]


def test_unread_cells_are_remarked(store: LocalStore, logs: Callable[..., bytes]) -> None:
    """Number cells that are not read are counted in a remark with their file and the first such line."""
    rows = logs(["10.0.0.1"], 1, 3).decode().splitlines()
    rows[7] = rows[7].replace(",2,3,4,5,6,7,", ",1_000,3,4,1e9,6,7,")
    store.write(f"{_FOLDER}/a.csv", "\n".join(rows).encode())
    run = request_of(store, "2016-06-03")
    prepare(run)
    (remark,) = [text for text in WORKLOAD.discover(run).remarks if "bad_number" in text]
    assert remark.startswith(f"{_FOLDER}/a.csv: 1 bad_number, 1 big_number")
    assert rows[7] in remark


def test_copied_file_is_read_once(store: LocalStore, logs: Callable[..., bytes]) -> None:
    """A file of the bytes of another adds nothing and is named with it; equal rows within one file stay."""
    content = logs(["10.0.0.1"], 1, 3) * 2
    store.write(f"{_FOLDER}/a.csv", content)
    run = request_of(store, "2016-06-03", ServerLoadSettings(range_mb=1))
    prepare(run)
    alone = WORKLOAD.discover(run)
    store.write(f"{_FOLDER}/a (1).csv", content)
    prepare(run)
    both = WORKLOAD.discover(run)
    assert hours_of(store, both) == hours_of(store, alone)
    (remark,) = [text for text in both.remarks if "same bytes" in text]
    assert f"{_FOLDER}/a.csv: It holds the same bytes as {_FOLDER}/a (1).csv" in remark
    with store.open(both.inputs[0].path) as file:
        assert set(pq.read_table(file)["sessions"].to_pylist()) == {2}


def test_rows_of_two_files_are_counted(store: LocalStore, logs: Callable[..., bytes]) -> None:
    """Rows that stand in two files are counted with both names, over months too; rows that stand twice in one are not."""
    rows = logs(["10.0.0.1", "10.0.0.2"], 1, 5).splitlines(keepends=True)
    store.write(f"{_FOLDER}/a.csv", b"".join(rows + rows[:7]))
    store.write(
        f"{_FOLDER}/b.csv", b"".join([*rows[150:160], *logs(["10.0.0.3"], 1, 5).splitlines(keepends=True)])
    )
    store.write(f"{_FOLDER}/c.csv", logs(["10.0.0.1"], 1, 5, load=70))
    run = request_of(store, "2016-06-05")
    prepare(run)
    repeated = [text for text in WORKLOAD.discover(run).remarks if "stand in both" in text]
    assert len(repeated) == 1
    assert repeated[0].startswith(f"10 rows stand in both {_FOLDER}/a.csv and {_FOLDER}/b.csv")
    assert isinstance(repeated[0], Remark)
    assert repeated[0].cause == "repeated_rows"


def test_rows_with_a_negative_load_are_counted(store: LocalStore, logs: Callable[..., bytes]) -> None:
    """The file is named with how many of its rows; one without such a row is not named."""
    store.write(f"{_FOLDER}/a.csv", logs(["10.0.0.1"], 1, 5, load=-500))
    store.write(f"{_FOLDER}/b.csv", logs(["10.0.0.2"], 1, 5))
    run = request_of(store, "2016-06-05")
    prepare(run)
    (negative,) = [remark for remark in WORKLOAD.discover(run).remarks if "negative" in remark]
    assert isinstance(negative, Remark)
    assert negative.startswith(f"{_FOLDER}/a.csv: 120 of 120 rows have a negative TotalLoad")


def test_a_log_with_sessions_that_are_still_to_come_is_named(
    store: LocalStore, logs: Callable[..., bytes]
) -> None:
    """The file is named with its latest hour, however old its other sessions are; one whose sessions have been
    is not named.
    """
    past = logs(["10.0.0.1"], 1, 5)
    store.write(f"{_FOLDER}/a.csv", past)
    store.write(f"{_FOLDER}/b.csv", past + logs(["10.0.0.2"], 1, 1).replace(b"2016-06-01", b"2088-06-01"))
    run = request_of(store, "2016-06-05")
    prepare(run)
    (ahead,) = [remark for remark in WORKLOAD.discover(run).remarks if "still to come" in remark]
    assert isinstance(ahead, Remark)
    assert ahead.cause == "clock_ahead"
    assert ahead.startswith(f"{_FOLDER}/b.csv: its latest session begins in the hour of 2088-06-01 23:00")


def test_a_range_of_two_files_is_counted(store: LocalStore, logs: Callable[..., bytes]) -> None:
    """Of a file and the same file grown, the rows of the ranges that they share are counted too."""
    many = [f"10.0.{n}.{m}" for n in range(5) for m in range(1, 21)]
    content = logs(many, 1, 10)
    store.write(f"{_FOLDER}/a.csv", content)
    store.write(f"{_FOLDER}/b.csv", content + logs(many, 11, 1))
    run = request_of(store, "2016-06-12", ServerLoadSettings(range_mb=1))
    prepare(run)
    (repeated,) = [text for text in WORKLOAD.discover(run).remarks if "stand in both" in text]
    assert int(repeated.split()[0]) >= 10 * 24 * len(many) - 2 * len(many)


def test_both_layouts_give_the_same_hours(
    store: LocalStore, logs: Callable[..., bytes], line: Callable[..., str]
) -> None:
    """Files of 16 and of 17 columns lie side by side and are read alike."""
    store.write(f"{_FOLDER}/17.csv", logs(["10.0.0.1"], 1, 9))
    wide = logs(["10.0.0.2"], 1, 9).decode().splitlines()
    narrow = [",".join([*cells[1:15], cells[16], cells[15]]) for cells in (row.split(",") for row in wide)]
    store.write(f"{_FOLDER}/16.csv", "\n".join(narrow).encode())
    request = request_of(store, "2016-06-09")
    prepare(request)
    (hours,) = WORKLOAD.discover(request).inputs
    with store.open(hours.path) as file:
        table = pq.read_table(file)
    names = table["server"].cast(pa.string())
    one, two = (table.filter(pc.equal(names, name)).drop(["server"]) for name in ("10.0.0.1", "10.0.0.2"))
    assert one.equals(two)
    assert one.num_rows == 9 * 24


def test_glob_of_files_makes_a_small_run(store: LocalStore, logs: Callable[..., bytes]) -> None:
    """With `files` set only matching logs are parsed."""
    store.write(f"{_FOLDER}/2016-05.csv", logs(["10.0.0.1"], 1, 9))
    store.write(f"{_FOLDER}/2016-06.csv", logs(["10.0.0.2"], 1, 9))
    assert set(discover(request_of(store, "2016-06-09", ServerLoadSettings(files="2016-06*")))) == {
        "10.0.0.2"
    }


def test_a_store_without_logs_has_no_partition(store: LocalStore) -> None:
    """Before anything was logged, a window is discovered as one that expects nobody; it is no error."""
    assert discover(request_of(store, "2016-06-01")) == {}


def _training(store: LocalStore, first: Window, end: Window) -> RunContext:
    return RunContext(store, ServerLoad(settings=_OPTIONS), first, Pins(), purpose="train", end=end)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[LocalStore, SampleReport, dict[str, Any]]:
    """The samples at a third of their size, with a small forest trained and pinned; the card."""
    store = LocalStore(tmp_path_factory.mktemp("samples"))
    report = WORKLOAD.samples(store, scale=0.4)
    request = _training(store, *(WORKLOAD.parse_window(report.facts[n]) for n in ("train_from", "train_to")))
    prepare(request)
    discovery = WORKLOAD.discover_training(request)
    trained = WORKLOAD.train(replace(request, inputs=discovery.inputs), Shard(0, discovery.expected))
    draft = WORKLOAD.assemble(request, [trained.files])
    pin_version(store, "server_load", write_model_set(store, "server_load", draft.files, draft.card).version)
    return store, report, dict(draft.card)


def test_samples_are_parsed_to_the_truth(trained: tuple[LocalStore, SampleReport, dict[str, Any]]) -> None:
    """The peak of every hour, of both layouts and with dirty rows between, is the one that was planted."""
    store, report, _ = trained
    discovery = WORKLOAD.discover(request_of(store, report.first.key))
    with store.open(TRUTH_PATH) as file:
        truth = pq.read_table(file).to_pylist()
    stop = hour_of(report.first.end)
    planted = {(row["server"], hour_of(row["hour"])): round(row["peak_load"] * 10_000) for row in truth}
    found: dict[tuple[str, int], int] = {}
    for item in discovery.inputs:
        with store.open(item.path) as file:
            table = pq.read_table(file, columns=["server", "hour", "load"])
        found |= {(row["server"], row["hour"]): row["load"] for row in table.to_pylist()}
    first = min(hour for _, hour in found)
    assert found == {
        key: load for key, load in planted.items() if first <= key[1] <= max(h for _, h in found)
    }
    assert max(hour for _, hour in found) >= stop - 1


def test_samples_are_the_same_for_a_seed(
    tmp_path_factory: pytest.TempPathFactory, trained: tuple[LocalStore, SampleReport, dict[str, Any]]
) -> None:
    """A seed gives the same bytes again, another seed others."""
    store, _, _ = trained
    other = LocalStore(tmp_path_factory.mktemp("again"))
    WORKLOAD.samples(other, scale=0.4)
    path = f"{_FOLDER}/sessions-2016-06-15.csv"
    assert other.read(path) == store.read(path)
    WORKLOAD.samples(other, scale=0.4, seed=8)
    assert other.read(path) != store.read(path)


def test_card_tells_how_good_the_model_is(trained: tuple[LocalStore, SampleReport, dict[str, Any]]) -> None:
    """The card has the measures on the days after the split, a confusion matrix that adds up to them, and the baselines."""
    metrics = trained[2]["metrics"]
    confusion = np.array(metrics["confusion"])
    assert confusion.sum() == metrics["rows"] > 100
    assert metrics["accuracy"] == pytest.approx(np.trace(confusion) / confusion.sum())
    assert metrics["recall"] == pytest.approx(metrics["accuracy"])  # weighted recall is accuracy
    assert metrics["f1"] > trained[2]["baselines"]["most_frequent"]["f1"]
    assert trained[2]["baselines"].keys() == {
        "most_frequent", "class_of_48_hours_ago", "class_of_168_hours_ago", "server_and_hour_of_week",
    }  # fmt: skip


def test_the_baselines_that_know_the_week_are_what_they_say() -> None:
    """A week that repeats is told by both without a fault; a server that was never seen gets the most frequent class."""
    from fleetscore.workloads.server_load.features import FEATURES
    from fleetscore.workloads.server_load.training import Examples, card_baselines

    rows = np.arange(4 * 168)
    labels = ((rows % 168) // 60).astype(np.int8)
    features = np.full((len(rows), len(FEATURES)), np.nan)
    load = np.array([_OPTIONS.medium_above / 2, _OPTIONS.high_above * 0.999, _OPTIONS.high_above * 2])
    features[:, FEATURES.index("peakLoadLag168")] = load[labels]
    examples = Examples(features, labels, rows, np.zeros(len(rows), np.int64))
    learnt, unseen = examples.part(rows < 3 * 168), examples.part(rows >= 3 * 168)
    found = card_baselines(learnt, unseen, _OPTIONS)
    assert found["class_of_168_hours_ago"].accuracy == 1.0
    assert found["server_and_hour_of_week"].accuracy == 1.0
    stranger = replace(unseen, server=unseen.server + 7)
    told = card_baselines(learnt, stranger, _OPTIONS)
    assert told["server_and_hour_of_week"].accuracy == told["most_frequent"].accuracy


def _scored(
    trained: tuple[LocalStore, SampleReport, dict[str, Any]], window: str, shards: int = 1
) -> tuple[pa.Table, pa.Table]:
    store = trained[0]
    request = request_of(store, window, pins=read_pins(store, "server_load"))
    prepare(request)
    discovery = WORKLOAD.discover(request)
    open_rows = discovery.expected.filter(pc.equal(discovery.expected["outcome"], ""))
    pieces = []
    for shard in range(shards):
        part = open_rows.take(list(range(shard, open_rows.num_rows, shards)))
        pieces += list(WORKLOAD.score(replace(request, inputs=discovery.inputs), Shard(shard, part)))
    results = pa.concat_tables([piece.results for piece in pieces]).sort_by(
        [("server", "ascending"), ("hour", "ascending")]
    )
    return results, pa.concat_tables([piece.outcomes for piece in pieces])


def test_scoring_settles_every_partition(trained: tuple[LocalStore, SampleReport, dict[str, Any]]) -> None:
    """Each server, the new one too, gets the 48 hours after the window, in schema, with probabilities that add up to one."""
    _, report, _ = trained
    results, outcomes = _scored(trained, report.first.key)
    assert results.schema == WORKLOAD.result_schema
    assert outcomes.schema == OUTCOMES
    assert set(outcomes["outcome"].to_pylist()) == {"scored"}
    assert report.facts["new"] in outcomes["partition"].to_pylist()
    assert results.num_rows == 48 * outcomes.num_rows
    hours = results["hour"].to_pylist()
    assert (min(hours), (max(hours) - min(hours)).total_seconds()) == (report.first.end, 47 * 3600)
    total = results["p_low"].to_numpy() + results["p_medium"].to_numpy() + results["p_high"].to_numpy()
    np.testing.assert_allclose(total, 1.0)


def test_the_kind_keeps_the_promises_of_the_seam(
    trained: tuple[LocalStore, SampleReport, dict[str, Any]],
) -> None:
    """check_workload finds nothing wrong in a window of the samples."""
    store, report, _ = trained
    checked = check_workload(ServerLoad(settings=_OPTIONS), store, report.first.key)
    assert set(checked.outcomes) == {"scored"}
    assert checked.rows == 48 * checked.outcomes["scored"]


def test_sharding_changes_no_result(trained: tuple[LocalStore, SampleReport, dict[str, Any]]) -> None:
    """Scored in one shard or in three, the results are the same."""
    window = trained[1].first.key
    assert _scored(trained, window)[0].equals(_scored(trained, window, 3)[0])


def test_missing_model_fails_its_partitions_only(
    trained: tuple[LocalStore, SampleReport, dict[str, Any]],
) -> None:
    """A pinned version that is not there is an outcome of the partitions that need it, not the end of the shard."""
    store, report, _ = trained
    pins = read_pins(store, "server_load")
    request = request_of(
        store, report.first.key, pins=Pins(pins.current, {"10.0.0.1": "20000101T000000Z-00000000"})
    )
    discovery = WORKLOAD.discover(request)
    part = discovery.expected.filter(pc.equal(discovery.expected["outcome"], ""))
    pieces = list(WORKLOAD.score(replace(request, inputs=discovery.inputs), Shard(0, part)))
    outcomes = {row["partition"]: row["outcome"] for piece in pieces for row in piece.outcomes.to_pylist()}
    assert outcomes.pop("10.0.0.1") == "failed"
    assert set(outcomes.values()) == {"scored"}
    assert discovery.expected.schema == PARTITIONS


def test_training_needs_days_to_learn_and_to_judge(
    trained: tuple[LocalStore, SampleReport, dict[str, Any]],
) -> None:
    """A span no longer than the days kept for judging is refused with the remedy."""
    store, report, _ = trained
    stop = WORKLOAD.parse_window(report.facts["train_to"])
    request = _training(store, stop.next(-2), stop)
    prepare(request)
    discovery = WORKLOAD.discover_training(request)
    with pytest.raises(InputError, match="to learn from"):
        WORKLOAD.train(replace(request, inputs=discovery.inputs), Shard(0, discovery.expected))


def test_backtest_compares_with_baselines(
    trained: tuple[LocalStore, SampleReport, dict[str, Any]], tmp_path: Any
) -> None:
    """A backtest has a row per cutoff and method, baselines among them, and a plot."""
    found = ServerLoad(settings=_OPTIONS).backtest(trained[0], 2)
    methods = {row["method"] for row in found["rows"]}
    assert methods == {"forest", "most_frequent", "class_of_48_hours_ago"}
    assert len({row["cutoff"] for row in found["rows"]}) == 2
    path = write_backtest(ServerLoad.backtest_chart, found, "server_load", tmp_path)
    words = {one.text for one in ElementTree.parse(path).iter() if one.text}
    assert methods <= words


def test_import_is_light() -> None:
    """Importing the workload brings none of the science stack with it."""
    heavy = ("numba", "sklearn", "pandas", "matplotlib", "duckdb", "polars")
    code = f"import sys, fleetscore.workloads.server_load.workload; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@pytest.mark.parametrize("kind", ["forest", "boosting"])
def test_short_history_trains(kind: str) -> None:
    """Days so few that some lags are missing everywhere train all the same, and later values there change no answer."""
    from fleetscore.workloads.server_load.features import FEATURES
    from fleetscore.workloads.server_load.training import Examples, fit
    from fleetscore.workloads.server_load.trees import predict

    random = np.random.default_rng(0)
    features = random.normal(size=(300, len(FEATURES)))
    features[:, 20] = np.nan
    trees = fit(
        kind, Examples(features, random.integers(0, 3, 300).astype(np.int8), np.arange(300)), _OPTIONS
    )
    later = features.copy()
    later[:, 20] = 5.0
    np.testing.assert_array_equal(predict(trees, features), predict(trees, later))


def test_a_log_whose_name_is_not_utf8_is_set_aside_by_name(tmp_path: Path) -> None:
    """It is named with its bytes shown, in the remarks, and the other logs are read."""
    store = LocalStore(tmp_path / "store")
    store.write("data/server_load/a.csv", b"1,2\n")
    (store.root / "data" / "server_load" / os.fsdecode(b"bad\xff.csv")).write_bytes(b"1,2\n")
    settings = ServerLoadSettings()
    assert [file.path for file in list_logs(store, settings, "server_load").files] == [
        "data/server_load/a.csv"
    ]
    (told,) = find_sources(store, settings, "server_load").remarks
    assert told.startswith("data/server_load/bad\\udcff.csv: ")
    assert "rename it" in told


def test_a_log_that_takes_too_long_to_read_is_set_aside_by_name(
    store: LocalStore, logs: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading a range beyond read_limit_s sets that log aside; the setting is named, and a higher one reads it anew."""
    store.write(f"{_FOLDER}/slow.csv", logs(["10.0.0.1"], 28, 1))
    clock = itertools.count(time.monotonic() + 400, 400)
    with monkeypatch.context() as patched:
        patched.setattr("fleetscore.sources.request.time.monotonic", lambda: next(clock))
        strict = replace(_OPTIONS, data=DataSettings(read_limit_s=300.0))
        prepare(request_of(store, "2016-06-28", strict))
    (aside,) = find_sources(store, strict, "server_load").aside
    assert aside.cause == "too_slow"
    assert aside.detail.startswith(f"{_FOLDER}/slow.csv could not be read within 300 s.")
    assert "read_limit_s" in aside.detail
    assert find_sources(store, _OPTIONS, "server_load").unparsed
    prepare(request_of(store, "2016-06-28"))
    assert not find_sources(store, _OPTIONS, "server_load").aside


def test_a_log_of_zeros_is_set_aside_from_its_first_bytes(
    store: LocalStore, logs: Callable[..., bytes]
) -> None:
    """Gigabytes of NUL cost the start of each range, with good rows before them or without, and the log is named."""
    good = logs(["10.0.0.1"], 28, 1)
    for name, head in (("all.csv", b""), ("end.csv", good * (1 + (1 << 18) // len(good)))):
        path = store.root / _FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(head)
            file.truncate(3 << 30)
    prepare(request_of(store, "2016-06-28"))
    assert {one.path: one.cause for one in find_sources(store, _OPTIONS, "server_load").aside} == {
        f"{_FOLDER}/all.csv": "bad_encoding",
        f"{_FOLDER}/end.csv": "endless_line",
    }
