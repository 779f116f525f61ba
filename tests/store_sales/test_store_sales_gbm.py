"""R's gbm models: imported from plain tables, scored as R's predict does, in the same runs.

The tables and R's own predictions were made by make_gbm_fixture.R and export_gbm.R with gbm 2.1.8.1.
"""

import csv
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fleetscore.errors import InputError, ModelError
from fleetscore.models.model_sets import write_model_set
from fleetscore.models.pins import pin_version
from fleetscore.pipeline.local import run_window
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.store.local import LocalStore
from fleetscore.workloads.store_sales import gbm_model
from fleetscore.workloads.store_sales.contract import QUANTILE_NAMES
from fleetscore.workloads.store_sales.gbm_import import import_gbm
from fleetscore.workloads.store_sales.gbm_model import GbmModel, GbmScorer, make_gbm_scorer
from fleetscore.workloads.store_sales.model_file import pack_arrays, unpack_arrays
from fleetscore.workloads.store_sales.workload import StoreSales

HERE = Path(__file__).parent / "gbm"
RSCRIPT = shutil.which("Rscript") or ""
EXPORT = Path(gbm_model.__file__).with_name("export_gbm.R")


def columns_of(path: Path) -> dict[str, Any]:
    with path.open() as file:
        rows = list(csv.DictReader(file))
    names = rows[0].keys()
    return {
        n: np.array(
            [r[n] if n == "sku" else float(r[n] or "nan") for r in rows], object if n == "sku" else float
        )
        for n in names
    }


def imported(folder: str = "quantiles") -> GbmScorer:
    return make_gbm_scorer(gbm_model.unpack(import_gbm(HERE / folder).files[gbm_model.FILE]))


@pytest.mark.parametrize("name", ["gbm_t1_q5", "gbm_t1_q50", "gbm_t1_q95", "gbm_t2-13_q25", "gbm_t2-13_q75"])
def test_scores_are_those_of_r(name: str) -> None:
    """Factors, missing values and numbers give R's own predictions to 1e-12, in fact in every bit."""
    scorer = imported()
    index = scorer.model.names.tolist().index(name)
    expected = columns_of(HERE / "predictions.csv")[name]
    assert scorer.by_masks.all()
    walking = replace(scorer, by_masks=np.zeros(10, bool))
    for way in (scorer, walking):
        assert np.array_equal(gbm_model.predict(way, index, columns_of(HERE / "inputs.csv")), expected)


def test_trees_of_many_leaves_are_walked() -> None:
    """A chain of splits with more leaves than a mask has bits is scored row by row: each row gets its own leaf."""
    splits = 70
    inner = np.arange(splits)
    variable = np.concatenate([np.zeros(splits, np.int64), np.full(2 * splits + 1, -1)])
    code = np.concatenate([inner + 0.5, np.arange(splits) * 1.0, [float(splits)], np.full(splits, -1.0)])
    left, missing = splits + inner, 2 * splits + 1 + inner
    right = np.append(inner[1:], 2 * splits)
    pad = np.zeros(2 * splits + 1, np.int64)
    model = GbmModel(
        np.array(["m"]), np.array([1]), np.array([13]), np.array([0.5]), np.array([0.0]), np.array(["identity"]),
        np.array([0, 1]), np.array(["lag1"]), np.array([0, 0]), np.empty(0, "U1"), np.array([0, 1]), np.array([0]), variable,
        code, np.append(left, pad), np.append(right, pad), np.append(missing, pad), np.zeros((1, 1), np.int64),
    )  # fmt: skip
    gbm_model.check(model)
    scorer = make_gbm_scorer(model)
    assert not scorer.by_masks.any()
    rows = np.append(np.arange(splits + 1.0), np.nan)
    assert gbm_model.predict(scorer, 0, {"lag1": rows}).tolist() == [*range(splits + 1), -1]


@pytest.mark.parametrize("link", ["poisson", "bernoulli"])
def test_links_give_the_response(link: str) -> None:
    """Log and logit links are inverted, as R's type = "response" does."""
    ours = gbm_model.predict(imported(link), 0, columns_of(HERE / "inputs.csv"))
    np.testing.assert_allclose(ours, columns_of(HERE / "predictions.csv")[link], rtol=0, atol=1e-12)


@pytest.fixture
def r_store(chain: Any, tmp_path: Path) -> LocalStore:
    """The small chain with three SKUs, and the imported models pinned."""
    chain.drop(np.isin(chain.history["sku"], ["4", "5"]))
    chain.drop_ahead(np.isin(chain.future["sku"], ["4", "5"]))
    store = LocalStore(tmp_path)
    draft = StoreSales().import_models(store, HERE / "quantiles")
    chain.write(store)
    pin_version(store, "store_sales", write_model_set(store, "store_sales", draft.files, draft.card).version)
    return store


def test_a_run_scores_with_imported_models(r_store: LocalStore, chain: Any) -> None:
    """A run with R's models publishes every store; its numbers are those of the reference's features by hand, sorted."""
    record = run_window(r_store, "store_sales", "70")
    assert record.counts == {"scored": 6}, record.causes
    frame = read_results(r_store, read_manifest(r_store, "store_sales", "70")).to_pandas()
    values = frame[list(QUANTILE_NAMES)].to_numpy()
    assert (np.diff(values, axis=1) >= 0).all()
    scorer = imported()
    row = frame[(frame["store"] == "2") & (frame["sku"] == "3") & (frame["step"] == 1)].iloc[0]
    expected = np.sort(
        [gbm_model.predict(scorer, i, by_hand(chain, "2", "3")) for i in of_step(scorer.model, 1)], axis=0
    )[:, 0]
    np.testing.assert_allclose(row[list(QUANTILE_NAMES)].to_numpy(float), np.exp(expected), rtol=1e-12)


def of_step(model: GbmModel, step: int) -> list[int]:
    return [i for i in range(len(model.names)) if model.first_step[i] <= step <= model.last_step[i]]


def by_hand(chain: Any, store: str, sku: str) -> dict[str, Any]:
    """The features of the first week to forecast, as the reference computes them."""
    h, f = chain.history, chain.future
    logs = np.log(h["sales"][chain.rows(store, sku)])
    ahead = {s: chain.rows_ahead(store, s, 70) for s in "123"}
    values: dict[str, Any] = {
        "lag1": logs[-1], "month_mean": logs[-5:].sum() / 5, "month_max": logs[-5:].max(), "month_min": logs[-5:].min(),
        "level": logs.mean(), "deal": f["deal"][ahead[sku]][0], "feat": f["feat"][ahead[sku]][0],
    } | {f"price{s}": f["price"][ahead[s]][0] for s in "123"}  # fmt: skip
    assert len(h["week"])
    return {n: np.array([v]) for n, v in values.items()} | {"sku": np.array([sku], object)}


def test_steps_without_a_model_fail_with_the_cause(r_store: LocalStore) -> None:
    """More steps than the models forecast is a failed outcome that says what to do."""
    r_store.write("settings/store_sales.toml", b"steps = 14\n[run]\nerror_threshold = 1.0\n")
    record = run_window(r_store, "store_sales", "70")
    assert record.counts == {"failed": 6}
    assert {cause.cause for cause in record.causes} == {"wrong_steps"}


def test_variables_that_are_not_computed_are_refused(tmp_path: Path) -> None:
    """A model that reads a column of its own is refused at import, by name."""
    shutil.copytree(HERE / "quantiles", tmp_path / "other")
    table = tmp_path / "other" / "variables.csv"
    table.write_text(table.read_text().replace('"month_mean"', '"weather"'))
    with pytest.raises(ModelError, match="weather"):
        import_gbm(tmp_path / "other")


@pytest.mark.parametrize("missing", ["models.csv", "variables.csv", "nodes.csv", "splits.csv"])
def test_a_missing_table_is_named(missing: str, tmp_path: Path) -> None:
    """An incomplete export is an InputError that names the table."""
    shutil.copytree(HERE / "quantiles", tmp_path / "other")
    (tmp_path / "other" / missing).unlink()
    with pytest.raises(InputError, match=missing):
        import_gbm(tmp_path / "other")


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("left", lambda a: a * 0),  # a loop
        ("right", lambda a: a + 10**6),
        ("variable", lambda a: np.where(a >= 0, 99, a)),
        ("code", lambda a: np.full_like(a, np.nan)),
        ("root", lambda a: a + 1),
        ("tree_start", lambda a: a[:-1]),
        ("directions", lambda a: a[:1]),
        ("link", lambda a: np.array(["cube"] * len(a))),
    ],
)
def test_arrays_that_would_not_end_or_fit_are_refused(name: str, spoil: Any) -> None:
    """Trees that loop, read beyond the arrays or have unknown links are refused when they are loaded."""
    arrays = unpack_arrays(import_gbm(HERE / "quantiles").files[gbm_model.FILE])
    with pytest.raises(ModelError):
        gbm_model.unpack(pack_arrays(arrays | {name: spoil(arrays[name])}))
    with pytest.raises(ModelError, match=name):
        gbm_model.unpack(pack_arrays({n: a for n, a in arrays.items() if n != name}))


@pytest.mark.skipif(not RSCRIPT, reason="R is not installed")
def test_the_export_script_names_what_it_cannot_read(tmp_path: Path) -> None:
    """A folder without models, and a file with another name, end with a message."""
    done = subprocess.run(
        [RSCRIPT, str(EXPORT), str(tmp_path), str(tmp_path / "out")], capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "no .rds files" in done.stderr
    (tmp_path / "model.rds").write_bytes(b"")
    done = subprocess.run(
        [RSCRIPT, str(EXPORT), str(tmp_path), str(tmp_path / "out")], capture_output=True, text=True
    )
    assert "is not named gbm_t<step>_q<per cent>.rds" in done.stderr
