"""Training a fleet without code: a model per key from one table of the settings, each key by itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import Ridge

from fleetscore.cli.program import run_command
from fleetscore.errors import InputError, SettingsError
from fleetscore.models.model_sets import read_model_set
from fleetscore.models.pins import pin_version, read_pins
from fleetscore.operations.advice import advise, ways_to_models
from fleetscore.operations.attention.states import Mark, mark_of
from fleetscore.operations.champions.promotion import promote
from fleetscore.operations.due.trainings import submit_due_training
from fleetscore.operations.due.windows import submit_due
from fleetscore.pipeline.local import execute, run_training, run_window
from fleetscore.pipeline.profiles import read_training_profile
from fleetscore.pipeline.submit import submit_training
from fleetscore.records import RunRecord, RunRequest, RunState
from fleetscore.registry import find_workload, get_workload
from fleetscore.runs.index import line_of
from fleetscore.runs.ledgers import read_ledger
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.runs.status import judge
from fleetscore.store.base import Store
from tests.model_fleets.conftest import (
    FEATURES,
    MIDNIGHT,
    SETTINGS,
    fitted,
    pin_models,
    telemetry,
    write_rows,
)

VANS = ["VAN-1", "VAN-2", "VAN-3"]
SPAN = ("2026-11-21", "2026-11-24")
Change = Callable[[str, str], None]
RIDGE = '\n[train]\nestimator = "sklearn.linear_model.Ridge"\ntarget = "kwh_used"\n'


def with_target(frame: pd.DataFrame, noise: float = 0.01) -> pd.DataFrame:
    """The rows with what is to be learned: another line for each van."""
    random = np.random.default_rng(3)
    slope = frame["van_id"].map(
        {van: 0.001 * (at + 1) for at, van in enumerate(sorted(set(frame["van_id"])))}
    )
    frame["kwh_used"] = (
        slope * frame["speed"] + 0.0001 * frame["load_kg"] + random.normal(0, noise, len(frame))
    )
    return frame


@pytest.fixture
def trainable(store: Store) -> Store:
    """Three days of three vans, and settings that train a Ridge for each."""
    store.write("settings/vans.toml", store.read("settings/vans.toml") + RIDGE.encode())
    for day in range(3):
        write_rows(
            store,
            with_target(telemetry(VANS, start=MIDNIGHT + timedelta(days=day))),
            f"2026-11-2{1 + day}.parquet",
        )
    return store


def train(store: Store, pin: bool | None = None) -> RunRecord:
    """The record of a training on the span."""
    submission = submit_training(store, "vans", *SPAN, datetime.now(UTC), "test", pin=pin)
    return execute(store, submission.request)


def outcomes(store: Store, record: RunRecord) -> dict[str, tuple[str, str]]:
    """Outcome and cause of each key."""
    ledger = read_ledger(store, record.request.run).to_pylist()
    return {line["partition"]: (line["outcome"], line["cause"]) for line in ledger}


def test_each_van_gets_the_model_that_the_library_would_fit(trainable: Store) -> None:
    """The published predictions are those of scikit-learn fitted to all rows of the span; the card has the holdout's metrics."""
    record = train(trainable)
    assert record.state is RunState.PUBLISHED
    assert dict(record.counts) == {"scored": 3}
    assert record.facts["entered"] == "current"
    run_window(trainable, "vans", "2026-11-21")
    rows = read_results(trainable, read_manifest(trainable, "vans", "2026-11-21")).to_pandas()
    days = [
        pq.read_table(trainable.open(f"data/telemetry/2026-11-2{d}.parquet")).to_pandas() for d in (1, 2, 3)
    ]
    data = pd.concat(days).sort_values("recorded_at")
    for van in VANS:
        mine = data[data.van_id == van]
        model = Ridge(random_state=0).fit(mine[FEATURES].to_numpy(), mine.kwh_used)
        wanted = model.predict(days[0][days[0].van_id == van].sort_values("recorded_at")[FEATURES].to_numpy())
        found = rows[rows.van_id == van].sort_values("recorded_at")["kwh"]
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
    card = read_model_set(trainable, "vans", record.model_set).card
    metrics = {line["partition"]: line for line in card["metrics"]}
    assert metrics.keys() == set(VANS)
    assert metrics["VAN-1"]["holdout_rows"] == 12
    assert metrics["VAN-1"]["loss"] < 0.02 < metrics["VAN-3"]["loss_baseline"]


def test_one_bad_key_is_named_and_costs_no_other(trainable: Store) -> None:
    """A van of huge values, one without targets and one of few rows get an outcome each; the others are trained."""
    random = with_target(telemetry(["VAN-4", "VAN-5"], rows=60))
    random.loc[random.van_id == "VAN-4", "kwh_used"] = 1.7e308 * np.sign(random.speed - 30)
    random.loc[random.van_id == "VAN-5", "kwh_used"] = np.nan
    write_rows(trainable, random, "bad.parquet")
    write_rows(trainable, with_target(telemetry(["VAN-6"], rows=3)), "few.parquet")
    record = train(trainable, pin=True)
    found = outcomes(trainable, record)
    assert [found[van] for van in VANS] == [("scored", "")] * 3
    assert found["VAN-4"][0] == "failed"
    assert found["VAN-5"] == found["VAN-6"] == ("skipped", "too_few_rows")


def test_targets_are_read_as_the_estimator_learns(trainable: Store, change_settings: Change) -> None:
    """A regressor's target of text costs the rows that have no number; a classifier's numbers with fractions are no classes."""
    frame = with_target(telemetry(VANS, rows=60))
    texts = frame["kwh_used"].map(str).where(frame.van_id != "VAN-1", "n/a")
    texts[len(texts) - 1] = "much"
    write_rows(trainable, frame.assign(kwh_used=texts), "2026-11-21.parquet")
    for day in (2, 3):
        trainable.delete(f"data/telemetry/2026-11-2{day}.parquet")
    record = train(trainable)
    lines = {line["partition"]: line for line in read_ledger(trainable, record.request.run).to_pylist()}
    assert (lines["VAN-1"]["outcome"], lines["VAN-1"]["cause"]) == ("skipped", "too_few_rows")
    assert "None of 60 rows has a number in the target kwh_used." in lines["VAN-1"]["detail"]
    assert {lines[van]["outcome"] for van in VANS[1:]} == {"scored"}
    change_settings("sklearn.linear_model.Ridge", "sklearn.linear_model.LogisticRegression")
    write_rows(trainable, frame, "2026-11-21.parquet")
    record = train(trainable)
    assert set(outcomes(trainable, record).values()) == {("failed", "bad_target")}
    assert "numbers with fractions" in read_ledger(trainable, record.request.run)["detail"][0].as_py()


def test_rows_that_cannot_be_read_are_said_by_each_key_that_has_some(trainable: Store) -> None:
    """A file without the target whose keys can be counted costs its rows only; the keys that have rows in it say so."""
    write_rows(trainable, telemetry(["VAN-2"], rows=60), "torn.parquet")
    record = train(trainable, pin=True)
    lines = {line["partition"]: line for line in read_ledger(trainable, record.request.run).to_pylist()}
    assert {van: lines[van]["outcome"] for van in VANS} == dict.fromkeys(VANS, "scored")
    assert (lines["VAN-1"]["cause"], lines["VAN-3"]["cause"]) == ("", "")
    assert lines["VAN-2"]["cause"] == "missing_column"
    assert lines["VAN-2"]["detail"].startswith("Trained without its 60 rows in data/telemetry/torn.parquet: ")


def test_a_key_that_is_not_trained_keeps_its_model(trainable: Store) -> None:
    """A van that is silent in the span is named, and the new set still has its former model."""
    pin_models(trainable, {van: fitted(at) for at, van in enumerate([*VANS, "VAN-9"])})
    before = read_pins(trainable, "vans").current
    record = train(trainable, pin=True)
    assert outcomes(trainable, record)["VAN-9"] == ("skipped", "no_rows")
    card = read_model_set(trainable, "vans", record.model_set).card
    assert (card["models"], card["trained"], card["kept"], card["kept_of"]) == (4, 3, 1, before)


@pytest.mark.parametrize(
    ("enters", "noise", "current", "challenger"),
    [("challenger", 0.01, False, True), ("pinned", 0.01, True, False), ("if better", 0.01, True, False)],
)
def test_a_new_set_enters_as_the_settings_say(
    trainable: Store, change_settings: Change, enters: str, noise: float, current: bool, challenger: bool
) -> None:
    """With a set in use the new one is a challenger, pinned, or pinned because its holdout was predicted better."""
    change_settings('target = "kwh_used"', f'target = "kwh_used"\nenters = "{enters}"')
    pin_models(trainable, {van: fitted(at + 40) for at, van in enumerate(VANS)})
    record = train(trainable)
    pins = read_pins(trainable, "vans")
    assert (pins.current == record.model_set) is current
    assert (pins.challenger == record.model_set) is challenger


def test_a_set_that_is_no_better_is_stored_only(trainable: Store, change_settings: Change) -> None:
    """Trained again on the same rows it cannot be better: with "if better" the pin stays, and the run says so."""
    first = train(trainable)
    change_settings('target = "kwh_used"', 'target = "kwh_used"\nenters = "if better"')
    again = train(trainable)
    assert read_pins(trainable, "vans").current == first.model_set
    assert again.facts["entered"] == "stored"
    assert any("was trained on this span already" in remark for remark in again.remarks)


@pytest.mark.parametrize(("only", "current"), [("new", True), ("all", False)])
def test_a_new_key_enters_although_there_is_nothing_to_be_better_than(
    trainable: Store, change_settings: Change, only: str, current: bool
) -> None:
    """With "if better" a set that only adds models of new keys is pinned; one that also replaces models has to be better."""
    change_settings('target = "kwh_used"', f'target = "kwh_used"\nonly = "{only}"\nenters = "if better"')
    first = train(trainable)
    newcomer = with_target(telemetry(["VAN-4"], rows=60, start=MIDNIGHT))
    write_rows(trainable, newcomer, "newcomer.parquet")
    record = train(trainable)
    assert (read_pins(trainable, "vans").current == record.model_set) is current
    card = read_model_set(trainable, "vans", record.model_set).card
    assert (card["trained"], card["kept_of"]) == ((1, first.model_set) if only == "new" else (4, ""))


def test_a_new_key_that_a_shared_model_scored_has_to_be_judged(
    trainable: Store, change_settings: Change
) -> None:
    """Where the model of all scored a new van so far, "if better" does not pin its own model unseen."""
    change_settings("[models]", '[models]\nkey = ["{van_id}", ""]')
    change_settings('target = "kwh_used"', 'target = "kwh_used"\nonly = "new"\nenters = "if better"')
    pin_models(trainable, {van: fitted(at) for at, van in enumerate(["VAN-1", ""])})
    before = read_pins(trainable, "vans").current
    assert train(trainable).facts["entered"] == "stored"
    assert read_pins(trainable, "vans").current == before


@pytest.mark.parametrize(("only", "trained"), [("new", ["VAN-3"]), ("all", VANS)])
def test_only_new_keys_are_trained_where_the_settings_say_so(
    trainable: Store, change_settings: Change, only: str, trained: list[str]
) -> None:
    """only = "new" leaves keys with a model alone; they are named as not chosen and keep it."""
    change_settings('target = "kwh_used"', f'target = "kwh_used"\nonly = "{only}"')
    pin_models(trainable, {van: fitted(at) for at, van in enumerate(VANS[:2])})
    found = outcomes(trainable, train(trainable, pin=True))
    assert [van for van, (outcome, _) in found.items() if outcome == "scored"] == trained


def test_only_drifted_keys_are_trained_where_the_settings_say_so(
    trainable: Store, change_settings: Change
) -> None:
    """only = "drifted" takes the vans whose input left what their models were trained on, in the newest published window."""
    train(trainable)
    frame = with_target(telemetry(VANS, start=MIDNIGHT + timedelta(days=3)))
    frame.loc[frame.van_id == "VAN-2", "speed"] += 5000
    write_rows(trainable, frame, "2026-11-24.parquet")
    run_window(trainable, "vans", "2026-11-24")
    change_settings('target = "kwh_used"', 'target = "kwh_used"\nonly = "drifted"')
    found = outcomes(trainable, train(trainable))
    assert [van for van, (outcome, _) in found.items() if outcome == "scored"] == ["VAN-2"]


@pytest.mark.parametrize(
    ("key", "models"),
    [('"{depot}"', ["depot-0", "depot-1"]), ('""', [""]), ('["{van_id}", "{depot}"]', VANS)],
)
def test_models_of_depots_and_one_of_all_are_trained(
    trainable: Store, change_settings: Change, key: str, models: list[str]
) -> None:
    """The first pattern of the key says what gets a model; the set scores the vans with it."""
    change_settings("[models]", f"[models]\nkey = {key}")
    train(trainable)
    record = run_window(trainable, "vans", "2026-11-21")
    assert dict(record.counts) == {"scored": 3}
    rows = read_results(trainable, read_manifest(trainable, "vans", "2026-11-21"))
    assert sorted(set(rows["model_key"].to_pylist())) == sorted(models)


@pytest.mark.parametrize(
    ("estimator", "params"),
    [
        ('"sklearn.ensemble.HistGradientBoostingRegressor"', "{ max_iter = 10 }"),
        ('"lightgbm.LGBMRegressor"', "{ n_estimators = 5 }"),
        ('["sklearn.preprocessing.StandardScaler", "sklearn.linear_model.Ridge"]', "{ alpha = 2.0 }"),
        ('"sklearn.ensemble.RandomForestRegressor"', "{ n_estimators = 5 }"),
    ],
)
def test_estimators_are_named_by_their_path(
    trainable: Store,
    change_settings: Change,
    estimator: str,
    params: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """scikit-learn's and LightGBM's estimators train, pipelines too, with their parameters and without words of the library."""
    change_settings('"sklearn.linear_model.Ridge"', f"{estimator}\nparams = {params}")
    assert dict(train(trainable).counts) == {"scored": 3}
    assert "LightGBM" not in capfd.readouterr().out
    assert dict(run_window(trainable, "vans", "2026-11-21").counts) == {"scored": 3}


def test_classes_are_learned_by_their_names(trainable: Store, change_settings: Change) -> None:
    """A classifier learns texts; its loss is the share of wrong classes, and its results are the classes."""
    change_settings('"sklearn.linear_model.Ridge"', '"sklearn.tree.DecisionTreeClassifier"')
    change_settings('output = "kwh"', 'output = "kwh"\noutput_type = "text"')
    for day in range(3):
        frame = telemetry(VANS, start=MIDNIGHT + timedelta(days=day))
        frame["kwh_used"] = np.where(frame.speed > 45, "high", "low")
        write_rows(trainable, frame, f"2026-11-2{1 + day}.parquet")
    record = train(trainable)
    assert dict(record.counts) == {"scored": 3}
    run_window(trainable, "vans", "2026-11-21")
    rows = read_results(trainable, read_manifest(trainable, "vans", "2026-11-21"))
    assert set(rows["kwh"].to_pylist()) == {"high", "low"}


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ("sklearn.linear_model.Ridge", "my.package.Model", "import the models"),
        ("sklearn.linear_model.Ridge", "os.system", "import path"),
        ('target = "kwh_used"', 'target = ""', "estimator and target"),
        ('target = "kwh_used"', 'target = "kwh_used"\nholdout = "first 20%"', "holdout"),
        ('target = "kwh_used"', 'target = "kwh_used"\nschedule = "daily"', "schedule"),
        ('target = "kwh_used"', 'target = "kwh_used"\nenters = "always"', "enters"),
        ('target = "kwh_used"', 'target = "kwh_used"\nrowsmin = 3', "rowsmin"),
    ],
)
def test_a_line_of_train_that_cannot_be_is_refused_by_name(
    trainable: Store, change_settings: Change, before: str, after: str, named: str
) -> None:
    """Import paths of other code, and mistyped lines and values, are settings errors with what is expected."""
    change_settings(before, after)
    with pytest.raises(SettingsError, match=named):
        get_workload(trainable, "vans")


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        (
            "sklearn.linear_model.Ridge",
            "sklearn.linear_model.Rigde",
            r"settings/vans.toml, line \d+: There is no estimator 'sklearn.linear_model.Rigde'",
        ),
        ("sklearn.linear_model.Ridge", "sklearn.ensemble.StackingRegressor", "takes another estimator"),
        ("sklearn.linear_model.Ridge", "sklearn.cluster.KMeans", "learns no target"),
        (
            '"sklearn.linear_model.Ridge"',
            '["sklearn.linear_model.Lasso", "sklearn.linear_model.Ridge"]',
            "sklearn.linear_model.Lasso does not transform",
        ),
        ('target = "kwh_used"', 'target = "kwh_used"\nparams = { alhpa = 1 }', "Did you mean alpha"),
        (RIDGE, "", r"has no \[train\]"),
    ],
)
def test_an_estimator_or_parameter_that_there_is_not_refuses_the_training(
    trainable: Store, change_settings: Change, before: str, after: str, named: str
) -> None:
    """It is refused when it is asked for, by name, and no run is recorded."""
    change_settings(before, after)
    with pytest.raises(InputError, match=named):
        train(trainable)
    assert not list(trainable.list("runs/"))


def test_a_target_that_no_file_has_fails_every_key_with_its_name(
    trainable: Store, change_settings: Change
) -> None:
    """Nothing is stored; the ledger names the column and what the file has."""
    change_settings('target = "kwh_used"', 'target = "kwh_burnt"')
    record = train(trainable)
    assert record.state is RunState.UNPUBLISHED
    assert all(outcome == "failed" for outcome, _ in outcomes(trainable, record).values())
    assert "kwh_burnt" in read_ledger(trainable, record.request.run)["detail"][0].as_py()


def test_the_profile_of_training_is_what_drift_is_measured_against(trainable: Store) -> None:
    """The set has a profile by partition, so that the first window already tells drift."""
    record = train(trainable)
    profile = read_training_profile(trainable, get_workload(trainable, "vans"), record.model_set)
    assert profile is not None
    assert {line["partition"]: line["n"] for line in profile.to_pylist()} == dict.fromkeys(VANS, 60.0)


def test_training_again_pins_nothing_by_itself(trainable: Store) -> None:
    """--no-pin stores only; a version that was pinned by hand stays pinned."""
    first = run_training(trainable, "vans", *SPAN)
    second = train(trainable, pin=False)
    assert read_pins(trainable, "vans").current == first.model_set
    assert second.facts["entered"] == "stored"
    pin_version(trainable, "vans", second.model_set)
    assert read_pins(trainable, "vans").current == second.model_set


def test_a_scheduled_training_is_due_once_a_tick(trainable: Store, change_settings: Change) -> None:
    """After its tick the training of the days before is requested, once; a tick missed for a day heals, an older one does not."""
    change_settings('target = "kwh_used"', 'target = "kwh_used"\nschedule = "0 0 2 * * 1"\ndays = 3')
    monday = datetime(2026, 11, 23, 1, 30, tzinfo=UTC)  # 02:30 in Berlin
    known = find_workload(trainable, "vans")
    assert submit_due_training(trainable, known, monday - timedelta(hours=1)) == []
    due = [one for one in submit_due(trainable, monday) if one.request.purpose == "train"]
    assert [(one.request.window, one.request.stop, one.fresh) for one in due] == [
        ("2026-11-20", "2026-11-23", True)
    ]
    assert due[0].request.enters == "challenger"
    again = submit_due_training(trainable, known, monday + timedelta(minutes=1))
    assert [(one.request.run, one.fresh) for one in again] == [(due[0].request.run, False)]
    execute(trainable, due[0].request)
    assert submit_due_training(trainable, known, monday + timedelta(hours=2)) == []
    assert submit_due_training(trainable, known, monday + timedelta(days=3)) == []


def test_a_training_of_new_keys_without_any_is_no_failure(trainable: Store, change_settings: Change) -> None:
    """The models stay, nothing is wrong, and no notice is due: each tick of a fleet without new vans would send one."""
    first = run_training(trainable, "vans", *SPAN)
    change_settings('target = "kwh_used"', 'target = "kwh_used"\nonly = "new"')
    second = train(trainable)
    assert (
        second.error
        == f"No key was to be trained: the settings leave out all {len(VANS)}, and their models stay."
    )
    assert judge(second) == "good"
    assert mark_of(line_of(second)) is Mark.IDLE
    assert read_pins(trainable, "vans").current == first.model_set


@pytest.mark.slow
def test_the_command_trains_on_the_local_host(trainable: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """`fleetscore train vans` goes through the app and says what the set is now."""
    assert run_command(["train", "vans", "--from", SPAN[0], "--to", SPAN[1], "--store", trainable.url]) == 0
    assert "(current)" in capsys.readouterr().out


def test_training_is_advised_only_where_the_settings_say_how(store: Store, trainable: Store) -> None:
    """A fleet without [train] is told to import models, by the doctor, by `promote` and about a partition; one with it to train as well."""
    assert ways_to_models(trainable, "vans") == (
        "fleetscore train vans --from A --to B or fleetscore import-models vans --from FOLDER"
    )
    assert ways_to_models(trainable, "nobody") == ""
    store.write("settings/plain.toml", SETTINGS.encode())
    assert ways_to_models(store, "plain") == "fleetscore import-models plain --from FOLDER"
    with pytest.raises(InputError) as refused:
        promote(store, "plain", "", "t", "")
    assert refused.value.fix == "Make one: fleetscore import-models plain --from FOLDER"
    request = RunRequest("r", "plain", "2026-11-21", 1, datetime.now(UTC), "t")
    ended = RunRecord(request, RunState.PUBLISHED, datetime.now(UTC))
    said = advise(ended, "van-1", "skipped", "no_model", ways_to_models(store, "plain"))
    assert "fleetscore import-models plain" in said and "train" not in said
