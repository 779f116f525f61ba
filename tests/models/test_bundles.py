"""A model set's packs by key: stored, opened, joined, and scoring a shard block by block."""

from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from fleetscore.errors import FleetscoreError, ModelError, StoreError
from fleetscore.models.importers.estimators import compile_estimator
from fleetscore.models.packs import bundle as bundles
from fleetscore.models.packs.bundle import (
    INDEX_FILE,
    Bundle,
    count_changes,
    join_bundles,
    open_bundle,
    pack_models,
)
from fleetscore.models.packs.shard_scoring import find_taken, score_shard

NAMES = ("speed", "load", "temperature")


def named(x: np.ndarray, names: tuple[str, ...]) -> Any:
    import pandas as pd

    return pd.DataFrame(x, columns=list(names))


@cache
def fitted(seed: int, names: tuple[str, ...] = NAMES) -> Any:
    """A random model that knows its features by name, of one of three kinds."""
    rng = np.random.default_rng(seed)
    x = named(rng.normal(size=(40, len(names))), names)
    y = x.to_numpy() @ rng.normal(size=len(names)) + rng.normal(size=40)
    kind = (Ridge(), LogisticRegression(), OneClassSVM(nu=0.3))[seed % 3]
    return make_pipeline(StandardScaler(), kind).fit(x, y > 0 if seed % 3 == 1 else y)


def stored(bundle: Bundle) -> Bundle:
    """The bundle through its files."""
    files = dict(bundle.files())
    return open_bundle(files.__getitem__)


@given(
    keys=st.lists(st.integers(0, 11), min_size=1, max_size=30),
    rows=st.lists(st.integers(0, 40), min_size=30, max_size=30),
)
@settings(max_examples=15, deadline=None)
def test_blocks_in_any_order_are_scored_by_their_models(keys: list[int], rows: list[int]) -> None:
    """Blocks of any keys, sizes and order, repeated keys too, get what their own models answer, whatever else is in the shard."""
    models = {f"van {seed}": fitted(seed, NAMES[: 2 + seed % 2]) for seed in range(12)}
    bundle = stored(pack_models((key, compile_estimator(model)) for key, model in models.items()))
    offsets = np.concatenate([[0], np.cumsum(rows[: len(keys)])]).astype(np.int64)
    table = np.random.default_rng(1).normal(size=(int(offsets[-1]), 3))
    columns = dict(zip(NAMES, table.T, strict=True))
    blocks = [f"van {key}" for key in keys]
    found = score_shard(bundle, blocks, offsets, columns)
    assert not found.errors
    labels = found.labels()
    for at, key in enumerate(blocks):
        part = slice(offsets[at], offsets[at + 1])
        if offsets[at] == offsets[at + 1]:
            continue
        model = models[key]
        want = model.predict(named(table[part, : model.n_features_in_], tuple(model.feature_names_in_)))
        if keys[at] % 3:
            assert labels[part].tolist() == want.tolist()
        else:
            assert np.allclose(found.values[part, 0], want, rtol=1e-12)


def test_a_block_that_cannot_be_scored_costs_no_other() -> None:
    """An unknown key, missing features and rows that a model refuses are errors of their own blocks."""
    bundle = pack_models(
        [
            ("a", compile_estimator(fitted(0))),
            ("b", compile_estimator(fitted(3))),
            ("c", compile_estimator(fitted(6, ("other",)))),
        ]
    )
    table = np.ones((40, 3))
    table[13, 1] = np.nan
    columns = dict(zip(NAMES, table.T, strict=True))
    found = score_shard(bundle, ["a", "b", "c", "d"], np.arange(0, 41, 10), columns)
    assert {at: error.code for at, error in found.errors.items()} == {
        1: "bad_input",
        2: "feature_mismatch",
        3: "no_model",
    }
    assert "load" in str(found.errors[1])
    assert "other" in str(found.errors[2])
    assert np.isfinite(found.values[:10]).all()
    assert np.isnan(found.values[10:]).all()


def test_models_without_names_take_the_features_of_the_settings_in_order() -> None:
    """A model that names no features reads those that it is told, and is refused where their number differs."""
    x = np.random.default_rng(0).normal(size=(30, 2))
    model = Ridge().fit(x, x @ [2.0, -1.0])
    bundle = pack_models([("", compile_estimator(model))])
    columns = {"p": x[:, 0], "q": x[:, 1]}
    found = score_shard(bundle, [""], np.array([0, 30]), columns, features=("p", "q"))
    assert np.allclose(found.values[:, 0], model.predict(x), rtol=1e-12)
    refused = score_shard(bundle, [""], np.array([0, 30]), columns, features=("p",))
    assert refused.errors[0].code == "feature_mismatch"


def test_large_sets_are_cut_into_packs_and_read_as_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packs are closed at a number of models, and a shard reads only those that hold its keys."""
    monkeypatch.setattr(bundles, "PACK_MODELS", 4)
    files = dict(pack_models((f"van {at}", compile_estimator(fitted(3 * at))) for at in range(10)).files())
    assert len(files) == 4
    read: list[str] = []

    def reader(name: str) -> bytes:
        read.append(name)
        return files[name]

    bundle = open_bundle(reader)
    assert len(bundle) == 10
    score_shard(bundle, ["van 9"], np.array([0, 1]), {name: np.ones(1) for name in NAMES})
    assert len(read) == 2


def test_packs_beyond_the_bound_are_let_go_and_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard of more models than may be open at once gets the same results; what was used last stays open."""
    monkeypatch.setattr(bundles, "PACK_MODELS", 2)
    keys = [f"van {at}" for at in range(18)]
    files = dict(pack_models((key, compile_estimator(fitted(at))) for at, key in enumerate(keys)).files())
    columns = {name: np.random.default_rng(1).normal(size=90) for name in NAMES}
    offsets = np.arange(0, 91, 5)
    free = score_shard(open_bundle(files.__getitem__), keys, offsets, columns)
    largest = max(len(data) for name, data in files.items() if name.endswith(".bin"))
    monkeypatch.setattr(bundles, "OPENED_BYTES", 2 * largest)
    bounded = open_bundle(files.__getitem__)
    for _ in range(2):
        found = score_shard(bounded, keys, offsets, columns)
        assert np.array_equal(found.values, free.values) and found.facts == free.facts
        assert sum(bounded.sizes.values()) <= 2 * largest
        assert bounded.opened.keys() == bounded.sizes.keys()


def test_packs_that_are_open_are_scored_before_others_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scoring a set again reads only the packs that had to be let go, not all of them in turn."""
    monkeypatch.setattr(bundles, "PACK_MODELS", 1)
    keys = [f"van {at}" for at in range(6)]
    files = dict(pack_models((key, compile_estimator(fitted(3 * at))) for at, key in enumerate(keys)).files())
    read: list[str] = []

    def reader(name: str) -> bytes:
        read.append(name)
        return files[name]

    largest = max(len(data) for name, data in files.items() if name.endswith(".bin"))
    monkeypatch.setattr(bundles, "OPENED_BYTES", 4 * largest)
    bundle = open_bundle(reader)
    columns = {name: np.ones(6) for name in NAMES}
    for _ in range(3):
        score_shard(bundle, keys, np.arange(7), columns)
    assert len(read) == 1 + 6 + 2 + 2


def test_features_are_known_without_opening_a_pack() -> None:
    """The index says what the models of each pack take; where an earlier version wrote it, the pack is opened once."""
    models = {"a": fitted(0), "b": fitted(1, NAMES[:2]), "c": fitted(2)}
    files = dict(pack_models((key, compile_estimator(model)) for key, model in models.items()).files())
    read: list[str] = []

    def reader(name: str) -> bytes:
        read.append(name)
        return files[name]

    bundle = open_bundle(reader)
    taken = find_taken(bundle, ["c", "b", "a"], NAMES, NAMES, NAMES)
    assert taken.tolist() == [[True] * 3, [True, True, False], [True] * 3]
    assert read == [bundles.INDEX_FILE]
    table = pa.ipc.open_file(files[bundles.INDEX_FILE]).read_all()
    files[bundles.INDEX_FILE] = index_bytes(table, {b"packs": table.schema.metadata[b"packs"]})
    earlier = open_bundle(reader)
    for _ in range(2):
        assert find_taken(earlier, ["c", "b", "a"], NAMES, NAMES, NAMES).tolist() == taken.tolist()
    assert len(read) == 2 + len(bundle.names)


def index_bytes(table: pa.Table, metadata: dict[bytes, bytes]) -> bytes:
    """An index with that metadata."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema.with_metadata(metadata)) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b'[{"feature_names":["speed"],"n_features":1}]', "takes other features than"),
        (b"[]", "names the features of 0 packs of 1"),
        (b'[{"feature_names":1}]', "cannot be read"),
        (b"\xff", "cannot be read"),
    ],
)
def test_an_index_that_says_other_features_is_refused(said: bytes, reason: str) -> None:
    """Features that do not fit the pack, or cannot be read, are a corrupt set, named as such."""
    files = dict(pack_models([("a", compile_estimator(fitted(0)))]).files())
    table = pa.ipc.open_file(files[bundles.INDEX_FILE]).read_all()
    metadata = {b"packs": table.schema.metadata[b"packs"], b"features": said}
    files[bundles.INDEX_FILE] = index_bytes(table, metadata)
    with pytest.raises(ModelError, match=reason) as caught:
        open_bundle(files.__getitem__).pack(0)
    assert caught.value.code == "corrupt_model"


def test_threads_share_a_bundle_whose_packs_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight threads that score at once, with room for one pack, all get the right results."""
    monkeypatch.setattr(bundles, "PACK_MODELS", 2)
    keys = [f"van {at}" for at in range(12)]
    files = dict(pack_models((key, compile_estimator(fitted(at))) for at, key in enumerate(keys)).files())
    columns = {name: np.random.default_rng(1).normal(size=60) for name in NAMES}
    offsets = np.arange(0, 61, 5)
    expected = score_shard(open_bundle(files.__getitem__), keys, offsets, columns).values
    monkeypatch.setattr(bundles, "OPENED_BYTES", 1)
    shared = open_bundle(files.__getitem__)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: score_shard(shared, keys, offsets, columns).values, range(40)))
    assert all(np.array_equal(each, expected) for each in found)


def test_added_models_replace_their_keys_and_keep_the_others() -> None:
    """Joining sets keeps what the second lacks; the counts say what is replaced, new and kept; a repeated key is refused."""
    first = pack_models([("a", compile_estimator(fitted(0))), ("b", compile_estimator(fitted(3)))])
    second = pack_models([("b", compile_estimator(fitted(6))), ("c", compile_estimator(fitted(9)))])
    assert count_changes(first, second) == {"replaced": 1, "new": 1, "kept": 1}
    both = stored(join_bundles(stored(first), second))
    assert sorted(both.keys.to_pylist()) == ["a", "b", "c"]
    assert np.array_equal(both.model("b").arrays["weights"], second.model("b").arrays["weights"])
    with pytest.raises(ModelError, match="Two models"):
        pack_models([("a", first.model("a")), ("a", first.model("a"))])
    with pytest.raises(ModelError, match="no_such"):
        both.model("no_such")


@pytest.mark.parametrize("place", [-(2**31), -1, 3, 2**31 - 1])
def test_a_place_that_the_pack_does_not_have_is_a_named_error(place: int) -> None:
    """A damaged place in the index is an error of the set, or of the key that stands there; no other model answers for it."""
    table = pa.ipc.open_file(pa.BufferReader(FILES[INDEX_FILE])).read_all()
    places = pa.array([0, place, 2], pa.int32())
    damaged = table.set_column(2, table.schema.field("place"), places)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, damaged.schema) as writer:
        writer.write_table(damaged)
    with pytest.raises(ModelError) as caught:
        open_bundle(lambda name: sink.getvalue() if name == INDEX_FILE else FILES[name]).model("b")
    assert caught.value.code == "corrupt_model"


def test_names_of_packs_that_are_no_text_are_a_named_error() -> None:
    """A damaged byte among the index's names of packs gives ModelError, as any other damage of it does."""
    table = pa.ipc.open_file(pa.BufferReader(FILES[INDEX_FILE])).read_all()
    damaged = table.replace_schema_metadata(dict(table.schema.metadata) | {b"packs": b"\xf0acks/0.npz"})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, damaged.schema) as writer:
        writer.write_table(damaged)
    with pytest.raises(ModelError, match="cannot be read") as caught:
        open_bundle(lambda _: sink.getvalue())
    assert caught.value.code == "corrupt_model"


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_mutated_files_of_a_set_end_in_a_named_error_or_a_score(data: st.DataObject) -> None:
    """A flipped or missing byte anywhere in a stored set gives ModelError or errors of blocks, never another exception or a crash."""
    files = dict(FILES)
    name = data.draw(st.sampled_from(sorted(files)))
    content = bytearray(files[name])
    if data.draw(st.booleans()):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    else:
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    files[name] = bytes(content)

    def read(name: str) -> bytes:
        if name not in files:  # as a model set answers, whose index names another file now
            raise ModelError(f"There is no file {name}.", code="corrupt_model")
        return files[name]

    try:
        bundle = open_bundle(read)
        score_shard(bundle, ["a", "b", "c"], np.array([0, 2, 4, 6]), {name: np.ones(6) for name in NAMES})
    except ModelError as error:
        assert error.code == "corrupt_model"


FILES = dict(pack_models([(key, compile_estimator(fitted(seed))) for seed, key in enumerate("abc")]).files())


@pytest.mark.parametrize(
    ("raised", "passes"),
    [
        (StoreError("The store did not answer."), True),
        (ModelError("It cannot be opened."), True),
        (StoreError("It is damaged.", retry=False), False),
        (ModelError("It is corrupt."), False),
    ],
    ids=["outage", "no handle", "damaged", "corrupt"],
)
def test_a_pack_that_cannot_be_opened_for_the_moment_fails_no_key(
    raised: FleetscoreError, passes: bool
) -> None:
    """An outage of the store, or a lack of file handles, is raised, so that the attempt is repeated; what stays broken is the
    keys' own failure."""
    if passes and isinstance(raised, ModelError):
        raised.__cause__ = OSError(errno.EMFILE, "Too many open files")
    files = dict(pack_models([("a", compile_estimator(fitted(0)))]).files())

    def read(name: str) -> Any:
        if name.endswith(".bin"):
            raise raised
        return files[name]

    bundle, columns = open_bundle(read), dict.fromkeys(NAMES, np.zeros(3))
    offsets = np.array([0, 3])
    if not passes:
        assert score_shard(bundle, ["a"], offsets, columns).errors == {0: raised}
        return
    with pytest.raises((StoreError, OSError)):
        score_shard(bundle, ["a"], offsets, columns)
