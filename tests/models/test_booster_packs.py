"""LightGBM, XGBoost and CatBoost in packs: equal to their libraries to the last bit, and safe against files of any content."""

import faulthandler
import json
import os
import random
import signal
import subprocess
import sys
from typing import Any

import catboost
import lightgbm
import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetscore.errors import ModelError
from fleetscore.models.importers.catboost_files import compile_catboost
from fleetscore.models.importers.lightgbm_text import compile_lightgbm
from fleetscore.models.importers.ubjson import decode
from fleetscore.models.importers.xgboost_files import compile_xgboost
from fleetscore.models.packs.proof import prove
from fleetscore.models.packs.trees import TreesPack

LIGHTGBM: list[dict[str, Any]] = [
    {"objective": "regression"},
    {"objective": "regression", "reg_sqrt": True},
    {"objective": "poisson"},
    {"objective": "quantile", "alpha": 0.8},
    {"objective": "cross_entropy"},
    {"objective": "cross_entropy_lambda"},
    {"objective": "binary", "sigmoid": 0.7},
    {"objective": "multiclass", "num_class": 3},
    {"objective": "multiclassova", "num_class": 3},
    {"objective": "regression", "boosting": "dart"},
    {"objective": "binary", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.7},
]
XGBOOST: list[dict[str, Any]] = [
    {"objective": "reg:squarederror"},
    {"objective": "reg:squarederror", "booster": "dart", "rate_drop": 0.4},
    {"objective": "reg:squarederror", "num_parallel_tree": 3, "subsample": 0.6},
    {"objective": "reg:absoluteerror"},
    {"objective": "reg:logistic"},
    {"objective": "count:poisson"},
    {"objective": "reg:tweedie"},
    {"objective": "binary:logistic"},
    {"objective": "binary:logitraw"},
    {"objective": "binary:hinge"},
    {"objective": "multi:softprob", "num_class": 3},
    {"objective": "multi:softmax", "num_class": 3},
]
CATBOOST: list[dict[str, Any]] = [
    {"loss_function": "RMSE"},
    {"loss_function": "RMSE", "grow_policy": "Lossguide"},
    {"loss_function": "Poisson", "nan_mode": "Max"},
    {"loss_function": "Logloss"},
    {"loss_function": "MultiClass", "grow_policy": "Depthwise"},
    {"loss_function": "MultiClassOneVsAll"},
]
CLASSES = {"binary": 2, "multiclass": 3, "multiclassova": 3, "cross_entropy": 1, "cross_entropy_lambda": 1}
CLASSES |= {"binary:logistic": 2, "binary:logitraw": 2, "binary:hinge": 2, "reg:logistic": 1}
CLASSES |= {"multi:softprob": 3, "multi:softmax": 3, "Logloss": 2, "MultiClass": 3, "MultiClassOneVsAll": 3}


def rows_and_target(seed: int, holes: bool, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows with repeated values, zeros, whole numbers and holes; a target >= 0, within 0 to 1, or of so many classes."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(200, 4)) * 10.0 ** rng.integers(-3, 4, 4)
    x[:, 2] = np.where(rng.random(200) < 0.4, 0.0, x[:, 2])
    x[:, 3] = rng.integers(0, 40, 200)
    y = x[:, 0] / np.abs(x[:, 0]).max() + np.sin(x[:, 3]) + (x[:, 2] == 0)
    y = (y - y.min()) / (y.max() - y.min())
    if holes:
        x[rng.random(x.shape) < 0.1] = np.nan
    return x, y if classes < 2 else np.minimum((y * classes).astype(int), classes - 1)


def ranges_of(x: np.ndarray) -> np.ndarray:
    return np.stack([np.nanmin(x, axis=0) - 1, np.nanmax(x, axis=0) + 1], axis=1)


def both(found: np.ndarray) -> np.ndarray:
    """Probabilities of both classes where the library gives the second's alone."""
    return np.stack([found.dtype.type(1) - found, found], axis=1) if found.ndim == 1 else found


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(LIGHTGBM), st.integers(0, 10**6), st.booleans(), st.booleans(), st.sampled_from([2, 8, 31, 90]))  # fmt: skip
def test_lightgbm_is_equal_to_the_last_bit(
    options: dict[str, Any], seed: int, holes: bool, zeros: bool, leaves: int
) -> None:
    """Any objective, with categories, missing values and zeros as missing, answers as Booster.predict."""
    x, y = rows_and_target(seed, holes, CLASSES.get(options["objective"], 0))
    fixed = {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 2, "min_data_per_group": 3, "seed": seed}
    options = options | fixed | {"num_leaves": leaves, "zero_as_missing": zeros, "cat_smooth": 1}
    booster = lightgbm.train(options, lightgbm.Dataset(x, y, categorical_feature=[3] if seed % 2 else []), 8)

    def library(rows: np.ndarray, method: str) -> np.ndarray:
        found = booster.predict(rows, raw_score=method == "decision_function")
        return both(found) if method == "predict_proba" else found

    proof = prove(compile_lightgbm(booster.model_to_string()), library, ranges_of(x), seed)
    assert proof.equal, proof.text


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(XGBOOST), st.integers(0, 10**6), st.booleans(), st.sampled_from(["json", "ubj"]), st.integers(1, 8))  # fmt: skip
def test_xgboost_is_equal_to_the_last_bit(
    options: dict[str, Any], seed: int, holes: bool, form: str, depth: int
) -> None:
    """Any objective, with categories and missing values, answers as Booster.predict, in float32 as it computes."""
    x, y = rows_and_target(seed, holes, CLASSES.get(options["objective"], 0))
    kinds = {"feature_types": ["q", "q", "q", "c"], "enable_categorical": True} if seed % 2 else {}
    data = xgboost.DMatrix(x, y, **kinds)
    booster = xgboost.train(options | {"nthread": 1, "max_depth": depth, "seed": seed, "max_cat_to_onehot": 2}, data, 8)  # fmt: skip

    def library(rows: np.ndarray, method: str) -> np.ndarray:
        found = booster.predict(xgboost.DMatrix(rows, **kinds), output_margin=method == "decision_function")
        return both(found) if method == "predict_proba" else found

    proof = prove(compile_xgboost(bytes(booster.save_raw(form))), library, ranges_of(x), seed)
    assert proof.equal, proof.text


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(CATBOOST), st.integers(0, 10**6), st.booleans(), st.sampled_from(["json", "cbm"]), st.integers(1, 8))  # fmt: skip
def test_catboost_is_equal_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory,
    options: dict[str, Any],
    seed: int,
    holes: bool,
    form: str,
    depth: int,
) -> None:
    """Trees of every growing policy answer as CatBoost's predict, raw, as probabilities and as classes."""
    classes = CLASSES.get(options["loss_function"], 0)
    x, y = rows_and_target(seed, holes, classes)
    fixed = {"iterations": 8, "depth": depth, "thread_count": 1, "verbose": 0, "allow_writing_files": False}
    model = catboost.CatBoost(options | fixed).fit(x, y)
    path = tmp_path_factory.mktemp("catboost") / "model"
    model.save_model(str(path), format=form)
    kinds = {"predict_proba": "Probability", "decision_function": "RawFormulaVal"}
    kinds["predict"] = "Class" if classes else "RawFormulaVal"

    def library(rows: np.ndarray, method: str) -> np.ndarray:
        return model.predict(rows, prediction_type=kinds[method])  # the classes are 0, 1, 2

    proof = prove(compile_catboost(path.read_bytes()), library, ranges_of(x), seed)
    assert proof.equal, proof.text


def test_lightgbm_flattens_what_is_nearly_zero() -> None:
    """Values up to 1e-35 in magnitude are zero to LightGBM before it compares them; so they are in a pack."""
    x, y = rows_and_target(1, False, 0)
    booster = lightgbm.train({"verbose": -1, "num_threads": 1, "min_data_in_leaf": 2}, lightgbm.Dataset(x, y), 8)  # fmt: skip
    rows = np.zeros((9, 4))
    rows[:, 2] = [-1e-34, -1e-35, float(np.float32(-1e-35)), -1e-36, -0.0, 0.0, 1e-36, float(np.float32(1e-35)), 1e-34]  # fmt: skip
    found = TreesPack.join([compile_lightgbm(booster.model_to_string())]).score(
        np.array([0, 9]), rows, "predict"
    )
    assert np.array_equal(found[:, 0], booster.predict(rows))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"booster": "gblinear"}, "gblinear"),
        ({"multi_strategy": "multi_output_tree", "tree_method": "hist"}, "several values"),
        ({"objective": "survival:cox"}, None),
        ({"objective": "rank:ndcg"}, None),
    ],
)
def test_xgboost_models_of_other_kinds_are_named(options: dict[str, Any], named: str | None) -> None:
    """What packs do not take is refused with its name; ranking and survival by trees are taken."""
    x, y = rows_and_target(2, False, 0)
    target = np.stack([y, 1 - y], axis=1) if "multi_strategy" in options else np.round(y * 3)
    data = xgboost.DMatrix(x, target, **({"group": [100, 100]} if "rank" in str(options) else {}))
    raw = bytes(xgboost.train(options | {"nthread": 1}, data, 2).save_raw("ubj"))
    if named is None:
        assert compile_xgboost(raw).facts.library_version == xgboost.__version__
        return
    with pytest.raises(ModelError, match=named) as caught:
        compile_xgboost(raw)
    assert caught.value.code == "unsupported_model"


def test_linear_trees_and_unknown_objectives_of_lightgbm_are_named() -> None:
    """Linear leaves and an objective that is not known are refused with their names."""
    x, y = rows_and_target(3, False, 0)
    options = {"verbose": -1, "num_threads": 1, "linear_tree": True}
    text = lightgbm.train(options, lightgbm.Dataset(x, y), 2).model_to_string()
    with pytest.raises(ModelError, match="linear trees"):
        compile_lightgbm(text)
    text = model_bytes("lightgbm").decode().replace("objective=regression", "objective=magic")
    with pytest.raises(ModelError, match="magic"):
        compile_lightgbm(text)


def test_catboost_models_with_categories_are_named(tmp_path: Any) -> None:
    """A CatBoost model over words is refused with the kind of its features."""
    model = catboost.CatBoost({"iterations": 2, "verbose": 0, "allow_writing_files": False})
    model.fit([["a", 1.0], ["b", 2.0], ["a", 3.0], ["b", 1.0]], [1, 2, 3, 4], cat_features=[0])
    model.save_model(
        str(tmp_path / "m.json"), format="json", pool=catboost.Pool([["a", 1.0]], cat_features=[0])
    )
    with pytest.raises(ModelError, match="categorical features"):
        compile_catboost((tmp_path / "m.json").read_bytes())


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("left_child=1", "left_child=0", "child"),
        ("left_child=1", "left_child=9999", "child"),
        ("split_feature=", "split_feature=7777777 ", "split_feature has"),
        ("num_leaves=5", "num_leaves=500000000", "num_leaves is"),
        ("max_feature_idx=3", "max_feature_idx=4000000000", "max_feature_idx is"),
        ("tree_sizes=", "tree_sizes=1 ", "trees"),
        ("end of trees", "", "cut short"),
        ("leaf_value=", "leaf_value=nan ", "leaf_value has"),
        ("num_tree_per_iteration=1", "num_tree_per_iteration=0", "no output"),
    ],
)
def test_absurd_numbers_in_lightgbm_s_text_are_named(old: str, new: str, named: str) -> None:
    """Children, features, sizes and counts that cannot be are named before anything is allocated by them."""
    text = model_bytes("lightgbm").decode()
    assert old in text
    with pytest.raises(ModelError, match=named) as caught:
        compile_lightgbm(text.replace(old, new, 1))
    assert caught.value.code == "corrupt_model"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda tree: tree["left_children"].__setitem__(0, 0), "child"),
        (lambda tree: tree["right_children"].__setitem__(0, 10**6), "child"),
        (lambda tree: tree["left_children"].__setitem__(0, tree["right_children"][0]), "child"),
        (lambda tree: tree["split_indices"].__setitem__(0, 4), "feature"),
        (lambda tree: tree["tree_param"].__setitem__("num_nodes", "99999999999"), "num_nodes"),
        (lambda tree: tree["split_conditions"].__setitem__(0, "x"), "split_conditions"),
        (lambda tree: tree.pop("default_left"), "default_left"),
    ],
)
def test_absurd_numbers_in_xgboost_s_json_are_named(change: Any, named: str) -> None:
    """Children that are shared, missing or their own parents, features and sizes out of range are named."""
    model = json.loads(model_bytes("xgboost json"))
    change(model["learner"]["gradient_booster"]["model"]["trees"][0])
    with pytest.raises(ModelError, match=named) as caught:
        compile_xgboost(json.dumps(model).encode())
    assert caught.value.code == "corrupt_model"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"{L" + b"\xff" * 9,
        b"[$d#L\x7f" + b"\xff" * 7,
        b"[$Z#L" + b"\0\0\0\x7f" * 2,
    ],
)
def test_ubj_allocates_nothing_by_sizes_that_it_claims(data: bytes) -> None:
    """Sizes beyond the bytes, endless nesting and cut values raise ValueError."""
    with pytest.raises(ValueError, match=r"expected|nested|longer|negative"):
        decode(data)


COMPILERS: dict[str, Any] = {
    "lightgbm": compile_lightgbm,
    "xgboost json": compile_xgboost,
    "xgboost ubj": compile_xgboost,
    "catboost json": compile_catboost,
    "catboost cbm": compile_catboost,
}
KNOWN: dict[str, bytes] = {}


def model_bytes(form: str) -> bytes:
    """A small model of a format, made once."""
    if form not in KNOWN:
        x, y = rows_and_target(4, True, 0)
        if form == "lightgbm":
            options = {"verbose": -1, "num_threads": 1, "num_leaves": 5, "min_data_in_leaf": 5, "min_data_per_group": 3}  # fmt: skip
            data = lightgbm.Dataset(x, y, categorical_feature=[3])
            KNOWN[form] = lightgbm.train(options, data, 3).model_to_string().encode()
        elif form.startswith("xgboost"):
            booster = xgboost.train({"max_depth": 3, "nthread": 1}, xgboost.DMatrix(x, y), 3)
            KNOWN[form] = bytes(booster.save_raw(form.split()[1]))
        else:
            options = {"iterations": 3, "depth": 3, "thread_count": 1, "verbose": 0}
            model = catboost.CatBoost(options | {"allow_writing_files": False})
            KNOWN[form] = saved(model.fit(x, y), form.split()[1])
    return KNOWN[form]


def saved(model: Any, form: str) -> bytes:
    """A CatBoost model's file."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        model.save_model(f"{folder}/model", format=form)
        return (Path(folder) / "model").read_bytes()


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The bytes with some changed, removed, repeated or cut off."""
    raw = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        if not raw:
            break
        at, way = rng.randrange(len(raw)), rng.randrange(6)
        if way == 0:
            raw[at] = rng.randrange(256)
        elif way == 1:
            raw[at] = rng.choice(b"0123456789-.e,[]{} ")
        elif way == 2:
            del raw[at : at + rng.randint(1, 20)]
        elif way == 3:
            raw[at:at] = raw[at : at + rng.randint(1, 20)]
        elif way == 4:
            raw[at : at + rng.randint(0, 3)] = rng.choice(
                [b"-1", b"99999999999", b"1e999", b"nan", b"\xff" * 8]
            )
        elif rng.random() < 0.3:
            del raw[at:]
    return bytes(raw)


def fuzz(form: str, count: int, seed: int = 0) -> int:
    """Import so many mutations; whatever compiles is scored too. Returns how many compiled; other errors pass through."""
    rng, data, compiled = random.Random(seed), model_bytes(form), 0
    rows = np.array([[0.0, 1.0, -1.0, 3.0], [np.nan, -1e30, 1e30, 1e-36]])
    for _ in range(count):
        try:
            model = COMPILERS[form](mutated(data, rng))
            if model.facts.n_features <= 4:
                pack = TreesPack.join([model])
                with np.errstate(all="ignore"):
                    pack.score(np.array([0, 2]), rows, "predict")
            compiled += 1
        except ModelError as error:
            assert error.code in ("corrupt_model", "unsupported_model")
    return compiled


@pytest.mark.parametrize("form", ["lightgbm", "xgboost json", "xgboost ubj", "catboost json"])
def test_mutated_files_end_in_a_named_error_or_a_model(form: str) -> None:
    """Three hundred mutations of a file of each format raise ModelError, or compile and score."""
    assert fuzz(form, 300) < 300


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("form", ["lightgbm", "xgboost json", "xgboost ubj", "catboost json"])
def test_ten_thousand_mutations_stay_within_bounds(form: str) -> None:
    """Ten thousand mutations of each format end without a crash, within half a gigabyte above the libraries' own memory."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_booster_packs as t\n"
        "def peak_kb():  # ru_maxrss is inherited from the process that started this one\n"
        "    return int(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])\n"
        "t.fuzz(sys.argv[2], 5); before = peak_kb()\n"
        "t.fuzz(sys.argv[2], 10_000, seed=1)\n"
        "print(peak_kb() - before)"
    )
    folder = __file__.rpartition("/")[0]
    done = subprocess.run([sys.executable, "-c", code, folder, form], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[-1]) < 512 * 1024


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_mutations_of_cbm_end_in_their_own_process() -> None:
    """CatBoost's native reader of cbm may die of a file; in a process of its own, as importers use, each of 300 has an outcome.

    Python itself raises nothing but ModelError. A process for each file takes too long for more.
    """
    rng, data = random.Random(2), model_bytes("catboost cbm")
    outcomes = [forked_outcome(mutated(data, rng)) for _ in range(300)]
    assert outcomes.count("corrupt") > 100
    assert "unexpected" not in outcomes


def forked_outcome(data: bytes) -> str:
    """What becomes of a cbm file in a process of its own."""
    child = os.fork()
    if child == 0:
        faulthandler.disable()
        signal.alarm(30)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            compile_catboost(data)
            os._exit(0)
        except ModelError:
            os._exit(1)
        except BaseException:
            os._exit(2)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return "died"
    return ("compiled", "corrupt", "unexpected")[os.WEXITSTATUS(status)]
