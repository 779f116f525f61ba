"""Packs of models: small, safe, exact, and damage is noticed."""

import pickle
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetscore.errors import ModelError
from fleetscore.workloads.sensor_anomaly.packs import (
    INDEX_FILE,
    PACK_MODELS,
    SensorModel,
    pack_files,
    pack_models,
    read_index,
    read_pack,
    write_pack,
)

MakeModel = Callable[..., SensorModel]
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(KEYS, st.tuples(st.integers(1, 4), st.integers(1, 5)), max_size=6))
def test_a_pack_gives_back_what_was_packed(shapes: dict[str, tuple[int, int]]) -> None:
    """Any models under any keys come back bit for bit, sorted by key, and the same models give the same bytes."""
    rng = np.random.default_rng(1)
    models = {
        key: SensorModel(
            rng.normal(size=f), rng.uniform(1, 2, f), rng.normal(size=(v, f)), rng.uniform(1, 2, v), 0.1, 2.0
        )
        for key, (f, v) in shapes.items()
    }
    data = write_pack(pack_models(models))
    pack = read_pack(data)
    assert pack.keys.to_pylist() == sorted(models)
    for index, key in enumerate(pack.keys.to_pylist()):
        for name in ("mean", "scale", "support", "alpha", "rho", "gamma"):
            assert np.array_equal(getattr(pack.model(index), name), getattr(models[key], name))
    assert write_pack(pack) == data
    assert pack.sound.all()


def test_every_damage_is_noticed_or_harmless(make_model: MakeModel) -> None:
    """A pack cut or changed at any byte gives a ModelError or arrays that fit each other, and never another exception."""
    data = write_pack(pack_models({f"d/{n}": make_model(mean=n + 1.0) for n in range(3)}))
    rng = np.random.default_rng(0)
    for place in range(0, len(data), 7):
        for candidate in (data[:place], data[:place] + bytes([rng.integers(256)]) + data[place + 1 :]):
            try:
                pack = read_pack(candidate)
            except ModelError as error:
                assert error.code == "corrupt_model"
                continue
            assert len(pack.sound) == len(pack.keys)


def test_pickled_arrays_are_refused(make_model: MakeModel) -> None:
    """An npz with an object array in it, which would need a pickle, is corrupt."""
    import io
    import zipfile

    data = write_pack(pack_models({"a/b": make_model()}))
    sink = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(sink, "w") as target:
        for name in source.namelist():
            if name == "rho.npy":
                member = io.BytesIO()
                np.lib.format.write_array(member, np.array([{}], object), allow_pickle=True)
                target.writestr(name, member.getvalue())
            else:
                target.writestr(name, source.read(name))
    with pytest.raises(ModelError, match="allow_pickle"):
        read_pack(sink.getvalue())
    with pytest.raises(ModelError):
        read_pack(pickle.dumps({"a": 1}))


@pytest.mark.parametrize(
    ("name", "value"), [("scale", 0.0), ("alpha", -1.0), ("rho", np.nan), ("gamma", 0.0), ("support", np.inf)]
)
def test_impossible_numbers_make_only_their_own_model_unsound(
    name: str, value: float, make_model: MakeModel
) -> None:
    """A model with numbers that no training gives is told apart from its sound neighbours."""
    pack = pack_models({f"d/{n}": make_model(mean=n + 1.0, vectors=n + 1) for n in range(3)})
    array = getattr(pack, name)
    array[{"support": pack.first_support[1], "alpha": pack.first_vector[1]}.get(name, 1)] = value
    assert pack.sound.tolist() == [True, False, True]


def test_degenerate_models_are_told_apart(make_model: MakeModel) -> None:
    """A model whose largest possible decision is not above 0 calls everything an anomaly, and is known as such."""
    good = make_model()
    one = SensorModel(good.mean, good.scale, good.support[:1], np.array([0.03]), 0.03, 0.01)
    assert pack_models({"a/1": good, "a/2": one}).degenerate.tolist() == [False, True]


def test_a_set_of_many_models_is_cut_into_packs(make_model: MakeModel) -> None:
    """The index names the pack of every partition, and each pack holds at most PACK_MODELS of them."""
    model = make_model()
    files = pack_files({f"d/{n:05d}": model for n in range(2 * PACK_MODELS + 1)})
    keys, packs = read_index(files[INDEX_FILE])
    assert sorted(files) == [INDEX_FILE, "pack-0000.npz", "pack-0001.npz", "pack-0002.npz"]
    assert np.bincount(packs).tolist() == [PACK_MODELS, PACK_MODELS, 1]
    assert read_pack(files["pack-0002.npz"]).keys.to_pylist() == [keys[-1].as_py()]


def test_two_thousand_models_load_at_once(make_model: MakeModel) -> None:
    """A model set of 2,000 sensors loads in about 10 ms at best, so that a shard's start costs nothing."""
    model = make_model()
    files = pack_files({f"d/{n:05d}": model for n in range(2000)})
    best = min(_load_seconds(files) for _ in range(5))
    assert best < 0.03  # 3 ms on an idle machine; tests run on busy ones


def _load_seconds(files: dict[str, bytes]) -> float:
    start = time.perf_counter()
    for name, data in files.items():
        assert len(read_index(data)[0] if name == INDEX_FILE else read_pack(data).sound) > 0
    return time.perf_counter() - start
