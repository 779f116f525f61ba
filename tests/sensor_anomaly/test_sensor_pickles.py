"""Pickled pipelines are read without being run, and nothing else is read."""

import contextlib
import functools
import io
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetscore.errors import InputError, ModelError
from fleetscore.workloads.sensor_anomaly.importing import import_folder
from fleetscore.workloads.sensor_anomaly.packs import read_pack
from fleetscore.workloads.sensor_anomaly.pickles import NUMBERS_LIMIT, read_pipeline


def fitted(features: int = 1) -> Any:
    """A fitted pipeline of scikit-learn's."""
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import OneClassSVM

    rows = np.random.default_rng(2).normal(20, 3, (200, features))
    return Pipeline([("scaler", StandardScaler()), ("svm", OneClassSVM(nu=0.02, gamma=0.1))]).fit(rows)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("features", [1, 3])
def test_reads_pipelines_of_every_protocol(protocol: int, features: int) -> None:
    """The parameters come out bit for bit, whatever binary protocol wrote them."""
    pipeline = fitted(features)
    model = read_pipeline(pickle.dumps(pipeline, protocol), "model_1_1")
    scaler, svm = (step for _, step in pipeline.steps)
    assert np.array_equal(model.mean, scaler.mean_)
    assert np.array_equal(model.scale, scaler.scale_)
    assert np.array_equal(model.support, svm.support_vectors_)
    assert np.array_equal(model.alpha, svm.dual_coef_[0])
    assert (model.rho, model.gamma) == (-svm.intercept_[0], 0.1)


class _Calls:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        return self._call


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    ("function", "name"),
    [
        (os.system, "system"),
        (eval, "eval"),
        (np.load, "load"),
        (functools.partial, "partial"),
        (getattr, "getattr"),
    ],
)
def test_calls_are_refused_by_name_and_never_made(
    function: Any, name: str, protocol: int, tmp_path: Path
) -> None:
    """A pickle that calls anything is refused, the message names what, and the call does not happen."""
    marker = tmp_path / "ran"
    data = pickle.dumps([fitted(), _Calls(function, f"touch {marker}")], protocol)
    with pytest.raises(ModelError) as refused:
        read_pipeline(data, "model_9_9")
    assert refused.value.code == "unsafe_pickle"
    assert "model_9_9" in str(refused.value)
    assert name in str(refused.value) or protocol < 2  # text protocols are refused as such, before any name
    assert not marker.exists()


def _with_persistent_id() -> bytes:
    sink = io.BytesIO()
    pickler = pickle.Pickler(sink, 4)
    pickler.persistent_id = lambda value: "elsewhere" if value == 7 else None  # type: ignore[method-assign]
    pickler.dump([7])
    return sink.getvalue()


HOSTILE = {
    "persistent id": _with_persistent_id(),
    "memo bomb": b"\x80\x04Nr\xff\xff\xff\x7f.",
    "bytes of a terabyte": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"x.",
    "text of a terabyte": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b"x.",
    "frame of a terabyte": b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b"N.",
    "object array": pickle.dumps(np.array([{}, []], object), 3),
    "array of strings": pickle.dumps(np.array(["a", "bc"]), 4),
    "plain list": pickle.dumps([1, 2], 4),
    "truncated": pickle.dumps([1] * 100, 4)[:-20],
    "empty": b"",
    "not a pickle": b"PK\x03\x04 whatever",
    "a class without a call": pickle.dumps(os.system, 4),
    "a bytes call": b"\x80\x03cbuiltins\nbytes\nK\x09\x85R.",
    "a long call chain": b"\x80\x04" + b"(" * 5000 + b".",
    "an endless recursion": b"\x80\x02]q\x00h\x00a.",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_and_broken_files_are_refused(kind: str) -> None:
    """Whatever is in the file, the answer is a ModelError that names it, soon and in little memory."""
    with pytest.raises(ModelError, match="model_x_y"):
        read_pipeline(HOSTILE[kind], "model_x_y")


def test_every_truncation_and_many_damages_are_survived() -> None:
    """Cut anywhere, or with a byte changed, a pickle gives a ModelError or a model, and no other exception."""
    data = pickle.dumps(fitted(), 4)
    rng = np.random.default_rng(0)
    damaged = [data[:length] for length in range(0, len(data), 37)]
    places = rng.integers(0, len(data), 400).tolist()
    damaged += [data[:place] + bytes([rng.integers(256)]) + data[place + 1 :] for place in places]
    for candidate in damaged:
        try:
            model = read_pipeline(candidate, "model_1_1")
        except ModelError:
            continue
        assert np.isfinite(model.alpha).all() and np.isfinite(model.rho)


def test_other_kernels_are_refused() -> None:
    """A pipeline with another kernel is a ModelError that says which kernel it has."""
    pipeline = fitted()
    pipeline.steps[1][1].kernel = "poly"
    with pytest.raises(ModelError, match="poly"):
        read_pipeline(pickle.dumps(pipeline), "model_1_1")


def test_a_folder_becomes_a_model_set(tmp_path: Path) -> None:
    """Each file model_<device>_<sensor> becomes the model of that partition."""
    for name in ("model_1_temp", "model_pump-7_2.pkl", ".hidden"):
        (tmp_path / name).write_bytes(pickle.dumps(fitted(), 3))
    draft = import_folder(tmp_path)
    assert read_pack(draft.files["pack-0000.npz"]).keys.to_pylist() == ["1/temp", "pump-7/2"]
    assert draft.card["models"] == 2


@pytest.mark.parametrize(
    "names", [["other_1_2"], ["model_1"], ["model_1_2_3"], ["model_1_2", "model_1_2.pkl"], []]
)
def test_a_folder_of_something_else_is_refused(names: list[str], tmp_path: Path) -> None:
    """Files that do not name their sensor, two for one sensor, or none at all refuse the import and say what was expected."""
    for name in names:
        (tmp_path / name).write_bytes(pickle.dumps(fitted(), 3))
    with pytest.raises(InputError, match=r"model_|second model"):
        import_folder(tmp_path)


def test_one_bad_file_refuses_the_import_by_name(tmp_path: Path) -> None:
    """No half model set: the import ends at the file that cannot be read, and names it."""
    (tmp_path / "model_1_1").write_bytes(pickle.dumps(fitted(), 3))
    (tmp_path / "model_1_2").write_bytes(pickle.dumps(os.system, 3))
    with pytest.raises(ModelError, match=r"model_1_2.*system"):
        import_folder(tmp_path)


def _shared_graph() -> bytes:
    """A tuple that holds one before twice, and that again, 25 times: 2^25 values to whatever hashes or prints it."""
    pairs = (b"0h" + bytes([at]) + b"h" + bytes([at]) + b"\x86\x94" for at in range(25))
    return b"N\x94" + b"".join(pairs)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("nested", b"\x80\x04}N" + b"\x85" * 200_000 + b"Ns.", "deep"),
        ("doubled", b"\x80\x04}N" + b"2\x86" * 45 + b"Ns.", "opcode DUP"),
        ("shared key", b"\x80\x04}" + _shared_graph() + b"Ns.", "keys are not text"),
        ("shared dtype", b"\x80\x04cnumpy\ndtype\n(" + _shared_graph() + b"tR.", "dtype tuple"),
        ("shared encoding", b"\x80\x04c_codecs\nencode\n(X\x01\0\0\0a" + _shared_graph() + b"tR.", "encoding tuple"),
        (
            "class",
            b"\x80\x04csklearn.svm._classes\nOneClassSVM\n(N}X\x0c\0\0\0__setstate__cbuiltins\nbytes\nstb.",
            "no instance",
        ),
        (
            "attributes by name",
            b"\x80\x04csklearn.svm._classes\nOneClassSVM\n)\x81N}X\x09\0\0\0__class__cnumpy\nndarray\ns\x86b.",
            "state of type tuple",
        ),
    ],
)  # fmt: skip
def test_pickles_that_crashed_or_poisoned_the_reader_are_refused(name: str, data: bytes, words: str) -> None:
    """Deep nesting, shared graphs as keys, dtypes and encodings, and state for a class are refused, and good files are read after."""
    with pytest.raises(ModelError, match=words):
        read_pipeline(data, name)
    read_pipeline(pickle.dumps(fitted()), "good")


def test_parameters_that_no_memory_or_number_holds_are_refused_by_name() -> None:
    """No vectors of 2^40 features, bytes that grow eightfold, and a gamma beyond float64 end as a ModelError that names the file."""
    wide, grown, huge = fitted(), fitted(), fitted()
    wide[0].with_mean = wide[0].with_std = False
    wide[1].support_vectors_ = np.empty((0, 1 << 40))
    grown[1].support_vectors_ = np.ones((1, NUMBERS_LIMIT + 1), np.uint8)
    huge[1]._gamma = 1 << 2000
    for model, words in ((wide, "0 support vectors"), (grown, "numbers in an array"), (huge, "too large")):
        with pytest.raises(ModelError, match=rf"^model_1_1 .*{words}"):
            read_pipeline(pickle.dumps(model), "model_1_1")


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_mutated_pickles_are_read_or_refused(data: st.DataObject) -> None:
    """Bytes changed, removed or repeated anywhere in a pickle give a model or ModelError, and poison nothing."""
    content = bytearray(PICKLE)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        kind = data.draw(st.sampled_from(["set", "cut", "repeat"]))
        if kind == "set":
            content[place] = data.draw(st.sampled_from(OPCODES) | st.integers(0, 255))
        elif kind == "cut":
            del content[place : place + data.draw(st.integers(1, 8))]
        else:
            content[place:place] = content[place : place + data.draw(st.integers(1, 30))]
    with contextlib.suppress(ModelError):
        read_pipeline(bytes(content), "mutated")
    read_pipeline(PICKLE, "good")


PICKLE = pickle.dumps(fitted())
OPCODES = list(b"(.012NRQbcdhjqrst}]\x81\x85\x86\x87\x8c\x93\x94")


def test_a_file_of_joblib_and_one_that_is_no_pickle_are_named_as_what_they_are(tmp_path: Path) -> None:
    """joblib.dump writes what no pickle reader knows: the message says so; neither message shows a byte of the file."""
    import joblib

    path = tmp_path / "model_1_1.pkl"
    joblib.dump(fitted(), path)
    for data, said in ((path.read_bytes(), "was written by joblib.dump"), (b"\x07\x00text", "is no pickle")):
        with pytest.raises(ModelError) as refused:
            read_pipeline(data, "model_1_1")
        assert refused.value.message.startswith(f"model_1_1 {said}")
        assert "pickle.dump" in refused.value.fix
        assert "opcode" not in str(refused.value)


def test_a_name_without_measure_is_refused_in_a_short_sentence() -> None:
    """However long the name of a class is that a pickle holds, by either opcode, the refusal shows its beginning only."""
    long = b"n" * 100_000
    text = b"X" + struct.pack("<I", len(long)) + long
    for data in (b"\x80\x02cmodule\n" + long + b"\n.", b"\x80\x04X\x06\x00\x00\x00module" + text + b"\x93."):
        with pytest.raises(ModelError) as refused:
            read_pipeline(data, "model_1_1")
        assert refused.value.code == "unsafe_pickle"
        assert "module.nnn" in str(refused.value)
        assert len(str(refused.value)) < 1000
