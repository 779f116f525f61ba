"""check: what of a fleet's settings, data and models does not fit together, by name and before any run."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from fleetscore.cli.program import run_command
from fleetscore.fleet.store_fleet import Fleet
from fleetscore.models.fit_record import FitCheck
from fleetscore.store.base import Store
from tests.model_fleets.conftest import SETTINGS, fitted, pin_models, telemetry, write_rows

pytestmark = pytest.mark.usefixtures("shared_import_process")
VANS = ["VAN-1", "VAN-2", "VAN-3"]
Change = Callable[[str, str], None]


def check(store: Store) -> FitCheck:
    """The check of the vans."""
    return Fleet(store.url).check("vans")


def causes(found: FitCheck) -> dict[str, str]:
    """The detail of each misfit by its cause."""
    return {one.cause: one.detail for one in found.misfits}


def test_a_fleet_that_fits_is_said_to_fit(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """All models answer, nothing is written to the store, and the exit code is 0."""
    pin_models(store, {van: fitted(at) for at, van in enumerate(VANS)})
    write_rows(store, telemetry(VANS))
    before = {entry.path: entry.etag for entry in store.list("")}
    assert run_command(["check", "vans", "--store", store.url]) == 0
    out = capsys.readouterr().out
    assert "Everything fits." in out
    assert "kwh from" in out
    assert {entry.path: entry.etag for entry in store.list("")} == before


def test_keys_without_a_model_and_models_without_data_are_named(store: Store) -> None:
    """Each side that the other lacks is named with its key, as a warning, and the exit code is 10."""
    pin_models(store, {van: fitted(at) for at, van in enumerate(["VAN-1", "VAN-9"])})
    write_rows(store, telemetry(VANS))
    found = check(store)
    assert "'VAN-2', 'VAN-3'" in causes(found)["no_model"]
    assert "'VAN-9'" in causes(found)["no_data"]
    assert found.scored == 1
    assert run_command(["check", "vans", "--store", store.url]) == 10


def test_a_feature_that_a_file_lacks_is_named_with_what_the_file_has(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file, the feature and the file's own columns stand in the message; nothing can be scored, so the exit code is 20."""
    pin_models(store, {"VAN-1": fitted(1)})
    write_rows(store, telemetry(["VAN-1"]).rename(columns={"speed": "velocity"}))
    assert run_command(["check", "vans", "--store", store.url, "--json"]) == 20
    told = json.loads(capsys.readouterr().out)["misfits"]
    missing = next(one for one in told if one["cause"] == "missing_column")
    assert missing["subject"] == "data/telemetry/2026-11-21.parquet"
    assert "'speed'" in missing["detail"]
    assert "velocity" in missing["detail"]


def test_cells_of_another_type_and_features_without_numbers_are_named(store: Store) -> None:
    """Text where numbers are expected is shown; a feature without any number is named."""
    frame = telemetry(["VAN-1"])
    frame["speed"] = ["fast"] * len(frame)
    frame["load_kg"] = np.nan
    pin_models(store, {"VAN-1": fitted(1)})
    write_rows(store, frame)
    told = causes(check(store))
    assert "20 cells of speed are no numbers, such as 'fast'" in told["bad_number"]
    assert [one.subject for one in check(store).misfits if one.cause == "all_missing"] == ["load_kg", "speed"]


def test_some_missing_numbers_are_told_with_the_line_that_lets_them_pass(store: Store) -> None:
    """With missing = reject, rows without a feature are counted, since their partitions fail."""
    frame = telemetry(["VAN-1"])
    frame.loc[3, "speed"] = np.nan
    pin_models(store, {"VAN-1": fitted(1)})
    write_rows(store, frame)
    found = check(store)
    assert "speed has no number in 1 of 20 rows" in causes(found)["missing_feature"]
    assert found.scored == 1


@pytest.mark.parametrize(
    ("features", "cause", "named"),
    [
        ('["load_kg", "speed"]', "feature_order", "speed, load_kg"),
        ('["speed"]', "feature_mismatch", "load_kg"),
        ('["speed", "load_kg", "depot_temp"]', "missing_column", "depot_temp"),
    ],
)
def test_a_signature_that_wants_other_columns_or_another_order_is_named(
    store: Store, change_settings: Change, features: str, cause: str, named: str
) -> None:
    """The model's own signature is compared with the features of the settings."""
    change_settings('features = ["speed", "load_kg"]', f"features = {features}")
    pin_models(store, {"VAN-1": fitted(1)})
    write_rows(store, telemetry(["VAN-1"]))
    assert named in causes(check(store))[cause]


def test_models_without_names_take_as_many_features_as_the_settings_name(
    store: Store, change_settings: Change
) -> None:
    """A model that was fitted on arrays has no names; too few features are named as a mismatch."""
    frame = telemetry(["VAN-1"])
    pin_models(store, {"VAN-1": fitted(1).fit(frame[["speed", "load_kg"]].to_numpy(), frame.speed)})
    write_rows(store, frame)
    assert check(store).fits
    change_settings('features = ["speed", "load_kg"]', 'features = ["speed"]')
    assert "takes 2 features without names, and 1 are named" in causes(check(store))["feature_mismatch"]


def test_outputs_of_another_number_than_the_settings_name_are_a_misfit(
    store: Store, change_settings: Change
) -> None:
    """predict_proba of two classes does not fit one output."""
    change_settings('output = "kwh"', 'output = "kwh"\nmethod = "predict_proba"')
    pin_models(store, {"VAN-1": fitted(1, classes=True)})
    write_rows(store, telemetry(["VAN-1"]))
    assert "predict_proba gives 2 columns; output names 1" in causes(check(store))["output_mismatch"]


def test_files_that_cannot_be_read_are_named_and_cost_no_other(store: Store) -> None:
    """A file cut short and one of an unknown format are named; the rows of the good one are tried."""
    pin_models(store, {"VAN-1": fitted(1)})
    write_rows(store, telemetry(["VAN-1"]))
    data = store.read("data/telemetry/2026-11-21.parquet")
    store.write("data/telemetry/2026-11-22.parquet", data[: len(data) // 2])
    store.write("data/telemetry/2026-11-23.csv", b"van_id\n")
    found = check(store)
    subjects = {one.subject for one in found.misfits}
    assert {"data/telemetry/2026-11-22.parquet", "data/telemetry/2026-11-23.csv"} <= subjects
    assert found.scored == 1


def test_models_that_are_not_imported_yet_can_be_checked(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--from tries a folder; a pickle is refused by name without --trust-pickles, and nothing is stored."""
    folder = tmp_path / "models"
    folder.mkdir()
    for van in VANS[:2]:
        (folder / f"{van}.pkl").write_bytes(pickle.dumps(fitted(1)))
    (folder / "VAN-3.pkl").write_bytes(b"\x80\x04no model")
    write_rows(store, telemetry(VANS))
    words = ["check", "vans", "--store", store.url, "--from", str(folder)]
    assert run_command(words) == 2
    assert "--trust-pickles" in capsys.readouterr().err
    assert run_command([*words, "--trust-pickles", "--json"]) == 10
    found = json.loads(capsys.readouterr().out)
    assert found["scored"] == 2
    assert "VAN-3.pkl" in {one["subject"] for one in found["misfits"]}
    assert not list(store.list("models/"))


def test_a_mistyped_setting_and_a_missing_set_say_what_to_do(
    store: Store, change_settings: Change, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without models the data is checked all the same; settings that cannot be read end with exit code 2 and the line."""
    write_rows(store, telemetry(VANS))
    assert causes(check(store))["no_model_set"].startswith("vans has no pinned model set")
    change_settings("features", "featurs")
    assert run_command(["check", "vans", "--store", store.url]) == 2
    assert "featurs" in capsys.readouterr().err


def test_each_model_is_tried_on_its_own_first_hundred_rows(store: Store) -> None:
    """A model with many rows is tried on 100 of them, and one in an older file is found there."""
    pin_models(store, {van: fitted(at) for at, van in enumerate(VANS)})
    write_rows(store, telemetry(VANS[:1], rows=5), "2026-11-20.parquet")
    write_rows(store, pd.concat([telemetry([van], rows=300) for van in VANS[1:]]))
    found = check(store)
    assert (found.files_read, found.rows, found.scored) == (2, 605, 3)
    assert found.results["kwh"][0] < found.results["kwh"][1]


def test_an_estimator_that_there_is_not_is_named_with_its_line(store: Store) -> None:
    """[train] is looked at too, before a training asks for it."""
    store.write(
        "settings/vans.toml", SETTINGS.encode() + b'[train]\ntarget = "kwh"\nestimator = "sklearn.svm.SRV"\n'
    )
    pin_models(store, {"VAN-1": fitted(1)})
    write_rows(store, telemetry(["VAN-1"]))
    line = SETTINGS.count("\n") + 3
    told = causes(check(store))["bad_input"]
    assert told.startswith(f"settings/vans.toml, line {line}: There is no estimator 'sklearn.svm.SRV'")


def test_rows_with_gaps_are_tried_by_models_that_take_them_and_counted_elsewhere(store: Store) -> None:
    """A model that fills gaps answers such rows, another's are left out; both are said, with how many."""
    frame = telemetry(["VAN-1", "VAN-2"])
    frame.loc[[3, 4, 23], "speed"] = np.nan
    filling = make_pipeline(SimpleImputer(), Ridge()).fit(frame[["speed", "load_kg"]], frame.load_kg)
    pin_models(store, {"VAN-1": fitted(1), "VAN-2": filling})
    write_rows(store, frame)
    found = check(store)
    told = causes(found)
    assert told["rows_not_tried"].startswith("2 of 40 sample rows were not tried")
    assert told["gaps_tried"].startswith("1 of 40 sample rows have a gap")
    assert found.scored == 2


@pytest.mark.parametrize(
    ("lines", "cause", "told"),
    [
        ('[train]\nestimator = "sklearn.linear_model.Ridge"\ntarget = "khw"\n', "missing_column", "train.target is 'khw'"),
        ('[train]\nestimator = "sklearn.linear_model.Ridge"\ntarget = "speed"\n', "bad_input", "speed is target and feature"),
        ('[train]\nestimator = "sklearn.linear_model.Ridge"\ntarget = "load_kg"\nparams = { alpha = "x" }\n',
         "bad_input", "refuses its parameters: The 'alpha' parameter"),
        ('[judge]\nactual = "khw"\n', "missing_column", "judge.actual is 'khw'"),
    ],
)  # fmt: skip
def test_what_training_and_judging_lack_is_named_before_they_are_asked_for(
    store: Store, lines: str, cause: str, told: str
) -> None:
    """A target or actual that no file has, a target among the features and a parameter's value that the library refuses
    are misfits with the line.
    """
    store.write("settings/vans.toml", (SETTINGS + lines).encode())
    pin_models(store, {"VAN-1": fitted(1)})
    write_rows(store, telemetry(["VAN-1"]))
    details = [one.detail for one in check(store).misfits if one.cause == cause]
    assert any(told in each and "settings/vans.toml, line" in each for each in details), details


def test_a_column_of_the_path_that_nothing_reads_is_noted(store: Store, change_settings: Change) -> None:
    """A misspelt name matches as a wildcard does, so it is said with its line; one that is used is not."""
    change_settings('path = "data/telemetry/*.parquet"', 'path = "data/{folder}/{nope}.parquet"')
    change_settings('keep = ["recorded_at", "depot"]', 'keep = ["recorded_at", "folder"]')
    pin_models(store, {"VAN-1": fitted(1)})
    write_rows(store, telemetry(["VAN-1"]))
    noted = [(one.severity, one.subject, one.detail) for one in check(store).misfits]
    said = "settings/vans.toml, line 6: path names the column {nope}, and nothing reads it."
    assert noted == [("note", "nope", said)]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ('timezone = "Europe/Berlin"\n', 'timezone = "Europe/Berlin"\nschedule = "0 30 25 * * *"\n', "'25' is no hour"),
        ("[models]", '[notify]\n[[notify.targets]]\nurl_env = "NOT_SO"\n[models]', "line 12 [notify]: url_env"),
        ("[models]", "[run]\nerror_threshold = 5\n[models]", "error_threshold is 5"),
        ('output = "kwh"', 'output = "van_id"', "models.output has ['van_id'], which the results have already"),
        ('output = "kwh"', "output = []", "it must be a name, or different names"),
        ("[models]", '[models]\nkey = "van_id"', "a column stands in braces: {van_id}"),
        ("[models]", "[expect]\nmissing = nan\n[models]", "must be finite"),
        ("[models]", '[train]\nonly = "drift"\n[models]', "it must be one of all, drifted, new"),
        ('partition = ["van_id"]', 'partition = ["van_id"]\nwindow = "days"', "one of 15min, hour, day, week, month - at"),
    ],
)  # fmt: skip
def test_check_refuses_settings_that_doctor_would_call_broken(
    store: Store,
    change_settings: Change,
    capsys: pytest.CaptureFixture[str],
    before: str,
    after: str,
    told: str,
) -> None:
    """A line of any table that cannot be used ends the check with exit code 2 and says what was expected."""
    change_settings(before, after)
    assert run_command(["check", "vans", "--store", store.url]) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert told in shown
    assert "settings/vans.toml, line" in shown


def test_settings_that_begin_with_a_byte_order_mark_are_read(store: Store) -> None:
    """Editors on Windows write one; the file is read as without it."""
    store.write("settings/vans.toml", b"\xef\xbb\xbf" + SETTINGS.encode())
    pin_models(store, {"VAN-1": fitted(1)})
    write_rows(store, telemetry(["VAN-1"]))
    assert check(store).scored == 1


def test_cells_without_an_example_are_counted(store: Store) -> None:
    """Rows without a key use the examples of a file up; the infinite cell behind them is told all the same."""
    frame = telemetry(["VAN-1"], rows=40)
    frame.loc[20:, "van_id"] = None
    frame.loc[3, "speed"] = np.inf
    pin_models(store, {"VAN-1": fitted(1)})
    write_rows(store, frame)
    told = causes(check(store))
    assert told["missing_key"].startswith("20 rows have no van_id")
    assert told["bad_number"].startswith("1 cells")
    assert "cells of  are" not in told["bad_number"]
