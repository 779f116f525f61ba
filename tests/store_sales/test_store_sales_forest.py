"""The packed forest and its scorer: bit for bit LightGBM's predict, and a format that holds data only."""

import io
import pickle
from typing import Any

import lightgbm
import numpy as np
import pytest

from fleetscore.errors import ModelError
from fleetscore.workloads.store_sales.contract import QUANTILES
from fleetscore.workloads.store_sales.forest import (
    Forest,
    forest_arrays,
    forest_of_arrays,
    join_forests,
    make_scorer,
    parse_lightgbm,
    predict,
)
from fleetscore.workloads.store_sales.model_file import (
    FIRST_METHOD,
    Fallback,
    QuantileModel,
    pack_arrays,
    pack_model,
    unpack_arrays,
    unpack_model,
)

PARAMETERS = {
    "objective": "quantile",
    "verbose": -1,
    "num_threads": 1,
    "use_missing": False,
    "deterministic": True,
}


def fit(
    rows: int = 3000, rounds: int = 20, seed: int = 0, **parameters: Any
) -> tuple[lightgbm.Booster, np.ndarray]:
    random = np.random.default_rng(seed)
    x = np.stack(
        [
            random.normal(size=rows),
            random.integers(0, 3, rows) / 1.0,
            random.random(rows) * 1e-3,
            np.zeros(rows),
        ],
        axis=1,
    )
    y = x[:, 0] ** 2 + x[:, 1] + random.normal(size=rows) * (1 + x[:, 1])
    booster = lightgbm.train(PARAMETERS | {"num_leaves": 16} | parameters, lightgbm.Dataset(x, y), rounds)
    return booster, x


def thresholds(booster: lightgbm.Booster) -> np.ndarray:
    """Rows that lie exactly on, just below and just above every threshold."""
    frame = booster.trees_to_dataframe().dropna(subset=["threshold"])
    rows = []
    for feature, threshold in zip(frame["split_feature"], frame["threshold"], strict=True):
        for value in (threshold, np.nextafter(threshold, -np.inf), np.nextafter(threshold, np.inf)):
            row = np.zeros(4)
            row[int(feature.removeprefix("Column_"))] = value
            rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize("leaves", [2, 3, 8, 16])
def test_scores_equal_lightgbm_bit_for_bit(leaves: int) -> None:
    """The bit-mask scorer gives LightGBM's raw scores in every bit, also on and next to every threshold."""
    booster, x = fit(num_leaves=leaves, alpha=0.9)
    rows = np.concatenate(
        [x, thresholds(booster), [[np.inf, -np.inf, 1e308, -1e308], [-0.0, 0.0, 5e-324, 0.0]]]
    )
    ours = predict(make_scorer(parse_lightgbm(booster.model_to_string())), rows.T)
    assert np.array_equal(ours[0], booster.predict(rows))


def test_several_forests_are_scored_together() -> None:
    """Forests joined into one give each its own scores, for any number of rows."""
    boosters = [fit(alpha=q, num_leaves=6, rounds=5)[0] for q in QUANTILES]
    scorer = make_scorer(join_forests([parse_lightgbm(b.model_to_string()) for b in boosters]))
    x = np.random.default_rng(1).normal(size=(1025, 4))
    for rows in (0, 1, 255, 256, 257, 1025):
        expected = np.stack([b.predict(x[:rows]) if rows else np.empty(0) for b in boosters])
        assert np.array_equal(predict(scorer, x[:rows].T), expected)


def test_many_thresholds_take_two_bytes() -> None:
    """A feature with more than 255 thresholds is encoded in two bytes, and scored exactly as well."""
    booster, x = fit(rounds=150, max_bin=2000, min_data_in_leaf=5, min_data_in_bin=1)
    scorer = make_scorer(parse_lightgbm(booster.model_to_string()))
    assert scorer.wide
    assert np.array_equal(predict(scorer, x.T)[0], booster.predict(x))


def test_trees_without_a_split_are_scored() -> None:
    """A target without variation gives trees of one leaf; they count as well."""
    data = lightgbm.Dataset(np.zeros((100, 2)), np.full(100, 3.5))
    booster = lightgbm.train(PARAMETERS, data, 3)
    forest = parse_lightgbm(booster.model_to_string())
    assert np.array_equal(
        predict(make_scorer(forest), np.zeros((2, 5)))[0], booster.predict(np.zeros((5, 2)))
    )


def test_models_that_the_scorer_does_not_know_are_refused() -> None:
    """Too many leaves, and NaN treated apart, are refused with what to do, not scored wrongly."""
    with pytest.raises(ModelError, match="32 leaves"):
        parse_lightgbm(fit(num_leaves=32)[0].model_to_string())
    random = np.random.default_rng(0)
    x = random.normal(size=(500, 2))
    x[::3, 0] = np.nan
    booster = lightgbm.train(
        PARAMETERS | {"use_missing": True}, lightgbm.Dataset(x, random.normal(size=500)), 3
    )
    with pytest.raises(ModelError, match="missing values"):
        parse_lightgbm(booster.model_to_string())


def a_model() -> QuantileModel:
    forests = [parse_lightgbm(fit(alpha=q, num_leaves=4, rounds=3)[0].model_to_string()) for q in QUANTILES]
    fallback = Fallback(np.array(["", "a"]), np.arange(20.0).reshape(2, 2, 5))
    return QuantileModel(join_forests(forests), np.array([-0.1, 0, 0, 0, 0.1]), fallback, 13)


def test_a_model_survives_packing() -> None:
    """What is unpacked scores as what was packed; packing twice gives the same bytes."""
    model = a_model()
    data = pack_model(model)
    assert pack_model(model) == data
    again = unpack_model(data)
    x = np.random.default_rng(2).normal(size=(4, 100))
    assert np.array_equal(predict(make_scorer(again.forest), x), predict(make_scorer(model.forest), x))
    assert np.array_equal(again.widening, model.widening)


def test_a_pickle_is_refused_unread() -> None:
    """Bytes that would execute code when unpickled are refused, alone and inside an archive."""

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (pytest.fail, ("the pickle was executed",))

    buffer = io.BytesIO()
    np.savez(buffer, features=np.array([Bomb()], object))
    for data in (pickle.dumps(Bomb()), buffer.getvalue(), b"", b"PK\x03\x04 torn"):
        with pytest.raises(ModelError, match="plain arrays"):
            unpack_model(data)


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("feature", lambda a: a + 9),
        ("feature", lambda a: a.astype(np.int32)),
        ("threshold", lambda a: a[:, :3]),
        ("threshold", lambda a: np.where(np.isinf(a), np.nan, a)),
        ("stays", lambda a: a & np.uint16(0x7FFF)),
        ("value", lambda a: np.full_like(a, np.inf)),
        ("first_tree", lambda a: a[::-1].copy()),
        ("first_tree", lambda a: a + 1),
    ],
)
def test_arrays_out_of_bounds_are_refused(name: str, spoil: Any) -> None:
    """A forest that would make the scorer read where nothing is, or give nonsense, is refused when it is loaded."""
    arrays = forest_arrays(a_model().forest)
    arrays[name] = spoil(arrays[name])
    with pytest.raises(ModelError) as caught:
        forest_of_arrays(arrays)
    assert caught.value.code == "corrupt_model"


def test_a_file_without_its_arrays_is_refused() -> None:
    """An archive that lacks an array, or has another number of quantiles, is no model; one without a method was
    written before there were two.
    """
    arrays = unpack_arrays(pack_model(a_model()))
    old = {name: array for name, array in arrays.items() if name != "method"}
    assert unpack_model(pack_arrays(old)).method == FIRST_METHOD
    for name in old:
        with pytest.raises(ModelError):
            unpack_model(pack_arrays({n: a for n, a in arrays.items() if n != name}))
    with pytest.raises(ModelError, match="five quantiles"):
        unpack_model(pack_arrays(arrays | {"widening": np.zeros(4)}))


def test_forests_over_other_features_are_not_joined() -> None:
    """Forests that read different features cannot be scored together."""
    forest = parse_lightgbm(fit(rounds=2)[0].model_to_string())
    other = Forest(
        ("x",) * 4, forest.first_tree, forest.feature, forest.threshold, forest.stays, forest.value
    )
    with pytest.raises(ModelError, match="different features"):
        join_forests([forest, other])
