"""Fleets whose models take different features: what one model wants costs no other's partition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from fleetscore.errors import InputError
from fleetscore.pipeline.local import run_window
from fleetscore.pipeline.score_rows import answer_rows
from fleetscore.runs.ledgers import read_ledger
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.store.base import Store
from tests.model_fleets.conftest import fitted, pin_models, telemetry, write_rows

WINDOW = "2026-11-21"
TOLERANT = b"\n[run]\nerror_threshold = 0.9\n"


def heavy() -> Any:
    """A model that takes the speed and a tyre pressure."""
    random = np.random.default_rng(2)
    x = pd.DataFrame({"speed": random.gamma(4, 12, 50), "tyre_bar": random.normal(3, 0.2, 50)})
    return Ridge().fit(x, x.speed + x.tyre_bar)


def outcomes(store: Store) -> dict[str, tuple[str, str, str]]:
    """Partition -> outcome, cause, detail of a run of the window."""
    record = run_window(store, "vans", WINDOW)
    rows = read_ledger(store, record.request.run).to_pylist()
    return {row["partition"]: (row["outcome"], row["cause"], row["detail"]) for row in rows}


@pytest.fixture
def fleet(store: Store) -> Store:
    """Two vans; the models themselves name their features, which differ."""
    text = store.read("settings/vans.toml").replace(b'features = ["speed", "load_kg"]\n', b"") + TOLERANT
    store.write("settings/vans.toml", text)
    pin_models(store, {"VAN-1": fitted(1), "VAN-2": heavy()})
    return store


def test_a_column_that_one_model_takes_and_no_file_has_fails_that_partition_only(fleet: Store) -> None:
    """The others are scored as if nobody took it; the ledger names model, feature and file."""
    frame = telemetry(["VAN-1", "VAN-2"])
    write_rows(fleet, frame)
    told = outcomes(fleet)
    assert told["VAN-1"][0] == "scored"
    assert told["VAN-2"][:2] == ("failed", "feature_mismatch")
    for named in ("'VAN-2'", "lacks tyre_bar", f"data/telemetry/{WINDOW}.parquet"):
        assert named in told["VAN-2"][2]
    found = read_results(fleet, read_manifest(fleet, "vans", WINDOW)).to_pandas().sort_values("recorded_at")
    expected = fitted(1).predict(frame[frame.van_id == "VAN-1"][["speed", "load_kg"]])
    np.testing.assert_allclose(found.kwh, expected, rtol=1e-12)


@pytest.mark.parametrize("missing", ["reject", "drop"])
def test_a_gap_in_a_feature_that_a_model_does_not_take_is_no_gap(fleet: Store, missing: str) -> None:
    """A van is scored although the sensor of another kind of van has no number in its rows."""
    text = fleet.read("settings/vans.toml") + f'[expect]\nmissing = "{missing}"\n'.encode()
    fleet.write("settings/vans.toml", text)
    frame = telemetry(["VAN-1", "VAN-2"]).assign(tyre_bar=3.0)
    frame.loc[frame.van_id == "VAN-1", "tyre_bar"] = np.nan
    frame.loc[frame.van_id == "VAN-2", "load_kg"] = np.nan
    frame.loc[frame.index[-1], "tyre_bar"] = np.nan  # one that the model of VAN-2 does take
    write_rows(fleet, frame)
    told = outcomes(fleet)
    assert told["VAN-1"][0] == "scored"
    assert told["VAN-2"][0] == ("failed" if missing == "reject" else "scored")
    assert ("tyre_bar has no number in 1 of 20 rows" in told["VAN-2"][2]) == (missing == "reject")
    rows = read_results(fleet, read_manifest(fleet, "vans", WINDOW)).to_pandas().groupby("van_id").size()
    assert rows.to_dict() == {"VAN-1": 20} | ({} if missing == "reject" else {"VAN-2": 19})


def test_a_row_needs_the_features_of_its_own_model(fleet: Store) -> None:
    """A mini-batch of both kinds of vans is answered without the features that a row's model does not take."""
    light = {"van_id": "VAN-1", "depot": "north", "speed": 50, "load_kg": 300}
    rows = [light, {"van_id": "VAN-2", "depot": "north", "speed": 50, "tyre_bar": 3}]
    answers = answer_rows(fleet, "vans", rows)["answers"]
    frame = pd.DataFrame({"speed": [50.0], "tyre_bar": [3.0]})
    assert answers[1]["kwh"] == pytest.approx(float(heavy().predict(frame)[0]), rel=1e-12)
    with pytest.raises(InputError, match="Row 1 lacks tyre_bar"):
        answer_rows(fleet, "vans", [light, {**light, "van_id": "VAN-2"}])


@pytest.mark.parametrize("missing", ['"reject"', '"pass"', '"drop"', "1.5"])
def test_a_column_that_one_file_lacks_fails_only_who_takes_it_from_there(fleet: Store, missing: str) -> None:
    """Vans of a file without the tyre pressure are scored where their models do not take it; the others' detail names file
    and column, and no policy makes up the column of a whole file.
    """
    fleet.write(
        "settings/vans.toml", fleet.read("settings/vans.toml") + f"[expect]\nmissing = {missing}\n".encode()
    )
    pin_models(fleet, {"VAN-1": fitted(1), "VAN-2": heavy(), "VAN-3": heavy(), "VAN-4": fitted(4)})
    write_rows(fleet, telemetry(["VAN-1", "VAN-2"]), "old.parquet")
    write_rows(fleet, telemetry(["VAN-3", "VAN-4"]).assign(tyre_bar=3.0), "new.parquet")
    told = outcomes(fleet)
    assert {key: told[key][0] for key in ("VAN-1", "VAN-3", "VAN-4")} == dict.fromkeys(
        ("VAN-1", "VAN-3", "VAN-4"), "scored"
    )
    assert told["VAN-2"][:2] == ("failed", "missing_feature" if missing == '"drop"' else "missing_column")
    if missing != '"drop"':
        assert "data/telemetry/old.parquet lacks tyre_bar" in told["VAN-2"][2]
    found = read_results(fleet, read_manifest(fleet, "vans", WINDOW)).to_pandas()
    assert found.groupby("van_id").size().to_dict() == {"VAN-1": 20, "VAN-3": 20, "VAN-4": 20}
    frame = telemetry(["VAN-3", "VAN-4"])[:20].assign(tyre_bar=3.0)[["speed", "tyre_bar"]]
    np.testing.assert_allclose(found[found.van_id == "VAN-3"].kwh, heavy().predict(frame), rtol=1e-12)


def test_numbers_that_were_filled_in_are_counted(fleet: Store) -> None:
    """The detail of a partition says how many of the numbers that its own model takes were filled in; of one with none
    nothing.
    """
    fleet.write("settings/vans.toml", fleet.read("settings/vans.toml") + b"[expect]\nmissing = 1.5\n")
    pin_models(fleet, {"VAN-1": fitted(1), "VAN-2": heavy(), "VAN-3": fitted(3)})
    frame = telemetry(["VAN-1", "VAN-2", "VAN-3"]).assign(tyre_bar=3.0)
    frame.loc[:2, ["speed", "load_kg", "tyre_bar"]] = np.nan  # of VAN-1, whose model takes no tyre pressure
    frame.loc[20:23, ["load_kg", "tyre_bar"]] = np.nan  # of VAN-2, whose model takes no load
    write_rows(fleet, frame)
    told = outcomes(fleet)
    assert {one[0] for one in told.values()} == {"scored"}
    assert told["VAN-1"][2] == "6 missing numbers were filled with 1.5."
    assert told["VAN-2"][2] == "4 missing numbers were filled with 1.5."
    assert told["VAN-3"][2] == ""


def test_files_that_lack_different_columns_are_read_beside_each_other(fleet: Store) -> None:
    """Each van's own file has what its own model takes, and no file has all."""
    write_rows(fleet, telemetry(["VAN-1"]), "light.parquet")
    write_rows(fleet, telemetry(["VAN-2"]).assign(tyre_bar=3.0).drop(columns="load_kg"), "heavy.parquet")
    told = outcomes(fleet)
    assert {key: one[0] for key, one in told.items()} == {"VAN-1": "scored", "VAN-2": "scored"}
