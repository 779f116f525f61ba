"""A forecaster of the user's own: imported from ONNX, tried, scored as the challenger, and judged beside the champion."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from skl2onnx import to_onnx
from sklearn.linear_model import LinearRegression

from fleetscore.errors import FleetscoreError, InputError, ModelError
from fleetscore.fleet.store_fleet import Fleet
from fleetscore.models.model_sets import read_model_set
from fleetscore.models.pins import pin_challenger, read_pins
from fleetscore.operations.champions.verdicts import judge_challenger
from fleetscore.pipeline.local import run_window
from fleetscore.runs.ledgers import read_ledger
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.store.local import LocalStore
from fleetscore.workloads.store_sales.backtest import load_history
from fleetscore.workloads.store_sales.contract import QUANTILE_NAMES, StoreSalesSettings
from fleetscore.workloads.store_sales.features import feature_names
from fleetscore.workloads.store_sales.own_forecaster import training_table
from tests.store_sales.test_store_sales_runs import score, task_of

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("shared_import_process")]
WINDOW = "57"  # 13 weeks before the end of the history, so that they can be judged
SPREAD = np.array([-0.5, -0.2, 0.0, 0.2, 0.5])


def rows_of(store: LocalStore) -> tuple[np.ndarray, np.ndarray]:
    """Features and target of the store's history before WINDOW, from the table that users train on."""
    settings = StoreSalesSettings()
    table = training_table(load_history(store, settings, "store_sales")[0], settings)
    table = table.filter(np.array(table["week"].to_pylist(), int) < int(WINDOW))
    return np.stack([table[name].to_numpy() for name in feature_names()], axis=1), table["target"].to_numpy()


def write_onnx(path: Path, x: np.ndarray, y: np.ndarray) -> Path:
    """A linear model as ONNX, with as many outputs as `y` has columns."""
    model = LinearRegression().fit(x, y)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_onnx(model, x[:1].astype(np.float32), target_opset=17).SerializeToString())
    return path


def quantile_targets(y: np.ndarray) -> np.ndarray:
    return np.asarray(y[:, None] + SPREAD)


@pytest.fixture
def filled(sound: LocalStore, chain: Any) -> LocalStore:
    """The store with data and a trained champion."""
    chain.write(sound)
    return sound


@pytest.fixture
def graph(filled: LocalStore, tmp_path: Path) -> Path:
    """One graph of five columns."""
    x, y = rows_of(filled)
    return write_onnx(tmp_path / "mine.onnx", x, quantile_targets(y))


def test_it_challenges_and_is_judged(filled: LocalStore, graph: Path) -> None:
    """Imported without a pin it publishes nothing; as challenger it scores in shadow, and the verdict has both losses."""
    champion = read_pins(filled, "store_sales").current
    stored = Fleet(filled.url).import_models("store_sales", graph, pin=False)
    assert read_pins(filled, "store_sales").current == champion
    card = read_model_set(filled, "store_sales", stored.version).card
    assert card["kind"] == "own forecaster"
    assert card["features"] == list(feature_names())
    assert card["tried_on_rows"] == 30 * 13
    pin_challenger(filled, "store_sales", stored.version)
    run_window(filled, "store_sales", WINDOW)
    verdict = judge_challenger(filled, "store_sales", WINDOW, "58", datetime.now(UTC), "ada")
    assert (verdict.champion, verdict.challenger) == (champion, stored.version)
    assert verdict.cases == 30 * 13
    assert 0 < verdict.challenger_loss < 2 * verdict.champion_loss


def test_one_graph_and_five_give_the_same(filled: LocalStore, graph: Path, tmp_path: Path) -> None:
    """Five graphs of one column, named by quantile, forecast what one graph of five columns does, sorted and not negative."""
    x, y = rows_of(filled)
    for name, column in zip(QUANTILE_NAMES, quantile_targets(y).T, strict=True):
        write_onnx(tmp_path / "five" / f"{name}.onnx", x, column)
    found = []
    for source in (graph, tmp_path / "five"):
        stored = Fleet(filled.url).import_models("store_sales", source)
        results = score(*task_of(filled, WINDOW))
        assert set(results["model"]) == {stored.version}
        found.append(results[list(QUANTILE_NAMES)].to_numpy())
    np.testing.assert_allclose(found[0], found[1], atol=1)  # float32 sums, rounded to pieces
    assert (np.diff(found[0], axis=1) >= 0).all()
    assert found[0].min() >= 0


def test_a_new_sku_is_forecast_by_the_fallback(filled: LocalStore, graph: Path, chain: Any) -> None:
    """A SKU without history gets the quantiles that the history at import showed for all SKUs, flagged, never zero."""
    stored = Fleet(filled.url).import_models("store_sales", graph)
    chain.history = {n: c[(chain.history["sku"] != "5")] for n, c in chain.history.items()}
    chain.write(filled)
    run_window(filled, "store_sales", "70")
    results = read_results(filled, read_manifest(filled, "store_sales", "70")).to_pandas()
    new = results[results["sku"] == "5"]
    assert len(new) == 6 * 13
    assert new["fallback"].all()
    assert new["q50"].min() > 10
    assert set(new["model"]) == {stored.version}


def refuse(store: LocalStore, source: Path) -> FleetscoreError:
    """The refusal of an import, after which the store has no further model set."""
    before = Fleet(store.url).models("store_sales").list_sets().sets
    with pytest.raises((ModelError, InputError)) as refused:
        Fleet(store.url).import_models("store_sales", source)
    assert Fleet(store.url).models("store_sales").list_sets().sets == before
    return refused.value


def test_files_that_do_not_fit_are_refused_by_name(filled: LocalStore, tmp_path: Path) -> None:
    """Too few features, columns or quantiles, a file cut short or none at all: each refusal says which file and what fits."""
    x, y = rows_of(filled)
    narrow = write_onnx(tmp_path / "narrow.onnx", x[:, :7], quantile_targets(y))
    error = refuse(filled, narrow)
    assert (error.code, "narrow.onnx" in str(error), "38" in str(error)) == ("feature_mismatch", True, True)
    three = write_onnx(tmp_path / "three.onnx", x, quantile_targets(y)[:, :3])
    error = refuse(filled, three)
    assert error.code == "unsupported_model"
    assert "3 columns" in str(error)
    four = tmp_path / "four"
    for name in QUANTILE_NAMES[:4]:
        write_onnx(four / f"{name}.onnx", x, y)
    assert "q95" in str(refuse(filled, four))
    torn = tmp_path / "torn.onnx"
    torn.write_bytes(three.read_bytes()[:200])
    assert "torn.onnx" in str(refuse(filled, torn))
    (tmp_path / "empty").mkdir()
    assert refuse(filled, tmp_path / "empty").code == "no_model"


def test_answers_that_are_no_numbers_are_refused(filled: LocalStore, tmp_path: Path) -> None:
    """A graph that answers infinity on the store's own last weeks is not imported."""
    x, y = rows_of(filled)
    model = LinearRegression().fit(x, quantile_targets(y))
    model.coef_[:] = 3e38
    path = tmp_path / "wild.onnx"
    path.write_bytes(to_onnx(model, x[:1].astype(np.float32), target_opset=17).SerializeToString())
    error = refuse(filled, path)
    assert error.code == "not_proven"


def test_without_history_nothing_is_imported(sound: LocalStore, tmp_path: Path) -> None:
    """A store without data cannot try a forecaster: the error says where the history belongs."""
    x = np.random.default_rng(1).normal(size=(60, 38))
    path = write_onnx(tmp_path / "mine.onnx", x, x[:, :5])
    assert "history" in str(refuse(sound, path))


def test_a_forecaster_for_other_covariates_fails_its_stores(
    filled: LocalStore, graph: Path, chain: Any
) -> None:
    """Where the settings name covariates that it was not imported for, its stores fail with the reason."""
    Fleet(filled.url).import_models("store_sales", graph)
    for columns in (chain.history, chain.future):
        columns["heat"] = columns["price"]
    chain.write(filled)
    settings = filled.read("settings/store_sales.toml").decode()
    filled.write("settings/store_sales.toml", f'covariates = ["heat"]\n{settings}'.encode())
    record = run_window(filled, "store_sales", "70")
    assert record.counts == {"failed": 6}
    assert set(read_ledger(filled, "store_sales-70")["cause"].to_pylist()) == {"feature_mismatch"}


def graph_of(kind: int, names: list[str], rows: int | None = None) -> bytes:
    """A graph that answers five columns from inputs of that element type: one matrix, or columns named so; of
    any number of rows, or of one number alone.
    """
    width = len(feature_names()) if names == ["x"] else 1
    inputs = [onnx.helper.make_tensor_value_info(name, kind, [rows, width]) for name in names]
    cast = onnx.helper.make_node("Cast", [names[0]], ["first"], to=onnx.TensorProto.FLOAT)
    weights = onnx.numpy_helper.from_array(np.full((width, 5), 0.01, np.float32), "w")
    product = onnx.helper.make_node("MatMul", ["first", "w"], ["y"])
    answer = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [rows, 5])
    made = onnx.helper.make_graph([cast, product], "g", inputs, [answer], [weights])
    opset = [onnx.helper.make_opsetid("", 17)]
    return bytes(onnx.helper.make_model(made, opset_imports=opset, ir_version=8).SerializeToString())


def test_features_with_fractions_are_not_read_as_whole_numbers(filled: LocalStore, tmp_path: Path) -> None:
    """A graph whose matrix, or column of a feature with fractions, is int64 is refused by name; the step as int64 is not."""
    whole = onnx.TensorProto.INT64
    for names in (["x"], ["mean_13", "step"]):
        path = tmp_path / f"{names[0]}.onnx"
        path.write_bytes(graph_of(whole, names))
        error = refuse(filled, path)
        assert error.code == "feature_mismatch"
        assert path.name in str(error) and f"reads {names[0]} as whole numbers" in str(error)
    path = tmp_path / "steps.onnx"
    path.write_bytes(graph_of(whole, ["step", "known_weeks"]))
    assert Fleet(filled.url).import_models("store_sales", path, pin=False).version


def test_a_graph_of_one_number_of_rows_is_refused_with_what_helps(filled: LocalStore, tmp_path: Path) -> None:
    """A graph that takes a single row at a time is named, and the advice is not to export it as what it is already."""
    path = tmp_path / "single.onnx"
    path.write_bytes(graph_of(onnx.TensorProto.FLOAT, ["x"], rows=1))
    error = refuse(filled, path)
    assert error.code == "not_proven" and "single.onnx" in str(error)
    assert "any number of rows" in error.fix
