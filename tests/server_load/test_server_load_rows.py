"""Mini-batches of rows."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier

from fleetscore.errors import InputError
from fleetscore.models.model_sets import write_model_set
from fleetscore.models.pins import Pins, pin_version, read_pins
from fleetscore.store.local import LocalStore
from fleetscore.workloads.server_load.features import ALL_FEATURES, FEATURES, HISTORY, WEEKLY_FEATURES
from fleetscore.workloads.server_load.labels import CLASSES
from fleetscore.workloads.server_load.trees import (
    ModelFacts,
    Trees,
    dump_trees,
    load_trees,
    pack_forest,
    predict,
)
from fleetscore.workloads.server_load.workload import ServerLoad

PAYLOAD: dict[str, Any] = {
    name: 100.0 + n for n, name in enumerate(HISTORY) if name != "peakLoadSameHour7"
} | {
    "key": "210.181.165.92_2016-06-29 01:00:00",
    "ServerIP": "210.181.165.92",
    "SessionStartHourTime": "2016-06-29 01:00:00",
    "year": 2016,
    "month": 6,
    "weekofyear": 26,
    "dayofmonth": 1,
    "dayofweek": "Wednesday",
    "hourofday": 1,
    "Holiday": 0,
    "BusinessHour": 0,
    "Morning": 0,
    "linearTrend": 0,
}
"""A row with the fields that clients of the original service send; its dayofmonth is the hour, as theirs is."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> tuple[LocalStore, Pins]:
    """A store with a pinned model."""
    random = np.random.default_rng(0)
    features = random.normal(200, 150, (500, len(FEATURES)))
    features[random.random(features.shape) < 0.1] = np.nan
    labels = random.integers(0, 3, 500)
    model = RandomForestClassifier(100, max_depth=8, random_state=0).fit(features, labels)
    store = LocalStore(tmp_path_factory.mktemp("served"))
    data = dump_trees(pack_forest(model, ModelFacts("forest", FEATURES, 100.0, 500.0, "US")))
    version = write_model_set(store, "server_load", {"model.npz": data}, {}).version
    pin_version(store, "server_load", version)
    return store, read_pins(store, "server_load")


def _ask(served: tuple[LocalStore, Pins], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return ServerLoad().score_rows(*served, rows)


def test_reference_payload_is_answered_in_full(served: tuple[LocalStore, Pins]) -> None:
    """Every row gets its key, class, three probabilities and model; a calendar field that is wrong is told and corrected."""
    second = PAYLOAD | {"SessionStartHourTime": "2016-06-29 02:00:00", "hourofday": 2, "dayofmonth": 29}
    first, other = _ask(served, [PAYLOAD, second])
    assert first["key"] == PAYLOAD["key"]
    assert first["load_class"] in ("low", "medium", "high")
    assert sum(first[f"p_{name}"] for name in ("low", "medium", "high")) == pytest.approx(1.0)
    assert first["model"] == served[1].current
    assert first["warnings"] == ["dayofmonth was 1; 29, by SessionStartHourTime, was used."]
    assert other["warnings"] == []


def test_rows_are_scored_as_runs_score_them(served: tuple[LocalStore, Pins]) -> None:
    """The answer is the model's for the feature vector in training order, whatever the order of the row's fields."""
    store, pins = served
    trees = load_trees(store.read(f"models/server_load/{pins.current}/model.npz"))
    history = [PAYLOAD.get(name, np.nan) for name in HISTORY]
    (hour,) = np.array(["2016-06-29T01"], "datetime64[h]").astype(int)
    (origin,) = np.array(["2009-01-01T00"], "datetime64[h]").astype(int)
    calendar = [2016, 6, 26, 29, 1, 2, 0, 0, 0, (hour - origin) / (24 * 365.25)]
    expected = predict(trees, np.array([[*calendar, *history]]))[0]
    for row in (PAYLOAD, dict(reversed(PAYLOAD.items()))):
        (answer,) = _ask(served, [row])
        assert [answer["p_low"], answer["p_medium"], answer["p_high"]] == expected.tolist()


def test_csv_texts_answer_like_numbers(served: tuple[LocalStore, Pins]) -> None:
    """Rows whose cells are all texts, as CSV gives them, get the same answers; an empty cell is a missing value."""
    bare = {"ServerIP": "10.0.0.1", "SessionStartHourTime": "2016-06-29 01:00:00"}
    texts = {name: str(value) for name, value in PAYLOAD.items()} | {"peakLoadSameHour7": ""}
    assert _ask(served, [texts])[0]["p_low"] == _ask(served, [PAYLOAD])[0]["p_low"]
    assert _ask(served, [bare])[0]["missing_features"] == len(HISTORY)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ServerIP", "IPs"),
        ("ServerIP", None),
        ("SessionStartHourTime", "2016-06-29 01:30:00"),
        ("SessionStartHourTime", "2016-06-29 01:00:01"),
        ("SessionStartHourTime", 17),
        ("peakLoadLag48", "abc"),
        ("peakLoadLag48", float("nan")),
        ("peakLoadLag48", "inf"),
        ("peakLoadLag48", True),
        ("peakLoadLag48", [1]),
        ("peakLoadLag48", 10**400),
        ("dayofweek", {"a": 1}),
        ("peakloadlag48", 1),
    ],
)
def test_bad_fields_are_named(served: tuple[LocalStore, Pins], field: str, value: object) -> None:
    """A value that cannot be used, or a field that does not exist, is an error that names its row and field."""
    with pytest.raises(InputError) as caught:
        _ask(served, [PAYLOAD, PAYLOAD | {field: value}])
    assert caught.value.field == f"rows[1].{field}"
    assert caught.value.message.startswith("Row 1")


_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(
    st.lists(
        st.dictionaries(st.sampled_from(sorted(PAYLOAD)) | st.text(max_size=5), _VALUE, max_size=8),
        max_size=3,
    )
)
@settings(max_examples=120, deadline=None)
def test_any_rows_are_answered_or_refused(
    served: tuple[LocalStore, Pins], changes: list[dict[str, Any]]
) -> None:
    """Whatever JSON brings, the outcome is an answer per row or an InputError, never another exception."""
    rows = [PAYLOAD | change for change in changes]
    try:
        answers = _ask(served, rows)
    except InputError:
        return
    assert len(answers) == len(rows)


@pytest.mark.parametrize(
    ("names", "needed"), [(ALL_FEATURES, "expectedLevel"), (WEEKLY_FEATURES, "expectedLoad")]
)
def test_a_row_that_a_model_of_quantiles_cannot_tell_apart_is_warned_of(
    tmp_path: Path, names: tuple[str, ...], needed: str
) -> None:
    """A row with lags alone gets equal chances and a warning that names the field; with the field it gets a class."""
    one = np.ones(1, np.int64)
    leaf = (np.array([-np.inf]), 0 * one, np.zeros((1, 1)), 0 * one, 0 * one, np.array([0.0, 0.1, 0.0]), one)
    trees = Trees(ModelFacts("load", names, 100.0, 500.0, "US"), *leaf)
    store = LocalStore(tmp_path)
    version = write_model_set(store, "server_load", {"model.npz": dump_trees(trees)}, {}).version
    pin_version(store, "server_load", version)
    lags = PAYLOAD | {"dayofmonth": 29}
    without, told = _ask((store, read_pins(store, "server_load")), [lags, lags | {needed: np.log1p(900.0)}])
    assert [without[f"p_{name}"] for name in CLASSES] == pytest.approx([1 / 3] * 3)
    assert [text.split(" is missing")[0] for text in without["warnings"]] == [needed]
    assert told["load_class"] == "high"
    assert told["warnings"] == []


def test_no_pinned_model_is_said(served: tuple[LocalStore, Pins]) -> None:
    """Without a pinned model set the request is refused with what to do."""
    with pytest.raises(InputError) as caught:
        _ask((served[0], Pins()), [PAYLOAD])
    assert caught.value.code == "no_model"


def test_hundred_rows_are_quick(served: tuple[LocalStore, Pins]) -> None:
    """A hundred rows take a few milliseconds of the processor once the model is warm."""
    rows = [PAYLOAD] * 100
    _ask(served, rows)
    times = []
    for _ in range(15):
        begun = time.thread_time()
        _ask(served, rows)
        times.append(time.thread_time() - begun)
    assert min(times) < 0.03
