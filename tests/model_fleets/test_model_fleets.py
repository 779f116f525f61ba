"""A fleet of models by key, from one settings file: who is scored by what, who is not and why."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.svm import OneClassSVM

from fleetscore.app_settings import AppSettings
from fleetscore.capabilities import ScoresRows, require
from fleetscore.cli.program import run_command
from fleetscore.errors import FleetscoreError, InputError, ModelError
from fleetscore.models.model_sets import read_model_set
from fleetscore.models.pins import read_pins
from fleetscore.operations.explain import explain
from fleetscore.pipeline.context import open_window
from fleetscore.pipeline.local import execute, run_window
from fleetscore.pipeline.plan import make_plan
from fleetscore.pipeline.submit import submit_retry
from fleetscore.records import Only, RunRecord, RunRequest, RunState
from fleetscore.registry import find_workloads, get_workload
from fleetscore.runs.ledgers import read_ledger
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.store.base import Store
from fleetscore.store.paths import manifest_path
from fleetscore.testing import check_workload
from fleetscore.workloads.models import bundles
from tests.model_fleets.conftest import FEATURES, MIDNIGHT, fitted, pin_models, telemetry, write_rows

WINDOW = "2026-11-21"
VANS = ["VAN-1", "VAN-2", "VAN-3"]
Change = Callable[[str, str], None]


def run(store: Store) -> RunRecord:
    """The record of a run of the window."""
    return run_window(store, "vans", WINDOW)


def published(store: Store) -> pd.DataFrame:
    """The published rows, in order of van and time."""
    frame = read_results(store, read_manifest(store, "vans", WINDOW)).to_pandas()
    return frame.sort_values(["van_id", "recorded_at"], ignore_index=True)


def causes(store: Store, record: RunRecord) -> dict[str, tuple[str, str, str]]:
    """Partition -> outcome, cause, detail, as the ledger has them."""
    rows = read_ledger(store, record.request.run).to_pylist()
    return {row["partition"]: (row["outcome"], row["cause"], row["detail"]) for row in rows}


def test_every_van_is_scored_by_its_own_model(store: Store) -> None:
    """The published rows are the library's own predictions, with what is kept, and only rows of the local day."""
    frame = telemetry(VANS, rows=25)
    extra = telemetry(["VAN-1"], rows=5, start=MIDNIGHT + timedelta(days=1))
    write_rows(store, pd.concat([frame, extra], ignore_index=True))
    models = {van: fitted(at) for at, van in enumerate(VANS)}
    pin_models(store, models)
    record = run(store)
    assert (record.state, record.counts, record.rows) == (RunState.PUBLISHED, {"scored": 3}, 75)
    found = published(store)
    assert list(found.columns) == ["van_id", "recorded_at", "depot", "kwh", "model_key"]
    expected = np.concatenate([models[van].predict(frame[frame.van_id == van][FEATURES]) for van in VANS])
    np.testing.assert_allclose(found.kwh, expected, rtol=1e-12)
    assert (found.model_key == found.van_id).all()
    assert check_workload(get_workload(store, "vans"), store, WINDOW).rows == 75


def test_a_silent_van_with_a_model_is_late_and_one_without_a_model_is_skipped(store: Store) -> None:
    """Who has a model of its own is expected; who has none is named with the key that no model has."""
    write_rows(store, telemetry(["VAN-1", "VAN-9"]))
    pin_models(store, {van: fitted(at) for at, van in enumerate(["VAN-1", "VAN-2"])})
    told = causes(store, run(store))
    assert told["VAN-1"][0] == "scored"
    assert told["VAN-2"][:2] == ("late", "no_rows")
    assert told["VAN-9"][:2] == ("skipped", "no_model")


def test_stamps_without_a_zone_are_counted_in_the_zone_of_the_workload(store: Store) -> None:
    """A plan counts the rows that scoring reads: a van whose only rows came in the day's last local hour is no late one."""
    day = telemetry(["VAN-1"], rows=24)
    evening = telemetry(["VAN-2"], rows=2, start=MIDNIGHT + timedelta(hours=23, minutes=30)).head(1)
    rows = pd.concat([day, evening])
    rows["recorded_at"] = rows["recorded_at"].dt.tz_convert("Europe/Berlin").dt.tz_localize(None)
    write_rows(store, rows)
    pin_models(store, {van: fitted(at) for at, van in enumerate(["VAN-1", "VAN-2"])})
    kind = get_workload(store, "vans")
    planned = kind.discover(open_window(store, kind, WINDOW)).expected
    assert dict(zip(planned["partition"].to_pylist(), planned["rows"].to_pylist(), strict=True)) == {
        "VAN-1": 24,
        "VAN-2": 1,
    }
    told = causes(store, run(store))
    assert [told[van][0] for van in ("VAN-1", "VAN-2")] == ["scored"] * 2


def test_models_count_in_the_memory_and_the_seconds_of_a_plan(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each shard is planned with the bytes of the pinned models; what they leave of the memory is for rows."""
    write_rows(store, telemetry(VANS, rows=24))
    version = pin_models(store, {van: fitted(at) for at, van in enumerate(VANS)})
    files = read_model_set(store, "vans", version).files
    size_bytes = sum(file.size_bytes for name, file in files.items() if name.endswith(".bin"))
    request, app = (
        RunRequest(f"vans-{WINDOW}", "vans", WINDOW, 1, MIDNIGHT, "test"),
        AppSettings(inline_memory_bytes=100_000),
    )
    plan = make_plan(store, request, app, MIDNIGHT)
    assert plan.head.rates.models_bytes == size_bytes > 0
    assert plan.head.rates.models_s > 0
    assert all(shard.memory_bytes > size_bytes for shard in plan.shards)
    monkeypatch.setattr(bundles, "weigh_models", lambda _: (10**9, 99_000))
    heavy = make_plan(store, request, app, MIDNIGHT)
    assert heavy.head.predicted_s > plan.head.predicted_s + 1
    assert all(shard.memory_bytes > 99_000 for shard in heavy.shards)


def test_the_first_key_with_a_model_scores_and_the_ledger_says_which(
    store: Store, change_settings: Change, capsys: pytest.CaptureFixture[str]
) -> None:
    """A van without a model of its own falls back to its depot's; results, ledger and explain name the key."""
    change_settings("[models]", '[models]\nkey = ["{van_id}", "{depot}"]')
    frame = telemetry(VANS)
    write_rows(store, frame)
    models = {"VAN-1": fitted(1), "depot-0": fitted(2), "depot-1": fitted(3)}
    pin_models(store, models)
    told = causes(store, run(store))
    assert [told[van][0] for van in VANS] == ["scored"] * 3
    assert "'depot-1'" in told["VAN-2"][2]
    found = published(store)
    assert found.groupby("van_id").model_key.first().to_dict() == {
        "VAN-1": "VAN-1",
        "VAN-2": "depot-1",
        "VAN-3": "depot-0",
    }
    story = explain(store, f"vans-{WINDOW}", "VAN-2")
    assert (story.model.keys, story.model.version) == (("depot-1",), read_pins(store, "vans").current)
    assert run_command(["explain", f"vans-{WINDOW}", "VAN-2", "--store", store.url]) == 0
    assert f"{story.model.version}, pinned current, model key 'depot-1'" in capsys.readouterr().out
    second = frame[frame.van_id == "VAN-2"]
    np.testing.assert_allclose(
        found[found.van_id == "VAN-2"].kwh, models["depot-1"].predict(second[FEATURES]), rtol=1e-12
    )


def test_one_model_scores_all(store: Store, change_settings: Change) -> None:
    """With the key "" every van is scored by the one model; a van that was seen before is late when it is silent."""
    change_settings("[models]", '[models]\nkey = ""')
    write_rows(store, telemetry(VANS, start=MIDNIGHT - timedelta(days=1)), "2026-11-20.parquet")
    write_rows(store, telemetry(VANS[:2]))
    pin_models(store, {"": fitted(1)})
    run_window(store, "vans", "2026-11-20")
    told = causes(store, run(store))
    assert {van: told[van][0] for van in VANS} == {"VAN-1": "scored", "VAN-2": "scored", "VAN-3": "late"}


def test_classes_are_published_as_the_classifier_names_them(store: Store, change_settings: Change) -> None:
    """output_type "text" gives the labels themselves."""
    change_settings('output = "kwh"', 'output = "kwh"\noutput_type = "text"')
    frame = telemetry(VANS[:1])
    write_rows(store, frame)
    model = fitted(1, classes=True)
    pin_models(store, {"VAN-1": model})
    run(store)
    assert published(store).kwh.tolist() == model.predict(frame[FEATURES]).tolist()


@pytest.mark.parametrize("kind", ["classifier", "one-class"])
def test_classes_that_are_numbers_are_published_as_these_numbers(store: Store, kind: str) -> None:
    """A classifier of 10 and 20, and a detector of -1 and 1, give what their library gives, in a window and by rows."""
    frame = telemetry(VANS[:1])
    x = frame[FEATURES]
    model = (
        LogisticRegression().fit(x, np.where(x.speed > 50, 20, 10))
        if kind == "classifier"
        else OneClassSVM(nu=0.5).fit(x)
    )
    write_rows(store, frame)
    pin_models(store, {"VAN-1": model})
    run(store)
    expected = model.predict(x).tolist()
    assert len(set(expected)) == 2
    assert published(store).kwh.tolist() == expected
    rows = [{"van_id": "VAN-1", "speed": one.speed, "load_kg": one.load_kg} for one in x.itertuples()]
    answers = require(get_workload(store, "vans"), ScoresRows).score_rows(
        store, read_pins(store, "vans"), rows
    )
    assert [one["kwh"] for one in answers] == expected


def test_classes_that_are_no_numbers_fail_where_numbers_are_wanted(
    store: Store, change_settings: Change
) -> None:
    """A classifier of texts among regressors costs its own van, with what to set; check says so before."""
    change_settings("[models]", "[run]\nerror_threshold = 0.9\n[models]")
    write_rows(store, telemetry(VANS[:2]))
    pin_models(store, {VANS[0]: fitted(1), VANS[1]: fitted(1, classes=True)})
    outcome, cause, detail = causes(store, run(store))[VANS[1]]
    assert (outcome, cause) == ("failed", "output_mismatch")
    assert "'high', 'low'" in detail and 'output_type = "text"' in detail
    assert set(published(store).van_id) == {VANS[0]}
    assert run_command(["check", "vans", "--store", store.url]) == 10
    with pytest.raises(ModelError, match="no numbers"):
        row = {"van_id": VANS[1], "speed": 50.0, "load_kg": 300.0}
        require(get_workload(store, "vans"), ScoresRows).score_rows(store, read_pins(store, "vans"), [row])


def test_probabilities_have_a_column_per_class(store: Store, change_settings: Change) -> None:
    """method "predict_proba" with one output per class, in the model's order."""
    change_settings('output = "kwh"', 'output = ["p_high", "p_low"]\nmethod = "predict_proba"')
    frame = telemetry(VANS[:1])
    write_rows(store, frame)
    model = fitted(1, classes=True)
    pin_models(store, {"VAN-1": model})
    run(store)
    np.testing.assert_allclose(
        published(store)[["p_high", "p_low"]], model.predict_proba(frame[FEATURES]), rtol=1e-9
    )


@pytest.mark.parametrize(
    ("policy", "outcome", "rows"),
    [('"reject"', "failed", 0), ('"drop"', "scored", 19), ("0.5", "scored", 20)],
)
def test_a_missing_feature_is_treated_as_the_settings_say(
    store: Store, policy: str, outcome: str, rows: int
) -> None:
    """Rejected by partition with the feature's name, dropped by row, or filled in; never another partition's loss."""
    store.write(
        "settings/vans.toml", store.read("settings/vans.toml") + f"[expect]\nmissing = {policy}\n".encode()
    )
    frame = telemetry(VANS[:2])
    frame.loc[3, "speed"] = np.nan
    write_rows(store, frame)
    pin_models(store, {van: fitted(at) for at, van in enumerate(VANS[:2])})
    store.write("settings/vans.toml", store.read("settings/vans.toml") + b"[run]\nerror_threshold = 0.9\n")
    record = run(store)
    told = causes(store, record)
    assert told["VAN-2"][0] == "scored"
    assert told["VAN-1"][0] == outcome
    assert (published(store).van_id == "VAN-1").sum() == rows
    if outcome == "failed":
        assert "speed has no number in 1 of 20 rows" in told["VAN-1"][2]


def test_a_feature_that_the_data_lacks_is_named(store: Store) -> None:
    """The partition fails with the name of the column, and the run publishes nothing when all do."""
    write_rows(store, telemetry(VANS[:1]).drop(columns="load_kg"))
    pin_models(store, {"VAN-1": fitted(1)})
    record = run(store)
    assert record.state is RunState.UNPUBLISHED
    assert "load_kg" in causes(store, record)["VAN-1"][2]


def test_an_unreadable_file_costs_its_own_rows_and_is_named(store: Store) -> None:
    """A Parquet file cut short is a remark with its path; the vans of the other file are scored."""
    write_rows(store, telemetry(VANS[:1]))
    store.write("data/telemetry/broken.parquet", b"PAR1" + b"x" * 100)
    pin_models(store, {van: fitted(at) for at, van in enumerate(VANS[:2])})
    record = run(store)
    assert any("data/telemetry/broken.parquet" in remark for remark in record.remarks)
    told = causes(store, record)
    assert told["VAN-1"][0] == "scored"
    assert "broken.parquet" in told["VAN-2"][2]


def test_a_partition_of_which_one_file_cannot_be_read_to_its_end_is_not_scored_from_the_others(
    store: Store, change_settings: Change
) -> None:
    """Its keys were counted, its features are broken: who has rows there fails with the file's name, others are scored."""
    change_settings("[models]", "[run]\nerror_threshold = 0.9\n[models]")
    pin_models(store, {van: fitted(at) for at, van in enumerate(VANS)})
    write_rows(store, telemetry(["VAN-1", "VAN-2"]))
    write_rows(store, telemetry(["VAN-1", "VAN-3"]), "2026-11-21_b.parquet")
    _break_column(store, "data/telemetry/2026-11-21_b.parquet", "speed")
    found = causes(store, run(store))
    assert {van: one[:2] for van, one in found.items()} == {
        "VAN-1": ("failed", "unreadable_file"), "VAN-2": ("scored", ""), "VAN-3": ("failed", "unreadable_file")
    }  # fmt: skip
    assert "Not all of its rows could be read. data/telemetry/2026-11-21_b.parquet" in found["VAN-1"][2]
    assert set(published(store).van_id) == {"VAN-2"}


def _break_column(store: Store, path: str, name: str) -> None:
    """Overwrite the pages of a column, so that the file opens and its other columns are read."""
    data = bytearray(store.read(path))
    group = pq.read_metadata(pa.BufferReader(bytes(data))).row_group(0)
    column = next(one for one in map(group.column, range(group.num_columns)) if one.path_in_schema == name)
    start = column.dictionary_page_offset or column.data_page_offset
    data[start : start + column.total_compressed_size] = b"\xee" * column.total_compressed_size
    store.write(path, bytes(data))


def test_results_outside_what_is_expected_fail_their_partition(store: Store) -> None:
    """A check with what = "partition" fails the van whose results leave the range, and no other."""
    more = b'[expect.results.kwh]\nrange = [-10, 5]\nwhat = "partition"\n[run]\nerror_threshold = 0.9\n'
    store.write("settings/vans.toml", store.read("settings/vans.toml") + more)
    frame = telemetry(VANS[:2])
    frame.loc[frame.van_id == "VAN-2", "load_kg"] = 1e9
    write_rows(store, frame)
    pin_models(store, {van: fitted(at) for at, van in enumerate(VANS[:2])})
    told = causes(store, run(store))
    assert told["VAN-1"][0] == "scored"
    assert told["VAN-2"][:2] == ("failed", "unexpected_result")
    assert "kwh lie outside [-10, 5]" in told["VAN-2"][2]


@pytest.mark.parametrize(
    ("expect", "named"),
    [
        ("least_scored = 0.9", "1 of 2 expected partitions were scored"),
        ("[expect.results.kwh]\nrange = [-10, 0.0001]", "kwh lie outside"),
        ("[expect.results.kwh]\nchange = 0.01", "in the published window before"),
    ],
)
def test_results_that_are_not_as_expected_are_held_back(store: Store, expect: str, named: str) -> None:
    """Coverage, a range and a change of the mean stop the window with the limit's name; the one before stays published."""
    pin_models(store, {van: fitted(at) for at, van in enumerate(VANS[:2])})
    write_rows(store, telemetry(VANS[:2], start=MIDNIGHT - timedelta(days=1)), "2026-11-20.parquet")
    assert run_window(store, "vans", "2026-11-20").state is RunState.PUBLISHED
    extra = f"{expect}\n" if expect.startswith("[") else f"[expect]\n{expect}\n"
    store.write("settings/vans.toml", store.read("settings/vans.toml") + extra.encode())
    frame = telemetry(VANS[:1] if "least" in expect else VANS[:2])
    frame["load_kg"] *= 3
    write_rows(store, frame)
    record = run(store)
    assert record.state is RunState.UNPUBLISHED
    assert named in record.error
    assert read_manifest(store, "vans", "2026-11-20").rows == 40


def test_a_change_is_measured_against_the_window_before_however_late_the_window_runs(store: Store) -> None:
    """A backfilled window and a further round of the newest are compared with the one before them, not with a later one."""
    pin_models(store, {"VAN-1": fitted(0)})
    for day, factor in ((-2, 1.0), (0, 9.0)):
        frame = telemetry(["VAN-1"], start=MIDNIGHT + timedelta(days=day))
        write_rows(store, frame.assign(load_kg=frame.load_kg * factor), f"{day}.parquet")
    assert run_window(store, "vans", "2026-11-19").state is RunState.PUBLISHED
    assert run(store).state is RunState.PUBLISHED
    expect = b"[expect.results.kwh]\nchange = 0.01\n"
    store.write("settings/vans.toml", store.read("settings/vans.toml") + expect)
    write_rows(store, telemetry(["VAN-1"], start=MIDNIGHT + timedelta(days=-1)), "-1.parquet")
    assert run_window(store, "vans", "2026-11-20").state is RunState.PUBLISHED  # as 19th, unlike 21st
    for gone in ("2026-11-20", ""):
        if gone:
            store.delete(manifest_path("vans", gone))
        again = submit_retry(store, f"vans-{WINDOW}", datetime.now(UTC), "test", only=Only.ALL)
        assert "in the published window before" in execute(store, again.request).error


def test_a_window_is_published_whatever_became_of_the_results_before_it(store: Store) -> None:
    """A change is measured against the newest window that can be read: one whose file is cut stops no other."""
    pin_models(store, {"VAN-1": fitted(0)})
    for day, factor in ((-2, 1.0), (-1, 1.0), (0, 9.0)):
        frame = telemetry(["VAN-1"], start=MIDNIGHT + timedelta(days=day))
        write_rows(store, frame.assign(load_kg=frame.load_kg * factor), f"{day}.parquet")
    for window in ("2026-11-19", "2026-11-20"):
        assert run_window(store, "vans", window).state is RunState.PUBLISHED
    expect = b"[expect.results.kwh]\nchange = 0.01\n"
    store.write("settings/vans.toml", store.read("settings/vans.toml") + expect)
    path = read_manifest(store, "vans", "2026-11-20").files[0].path
    store.write(path, store.read(path)[:-20])
    assert "in the published window before" in run(store).error
    store.write("settings/vans.toml", store.read("settings/vans.toml").replace(b"0.01", b"1000"))
    again = submit_retry(store, f"vans-{WINDOW}", datetime.now(UTC), "test", only=Only.ALL)
    assert execute(store, again.request).state is RunState.PUBLISHED


def test_counted_files_are_not_opened_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planning a window again reads the counts that it kept, unless they are damaged: then it counts again."""
    from fleetscore.workloads.models import key_counts

    write_rows(store, telemetry(VANS))
    pin_models(store, {van: fitted(at) for at, van in enumerate(VANS)})
    kind = get_workload(store, "vans")
    first = kind.discover(open_window(store, kind, WINDOW))
    opened: list[str] = []
    read_batches = key_counts.read_batches
    monkeypatch.setattr(
        key_counts, "read_batches", lambda s, f, *rest: opened.append(f.path) or read_batches(s, f, *rest)
    )
    assert kind.discover(open_window(store, kind, WINDOW)).expected.equals(first.expected)
    assert opened == []
    store.write(f"hints/vans/counts/{WINDOW}.parquet", b"damaged")
    assert kind.discover(open_window(store, kind, WINDOW)).expected.equals(first.expected)
    assert opened == [f"data/telemetry/{WINDOW}.parquet"]


def test_a_file_that_cannot_be_read_is_not_read_again_until_something_changes(
    store: Store, monkeypatch: pytest.MonkeyPatch, change_settings: Change
) -> None:
    """Plan and every shard take the kept fault; another version of the file, or other settings for it, are tried."""
    from fleetscore.workloads.models import key_counts

    write_rows(store, telemetry(VANS[:2]))
    write_rows(store, telemetry(VANS[2:]).rename(columns={"van_id": "van"}), "2026-11-21-more.parquet")
    pin_models(store, {van: fitted(at) for at, van in enumerate(VANS)})
    opened: list[str] = []
    read_batches = key_counts.read_batches
    monkeypatch.setattr(
        key_counts, "read_batches", lambda s, f, *rest: opened.append(f.path) or read_batches(s, f, *rest)
    )

    def discovered() -> dict[str, str]:
        kind = get_workload(store, "vans")
        lines = kind.discover(open_window(store, kind, WINDOW)).expected.to_pylist()
        return {line["partition"]: line["detail"] for line in lines}

    assert "a file cannot be read: data/telemetry/2026-11-21-more.parquet: It has no" in discovered()["VAN-3"]
    assert len(opened) == 2
    record = run(store)
    assert record.counts == {"scored": 2, "late": 1}
    assert len(opened) == 2
    write_rows(store, telemetry(["VAN-3"]), "2026-11-21-more.parquet")
    assert discovered()["VAN-3"] == ""
    assert opened[2:] == ["data/telemetry/2026-11-21-more.parquet"]
    change_settings('time = "recorded_at"', 'time = "recorded_at"\ncolumns = { load_kg = "load_kg" }')
    assert discovered()["VAN-3"] == ""
    assert len(opened) == 5


ROW = {"van_id": "VAN-1", "speed": 50, "load_kg": "300.5"}


@pytest.mark.parametrize(
    ("row", "error", "field"),
    [
        ({"van_id": "VAN-1", "speed": 5}, InputError, "rows[0].load_kg"),
        ({"speed": 5, "load_kg": 1}, InputError, "rows[0].van_id"),
        ({**ROW, "speed": "fast"}, InputError, "rows[0].speed"),
        ({**ROW, "speed": None}, InputError, "rows[0].speed"),
        ({**ROW, "speed": True}, InputError, "rows[0].speed"),
        ({**ROW, "van_id": "VAN-77"}, ModelError, "rows[0].van_id"),
    ],
)
def test_a_row_that_cannot_be_answered_is_refused_with_its_field(
    store: Store, row: dict[str, Any], error: type[FleetscoreError], field: str
) -> None:
    """A missing field, one that is no number, and a key that no model has are named by row and field."""
    pin_models(store, {"VAN-1": fitted(1)})
    kind = require(get_workload(store, "vans"), ScoresRows)
    with pytest.raises(error) as refused:
        kind.score_rows(store, read_pins(store, "vans"), [row])
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("value", "what"), [(["VAN-1"], "a list"), ({"id": "VAN-1"}, "an object"), (True, "true or false")]
)
def test_a_key_that_is_no_text_is_refused_as_what_it_is(store: Store, value: object, what: str) -> None:
    """A list in place of a key is there, so the message says what it is, not that it lacks."""
    pin_models(store, {"VAN-1": fitted(1)})
    kind = require(get_workload(store, "vans"), ScoresRows)
    with pytest.raises(InputError, match=f"The van_id of row 0 is {what}; it must be text") as refused:
        kind.score_rows(store, read_pins(store, "vans"), [{**ROW, "van_id": value}])
    assert refused.value.field == "rows[0].van_id"


def test_a_number_for_a_key_with_leading_zeros_is_refused(store: Store, change_settings: Change) -> None:
    """Its van's own model would be passed over for the depot's; numbers that are keys, and others, are answered."""
    change_settings("[models]", '[models]\nkey = ["{van_id}", "{depot}"]')
    pin_models(store, {"00007": fitted(1), "8": fitted(2), "north": fitted(3)})
    rows = require(get_workload(store, "vans"), ScoresRows)
    pins = read_pins(store, "vans")

    def row(van: Any) -> dict[str, Any]:
        return {"van_id": van, "depot": "north", "speed": 1, "load_kg": 2}

    with pytest.raises(InputError, match="no model has the key '7', and one has '00007'") as caught:
        rows.score_rows(store, pins, [row("00007"), row(7)])
    assert caught.value.field == "rows[1].van_id"
    found = rows.score_rows(store, pins, [row("00007"), row(8), row(8.0), row(9), row("7")])
    assert [one["model_key"] for one in found] == ["00007", "8", "8", "north", "north"]


def test_rows_are_answered_as_a_run_would(store: Store) -> None:
    """The answer is the library's prediction, with the model's key and version."""
    model = fitted(1)
    version = pin_models(store, {"VAN-1": model})
    kind = require(get_workload(store, "vans"), ScoresRows)
    (answer,) = kind.score_rows(store, read_pins(store, "vans"), [ROW])
    assert answer["kwh"] == pytest.approx(
        model.predict(pd.DataFrame([[50, 300.5]], columns=FEATURES))[0], rel=1e-12
    )
    assert (answer["model_key"], answer["model"]) == ("VAN-1", version)


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ('partition = ["van_id"]', 'partition = "van_id"', "partition"),
        ('output = "kwh"', 'output = "kwh"\nmethod = "guess"', "method"),
        ("[models]", '[models]\nkey = "{van_id"', "key"),
        ('path = "data/telemetry/*.parquet"', 'paht = "x"', "paht"),
        ('timezone = "Europe/Berlin"', 'timezone = "Berlin"', "timezone"),
        ('timezone = "Europe/Berlin"', 'timezone = "UTC"\nwindow = "fortnight"', "window"),
        ('keep = ["recorded_at", "depot"]', 'keep = ["van_id"]', "keep"),
        ("[models]", '[expect]\ndays = "mon-someday"\n[models]', "days"),
        ("[models]", "[expect]\nleast_scored = 7\n[models]", "least_scored"),
        ("[models]", '[models]\nscore = "vans predict"', "must be like vans:predict"),
    ],
)
def test_a_mistyped_line_is_shown_as_broken_with_its_name(
    store: Store, change_settings: Change, before: str, after: str, named: str
) -> None:
    """The workload is listed with the reason, and no other workload is touched."""
    change_settings(before, after)
    found = {one.name: one for one in find_workloads(store)}
    assert named in found["vans"].reason
    assert not found["store_sales"].reason


def test_the_kind_itself_is_no_workload(store: Store) -> None:
    """Without a settings file there is nothing named models."""
    assert "models" not in {one.name for one in find_workloads(store)}


def test_a_quarter_of_an_hour_is_a_window(store: Store, change_settings: Change) -> None:
    """window = "15min" cuts the same rows finer."""
    change_settings('timezone = "Europe/Berlin"', 'timezone = "Europe/Berlin"\nwindow = "15min"')
    write_rows(store, telemetry(VANS[:1], rows=96))
    pin_models(store, {"VAN-1": fitted(1)})
    record = run_window(store, "vans", "2026-11-21T1015")
    assert (record.counts, record.rows) == ({"scored": 1}, 1)


def test_results_keep_their_schema_when_nothing_is_scored(store: Store) -> None:
    """A window in which everybody is late has results of no rows and the same columns."""
    write_rows(store, telemetry(VANS[:1], start=MIDNIGHT + timedelta(days=3)))
    pin_models(store, {"VAN-1": fitted(1)})
    record = run(store)
    assert record.counts == {"late": 1}
    assert get_workload(store, "vans").result_schema.field("kwh").type == pa.float64()
