"""Every format is imported from a file, proven against its own library, and answers as that does."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import catboost
import joblib
import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier

from fleetscore.models.importers.folder import Imported, ImportOptions, import_models
from fleetscore.models.packs.bundle import pack_models
from fleetscore.models.packs.families import pack_class
from fleetscore.models.packs.library import trusted_models
from fleetscore.models.packs.shard_scoring import score_shard

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(500),
    pytest.mark.usefixtures("shared_import_process"),
]

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 4)).astype(np.float32).astype(np.float64)
Y = X @ RNG.normal(size=4)
LABELS = np.array(["high", "low", "mid"])[np.digitize(Y, [-1.0, 1.0])]
LIGHTGBM = {"n_estimators": 5, "verbose": -1, "n_jobs": 1}
XGBOOST = {"n_estimators": 5, "n_jobs": 1}
CATBOOST = {"iterations": 5, "verbose": 0, "allow_writing_files": False, "thread_count": 1}


def write_all(folder: Path) -> dict[str, Any]:
    """A file of each format, and what its library predicts."""
    lgb = lightgbm.LGBMRegressor(**LIGHTGBM).fit(X, Y)
    xgb = xgboost.XGBRegressor(**XGBOOST).fit(X, Y)
    cat = catboost.CatBoostRegressor(**CATBOOST).fit(X, Y)
    lgb.booster_.save_model(folder / "lightgbm.txt")
    for suffix in ("json", "ubj"):
        xgb.save_model(folder / f"xgboost-{suffix}.{suffix}")
    for suffix in ("json", "cbm"):
        cat.save_model(str(folder / f"catboost-{suffix}.{suffix}"), format=suffix)
    pickled = {
        "lightgbm-classifier": lightgbm.LGBMClassifier(**LIGHTGBM).fit(X, LABELS),
        "xgboost-classifier": xgboost.XGBClassifier(**XGBOOST).fit(X, Y > 0),
        "catboost-classifier": catboost.CatBoostClassifier(**CATBOOST).fit(X, LABELS),
        "forest": RandomForestClassifier(5, random_state=0).fit(X, LABELS),
        "histogram": HistGradientBoostingRegressor(max_iter=5).fit(X, Y),
    }
    for name, model in pickled.items():
        joblib.dump(model, folder / f"{name}.joblib")
    expected = {name: np.asarray(model.predict(X)).reshape(-1) for name, model in pickled.items()}
    return expected | {
        "lightgbm": lgb.predict(X),
        "xgboost-json": xgb.predict(X),
        "xgboost-ubj": xgb.predict(X),
        "catboost-json": cat.predict(X),
        "catboost-cbm": cat.predict(X),
    }


def answers(one: Imported) -> np.ndarray:
    """What the pack of an imported model predicts, with classes in place of their positions."""
    assert one.model is not None
    pack = pack_class(one.model.family).join([one.model])
    found = pack.score(np.array([0, len(X)]), X, "predict")[:, 0]
    facts = one.model.facts
    return np.array(facts.classes)[found.astype(int)] if "predict" in facts.label_methods else found


def test_every_format_answers_as_its_library_does(tmp_path: Path) -> None:
    """Files of boosters and pickles of wrappers and forests become packs of trees that predict the same."""
    expected = write_all(tmp_path)
    found = {
        one.key: one for one in import_models(tmp_path, options=ImportOptions(trusted=True, processes=1))
    }
    assert {key: str(one.refusal) for key, one in found.items() if one.refusal} == {}
    assert found.keys() == expected.keys()
    for key, one in found.items():
        assert one.card["family"] == "trees", key
        assert np.array_equal(answers(one), expected[key]), key
        assert one.card["versions"], key


@pytest.mark.slow
def test_mutated_files_of_every_format_end_in_an_outcome(tmp_path: Path) -> None:
    """Each format with a changed byte or a cut: a refusal with a code, or a proven model, for each of the files."""
    source, folder = tmp_path / "whole", tmp_path / "damaged"
    source.mkdir()
    folder.mkdir()
    write_all(source)
    rng = random.Random(1)
    for path in sorted(source.iterdir()):
        for number in range(3):
            data = bytearray(path.read_bytes())
            if number == 0:
                del data[rng.randrange(len(data)) :]
            else:
                data[rng.randrange(len(data))] ^= rng.randrange(1, 256)
            (folder / f"{path.stem}-{number}{path.suffix}").write_bytes(data)
    results = list(import_models(folder, options=ImportOptions(trusted=True, processes=1)))
    assert len(results) == 3 * len(list(source.iterdir()))
    for one in results:
        assert (one.model is None) != (one.refusal is None)
        assert one.proof.equal if one.proof else one.refusal and one.refusal.code


def test_what_no_pack_takes_stays_in_its_library_where_it_is_trusted(tmp_path: Path) -> None:
    """A model of neighbours is kept as its pickle, counted as slow, refused where nothing is trusted, and scored where it is."""
    model = KNeighborsClassifier(3).fit(X, LABELS)
    joblib.dump(model, tmp_path / "a.joblib")
    (one,) = import_models(tmp_path, options=ImportOptions(trusted=True, processes=1))
    assert one.model is not None, str(one.refusal)
    assert one.card["family"] == "library"
    bundle = pack_models([(one.key, one.model)])
    assert bundle.families() == {"library": 1}
    columns = {str(at): X[:, at] for at in range(4)}
    refused = score_shard(bundle, ["a"], np.array([0, len(X)]), columns, features=tuple(columns))
    assert refused.errors[0].code == "untrusted_pickle"
    with trusted_models():
        scored = score_shard(bundle, ["a"], np.array([0, len(X)]), columns, features=tuple(columns))
    assert scored.labels().tolist() == model.predict(X).tolist()


def test_mlflow_folders_are_read_without_mlflow(tmp_path: Path) -> None:
    """A folder's file is imported by its content and flavour; one that names a file outside itself, or no known flavour, is refused."""
    lgb = lightgbm.LGBMRegressor(**LIGHTGBM).fit(X, Y)
    for name, said in (
        (
            "good",
            "flavors:\n  lightgbm:\n    data: model.lgb\n    lgb_version: 4.7.0\n  python_function: {}\n",
        ),
        ("outside", "flavors:\n  sklearn:\n    pickled_model: ../../secret.pkl\n"),
        ("other", "flavors:\n  prophet: {}\n"),
        ("broken", "flavors: [\n"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "MLmodel").write_text(said)
        lgb.booster_.save_model(tmp_path / name / "model.lgb")
    found = {one.name: one for one in import_models(tmp_path, ["{van_id}"])}
    assert np.array_equal(answers(found["good"]), lgb.predict(X))
    assert found["good"].card["versions"]["mlflow lgb_version"] == "4.7.0"
    codes = {name: one.refusal.code for name, one in found.items() if one.refusal}
    assert codes == {"outside": "unsafe_path", "other": "unsupported_model", "broken": "unreadable_model"}
