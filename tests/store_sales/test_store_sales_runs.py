"""Whole runs in this process: samples, training, scoring in any number of shards, and what the results promise."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from fleetscore.dashboard.picture_files import write_pictures
from fleetscore.errors import InputError, MissingBlobError
from fleetscore.models.model_sets import read_model_set
from fleetscore.models.pins import read_pins
from fleetscore.pipeline.context import open_window
from fleetscore.pipeline.local import run_training, run_window
from fleetscore.records import RunState
from fleetscore.registry import get_workload
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.settings import read_workload_settings
from fleetscore.store.local import LocalStore
from fleetscore.testing import check_workload
from fleetscore.windows import Window, windows_between
from fleetscore.workload import RunContext, Shard
from fleetscore.workloads.store_sales.contract import DATA, QUANTILE_NAMES, RESULTS, StoreSalesSettings
from fleetscore.workloads.store_sales.samples import TRUTH, write_samples
from fleetscore.workloads.store_sales.workload import StoreSales

ORIGIN = "70"


def results_of(store: LocalStore, window: str = ORIGIN) -> Any:
    return read_results(store, read_manifest(store, "store_sales", window)).to_pandas()


def task_of(store: LocalStore, window: str = ORIGIN, only: tuple[str, ...] = ()) -> tuple[RunContext, Shard]:
    """The run of a window with the settings in the store, and one shard of its open partitions, or of `only` these."""
    run = open_window(store, get_workload(store, "store_sales"), window)
    found = run.kind.discover(run)
    shard = Shard(0, found.expected.filter(pc.equal(found.expected["outcome"], "")))
    return replace(run, inputs=found.inputs), shard.restricted(only) if only else shard


def score(run: RunContext, shard: Shard) -> Any:
    pieces = list(run.kind.score(run, shard))
    return pa.concat_tables([piece.results for piece in pieces]).to_pandas()


def test_a_run_publishes_thirteen_weeks_of_every_sku(sound: LocalStore, chain: Any) -> None:
    """Every planned (store, SKU) has its 13 weeks with steps 1 to 13, sorted, with the model set that made them."""
    chain.write(sound)
    record = run_window(sound, "store_sales", ORIGIN)
    assert record.state is RunState.PUBLISHED
    assert record.counts == {"scored": 6}
    frame = results_of(sound)
    assert len(frame) == 6 * 5 * 13
    assert list(frame["step"][:13]) == list(range(1, 14))
    assert list(frame["week"][:13]) == [str(week) for week in range(70, 83)]
    assert set(frame["model"]) == {read_pins(sound, "store_sales").current}
    assert frame.equals(frame.sort_values(["store", "sku", "step"]).reset_index(drop=True))


def test_quantiles_neither_cross_nor_fall_below_zero(sound: LocalStore, chain: Any) -> None:
    """The sorted quantiles are the ones that are returned, in every row; small sales do not make a quantile negative."""
    chain.history["sales"] = np.floor(chain.history["sales"] / 60)
    chain.write(sound)
    run_window(sound, "store_sales", ORIGIN)
    values = results_of(sound)[list(QUANTILE_NAMES)].to_numpy()
    assert (np.diff(values, axis=1) >= 0).all()
    assert (values >= 0).all()


def test_quantiles_that_cross_are_returned_sorted(sound: LocalStore, chain: Any) -> None:
    """With forests in the wrong order every raw row crosses; the rows that are returned are the sorted ones."""
    from fleetscore.workloads.store_sales.forecasting import forecast
    from fleetscore.workloads.store_sales.forest import Forest, Scorer, make_scorer
    from fleetscore.workloads.store_sales.input_files import usable_files
    from fleetscore.workloads.store_sales.loading import load_panel
    from fleetscore.workloads.store_sales.model_file import QuantileModel
    from fleetscore.workloads.store_sales.scoring import load_model, window_span

    chain.write(sound)
    run, _ = task_of(sound)
    settings = run.settings
    loaded = load_model(sound.url, "store_sales", run.pins.current)
    span = window_span(run.window, loaded, settings)
    panel = load_panel(usable_files(sound, run.inputs, settings), span, ["1", "2", "3"], ()).panel
    assert isinstance(loaded.model, QuantileModel)
    right, trees = loaded.model.forest, len(loaded.model.forest.value)
    backwards = np.arange(trees).reshape(5, -1)[::-1].reshape(-1)
    arrays = (getattr(right, name)[backwards] for name in ("feature", "threshold", "stays", "value"))
    wrong = replace(loaded.model, forest=Forest(right.features, right.first_tree, *arrays))
    assert isinstance(loaded.scorer, Scorer)
    expected = forecast(panel, loaded.model, loaded.scorer, settings).quantiles
    given = forecast(panel, wrong, make_scorer(wrong.forest), settings).quantiles
    assert (np.diff(given, axis=2) >= 0).all()
    assert np.array_equal(given, expected)


@pytest.mark.parametrize("shards", [2, 5, 6])
def test_any_division_into_shards_gives_the_same_rows(shards: int, sound: LocalStore, chain: Any) -> None:
    """Partitions dealt to any number of shards, also more than divide evenly, are all scored once, with the same numbers."""
    chain.write(sound)
    run, shard = task_of(sound)
    whole = score(run, shard)
    parts = [score(run, shard.restricted(shard.keys[n::shards])) for n in range(shards)]
    import pandas as pd

    joined = pd.concat(parts).sort_values(["store", "sku", "step"]).reset_index(drop=True)
    assert joined.equals(whole.sort_values(["store", "sku", "step"]).reset_index(drop=True))


def test_the_order_of_rows_changes_no_number(sound: LocalStore, chain: Any) -> None:
    """Shuffled history and future give the same rows, bit for bit."""
    chain.write(sound)
    sorted_rows = score(*task_of(sound))
    random = np.random.default_rng(1)
    order, ahead = (
        random.permutation(len(chain.history["week"])),
        random.permutation(len(chain.future["week"])),
    )
    chain.history = {n: c[order] for n, c in chain.history.items()}
    chain.future = {n: c[ahead] for n, c in chain.future.items()}
    chain.write(sound)
    assert score(*task_of(sound)).equals(sorted_rows)


def test_another_store_changes_no_number(sound: LocalStore, chain: Any) -> None:
    """With a store fewer, every other store's rows are the same, bit for bit."""
    chain.write(sound)
    among_all = score(*task_of(sound))
    chain.drop(chain.rows("4"))
    chain.drop_ahead(chain.rows_ahead("4"))
    chain.write(sound)
    alone = score(*task_of(sound))
    assert alone.equals(among_all[among_all["store"] != "4"].reset_index(drop=True))


def test_a_window_of_the_past_reads_no_later_sale(sound: LocalStore, chain: Any) -> None:
    """A backfilled window gives the same rows whether or not the sales of its weeks are known already."""
    chain.write(sound)
    known = score(*task_of(sound, "60"))
    later = chain.history["week"] >= 60
    more = {n: c[later] for n, c in chain.history.items() if n != "sales"}
    chain.drop(later)
    chain.future = {n: np.concatenate([more[n], c]) for n, c in chain.future.items()}
    chain.write(sound)
    assert score(*task_of(sound, "60")).equals(known)


def test_the_kind_keeps_the_promises_of_the_seam(sound: LocalStore, chain: Any) -> None:
    """check_workload finds nothing wrong in a window of sound data."""
    chain.write(sound)
    checked = check_workload(get_workload(sound, "store_sales"), sound, ORIGIN)
    assert checked.outcomes == {"scored": 6}


def test_training_twice_gives_the_same_model_set(trained_folder: Path, tmp_path: Path) -> None:
    """The same data trains the same bytes, so the versions differ in their time at most; each quantile is a partition of the run."""
    shutil.copytree(trained_folder, tmp_path / "again")
    store = LocalStore(tmp_path / "again")
    first = read_pins(store, "store_sales").current
    record = run_training(store, "store_sales", "0", ORIGIN)
    assert record.counts == {"scored": 5}
    a, b = (read_model_set(store, "store_sales", version) for version in (first, record.model_set))
    assert a.version.rpartition("-")[2] == b.version.rpartition("-")[2]
    assert dict(a.files) == dict(b.files)


def test_the_card_says_how_it_was_judged(trained_folder: Path) -> None:
    """The model card has loss, coverage, rivals, and how far the gain holds from week to week."""
    store = LocalStore(trained_folder)
    card = read_model_set(store, "store_sales", read_pins(store, "store_sales").current).card
    judged = card["judged_on_blocks_before_the_origin"]
    assert judged["rows"] == 6 * 5 * 13
    assert set(judged["pinball_per_quantile"]) == set(QUANTILE_NAMES)
    assert judged["weeks"] == 13
    assert 0 <= judged["share_of_weeks_better_than_own_quantiles"] <= 1
    assert card["trained_on"] == {"first": "0", "stop": ORIGIN, "stores": 6, "skus": 5}
    json.dumps(card)


def test_too_little_history_trains_nothing(tmp_path: Path, chain: Any) -> None:
    """A handful of weeks ends the training run with the cause, and no model set."""
    store = LocalStore(tmp_path)
    chain.drop(chain.history["week"] > 6)
    chain.write(store)
    record = run_training(store, "store_sales", "0", "7")
    assert record.model_set == ""
    assert {cause.cause for cause in record.causes} == {"too_little_history"}


def test_a_history_that_contradicts_itself_trains_nothing(tmp_path: Path, chain: Any) -> None:
    """Rows a day, read as rows a week, end the training with the setting that is meant, not with "too little"."""
    store = LocalStore(tmp_path)
    chain.history = {name: np.repeat(column, 7) for name, column in chain.history.items()}
    chain.history["sales"] = chain.history["sales"] + np.tile(np.arange(7), len(chain.history["sales"]) // 7)
    chain.write(store)
    record = run_training(store, "store_sales", "0", ORIGIN)
    assert record.model_set == ""
    assert {cause.cause for cause in record.causes} == {"conflicting_rows"}
    assert 'frequency = "day"' in record.causes[0].detail


def test_samples_are_what_they_say(tmp_path: Path) -> None:
    """The report's stores, SKUs and rows are those of the files, at any scale; the same seed gives the same bytes."""
    store, again = LocalStore(tmp_path / "a"), LocalStore(tmp_path / "b")
    report = write_samples(store, DATA, 1.0, 7)
    write_samples(again, DATA, 1.0, 7)
    paths = [entry.path for entry in store.list("")]
    assert all(store.read(path) == again.read(path) for path in paths)
    found = StoreSales().discover(RunContext(store, StoreSales(), report.first))
    assert found.expected.num_rows == report.partitions == 16
    counted = sum(len(table_of(store, p)) for p in paths if p.startswith("data/"))
    assert counted == report.rows
    assert table_of(store, TRUTH)["sku"].nunique() == report.facts["skus"] == 10
    assert [w.key for w in windows_between(report.first, report.stop)] == ["2026-W45", "2026-W46", "2026-W47"]


def table_of(store: LocalStore, path: str) -> Any:
    import pandas as pd

    with store.open(path) as source:
        return pd.read_parquet(source) if path.endswith(".parquet") else pd.read_csv(source)


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> tuple[LocalStore, list[Window]]:
    """Samples, trained small, with their last window published."""
    store = LocalStore(tmp_path_factory.mktemp("sampled"))
    report = write_samples(store, DATA, 1.0, 7)
    store.write("settings/store_sales.toml", b"rounds = 30\nleaves = 8\ncalibration_blocks = 1\n")
    run_training(store, "store_sales", report.facts["train_from"], report.facts["train_to"])
    windows = list(windows_between(report.first, report.stop))[-1:]
    assert run_window(store, "store_sales", windows[0].key).state is RunState.PUBLISHED
    return store, windows


def test_every_planted_defect_is_found(sampled: tuple[LocalStore, list[Window]]) -> None:
    """Each defect of the samples gets the outcome and cause that was planted, and the forecasts are of use."""
    judged = StoreSales().judge_samples(*sampled)
    assert (judged["planted"], judged["found"], judged["missed"]) == (12, 12, 0)
    assert judged["forecasts_judged"] > 1000
    assert 0.8 < judged["coverage_90"] < 0.98
    assert judged["pinball_share_of_sales"] < 0.12


def test_a_window_that_is_not_published_finds_nothing(sampled: tuple[LocalStore, list[Window]]) -> None:
    """Defects of a window without results count as missed."""
    store, windows = sampled
    judged = StoreSales().judge_samples(store, [windows[0].next(-1)])
    assert (judged["found"], judged["missed"], judged["forecasts_judged"]) == (0, 12, 0)


def test_pictures_show_the_chosen_skus(sampled: tuple[LocalStore, list[Window]], tmp_path: Path) -> None:
    """One file per window; the largest store by default, chosen SKUs on request; what is not published is named."""
    store, windows = sampled
    workload = StoreSales()
    (default,) = write_pictures(store, workload, windows[:1], tmp_path)
    assert default.name == f"store_sales-{windows[0].key}.svg"
    write_pictures(store, workload, windows[:1], tmp_path, ["S001/sku-01", "S001/sku-05"])
    words = [text.text or "" for text in ElementTree.parse(default).iter() if text.get("class") == "panel"]
    assert [word.split(":")[0] for word in words] == ["SKU sku-01", "SKU sku-05"]
    with pytest.raises(InputError, match="S010"):
        write_pictures(store, workload, windows[:1], tmp_path, ["S010"])
    with pytest.raises(InputError, match="sku-99"):
        write_pictures(store, workload, windows[:1], tmp_path, ["S001/sku-99"])
    with pytest.raises(InputError, match="one store; S001 and S002"):
        write_pictures(store, workload, windows[:1], tmp_path, ["S001", "S002"])
    with pytest.raises(MissingBlobError):
        write_pictures(store, workload, [windows[0].next(9)], tmp_path)


def test_a_mini_batch_answers_as_the_run_did(sampled: tuple[LocalStore, list[Window]]) -> None:
    """Without changes the answer is the published row; a lower price sells more; each row is answered by itself."""
    store, windows = sampled
    settings = read_workload_settings(store, "store_sales", StoreSalesSettings)
    asked: list[dict[str, Any]] = [
        {"store": "S001", "sku": "sku-01", "week": "2026-W49"},
        {
            "store": "S001",
            "sku": "sku-01",
            "week": "2026-W49",
            "price": 1.0,
            "deal": 1,
            "feat": True,
            "window": "2026-W47",
        },
    ]
    plain, cheap = StoreSales(settings=settings).score_rows(store, read_pins(store, "store_sales"), asked)
    frame = results_of(store, windows[0].key)
    row = frame[(frame["store"] == "S001") & (frame["sku"] == "sku-01") & (frame["week"] == "2026-W49")].iloc[
        0
    ]
    assert [plain[name] for name in QUANTILE_NAMES] == [row[name] for name in QUANTILE_NAMES]
    assert plain["model"] == row["model"]
    assert plain["fallback"] is False
    assert cheap["q50"] > plain["q50"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"week": "2027-W30"}, "week"), ({"week": "soon"}, "week"), ({"week": None}, "week"), ({"store": ""}, "store"),
        ({"sku": "sku-99"}, "sku"), ({"price": 0}, "price"), ({"price": "cheap"}, "price"), ({"deal": float("nan")}, "deal"),
        ({"colour": "red"}, "colour"), ({"window": "W1"}, "window"), ({"window": "108"}, "week"),
    ],
)  # fmt: skip
def test_a_malformed_question_is_named(
    change: dict[str, Any], field: str, sampled: tuple[LocalStore, list[Window]]
) -> None:
    """A wrong field of a mini-batch is an InputError that names the row and the field."""
    store, _ = sampled
    row = {"store": "S001", "sku": "sku-01", "week": "2026-W48"}
    with pytest.raises(InputError) as caught:
        StoreSales().score_rows(store, read_pins(store, "store_sales"), [row, row | change])
    assert caught.value.field == f"rows[1].{field}"


def test_a_mini_batch_without_a_model_says_so(tmp_path: Path, chain: Any) -> None:
    """Without a pinned model the answer has nulls and the cause."""
    store = LocalStore(tmp_path)
    chain.write(store)
    row = {"store": 1, "sku": 1, "week": 71, "window": 70}
    answer = StoreSales().score_rows(store, read_pins(store, "store_sales"), [row])[0]
    assert (answer["q50"], answer["cause"]) == (None, "no_model")


def test_importing_the_workload_imports_no_science() -> None:
    """Planning and orchestrating import the workload: it must not bring LightGBM, numba, pandas or matplotlib."""
    code = "import sys; import fleetscore.workloads.store_sales.workload; print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"lightgbm", "numba", "sklearn", "pandas", "matplotlib", "scipy", "duckdb"}
    assert heavy.isdisjoint({name.strip(" '[]") for name in done.stdout.split(",")})


def test_the_workload_is_registered(tmp_path: Path) -> None:
    """get_workload gives it by name, with the stated results."""
    workload = get_workload(LocalStore(tmp_path), "store_sales")
    assert workload.result_schema == RESULTS
    assert workload.parse_window("2026-W47").key == "2026-W47"
    assert workload.parse_window("108").key == "108"


@pytest.mark.parametrize(
    "text",
    [
        "steps = 0",
        "max_reject_share = 1.5",
        "covariates = ['sales']",
        "covariates = ['price_old']",
        "rounds = 'many'",
    ],
)
def test_settings_out_of_range_are_refused(text: str, tmp_path: Path) -> None:
    """A setting that is out of range or of the wrong type is named."""
    store = LocalStore(tmp_path)
    store.write("settings/store_sales.toml", text.encode())
    with pytest.raises(InputError, match=text.split()[0]):
        read_workload_settings(store, "store_sales", StoreSalesSettings)


def test_a_further_covariate_is_used(tmp_path: Path, chain: Any) -> None:
    """A covariate that the settings declare is read from both files and changes the forecast; the model takes no other for it."""
    store = LocalStore(tmp_path)
    random = np.random.default_rng(2)
    chain.history["holiday"] = (random.random(len(chain.history["week"])) < 0.3).astype(float)
    chain.future["holiday"] = (random.random(len(chain.future["week"])) < 0.3).astype(float)
    chain.history["sales"] *= 1 + 4 * chain.history["holiday"]
    chain.history["fuel"], chain.future["fuel"] = chain.history["holiday"], chain.future["holiday"]
    chain.write(store)
    settings = "covariates = ['{}']\nrounds = 30\ncalibration_blocks = 0\n"
    store.write("settings/store_sales.toml", settings.format("holiday").encode())
    assert run_training(store, "store_sales", "0", ORIGIN).model_set
    store.write("settings/store_sales.toml", settings.format("fuel").encode())
    refused = run_window(store, "store_sales", ORIGIN)
    assert {cause.cause for cause in refused.causes} == {"feature_mismatch"}
    store.write("settings/store_sales.toml", settings.format("holiday").encode())
    run_window(store, "store_sales", ORIGIN)
    medians = results_of(store)["q50"].to_numpy()
    order = np.lexsort((chain.future["week"], chain.future["sku"], chain.future["store"]))
    holiday = chain.future["holiday"][order] > 0
    assert medians[holiday].mean() > 2 * medians[~holiday].mean()
