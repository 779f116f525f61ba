"""Reading scikit-learn pipelines out of pickles without running them.

Two locks. First the opcodes are scanned: only those that such pickles need, every length within the file,
the memo no larger than the number of opcodes; and what they would build is followed without building it: no
deep nesting, dictionary keys are text, state is set on instances only. Then an unpickler whose `find_class`
imports nothing builds inert stand-ins from a closed list of names; any other name is refused. What comes
out are plain attributes and arrays, which are checked once more.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import Any, ClassVar

import numpy as np

from fleetscore.errors import ModelError
from fleetscore.workloads.sensor_anomaly.packs import SensorModel
from fleetscore.workloads.sensor_anomaly.pickle_shapes import Malformed, ShapeStack

SIZE_MAX_BYTES = 64 << 20
OPCODES_LIMIT = 1_000_000
VECTORS_LIMIT = 100_000
NUMBERS_LIMIT = SIZE_MAX_BYTES // 8
"""Numbers in one array: as many float64 as a file holds, since arrays of bytes grow when they are read."""

_OPCODES = frozenset(
    """
    PROTO FRAME STOP MARK POP POP_MARK GLOBAL STACK_GLOBAL NEWOBJ REDUCE BUILD
    NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE SHORT_BINUNICODE BINUNICODE8
    BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST APPEND
    APPENDS EMPTY_DICT SETITEM SETITEMS BINPUT LONG_BINPUT BINGET LONG_BINGET MEMOIZE
    """.split()  # noqa: SIM905 - a list of fifty quoted names reads worse
)
_NAME_LIMIT = 200  # characters of a refused name in a message
_HEAD_BYTES = 4096  # joblib names its own classes there
_PUTS = frozenset({"BINPUT", "LONG_BINPUT"})
_KINDS = {"f8", "f4", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "b1"}


class _Inert:
    """An object of which only its attributes are kept."""

    __slots__ = ("__dict__",)

    def __setstate__(self, state: Any) -> None:
        if type(state) is not dict:  # a pair would set attributes by name, also those of the class
            raise _Refused(f"a state of type {type(state).__name__}")
        self.__dict__.update(state)


class _Pipeline(_Inert):
    pass


class _Scaler(_Inert):
    pass


class _Svm(_Inert):
    pass


class _Dtype:
    """A numpy dtype of plain numbers."""

    def __init__(self, kind: str, align: Any = False, copy: Any = True) -> None:
        del align, copy
        if not isinstance(kind, str) or kind not in _KINDS:
            raise _Refused(f"an array of dtype {_shown(kind)}")
        self.order = "<"
        self.kind = kind

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] not in ("<", ">", "|", "="):
            raise _Refused(f"a dtype of byte order {_shown(state[1])}")
        self.order = state[1]

    def real(self) -> np.dtype[Any]:
        return np.dtype(self.order + self.kind)


class _Array:
    """A numpy array as its shape, dtype and bytes."""

    def __init__(self) -> None:
        self.values: np.ndarray[Any, Any] = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, data = state
        self.fill(data, dtype, shape, "F" if fortran else "C")

    def fill(self, data: Any, dtype: Any, shape: Any, order: Any) -> None:
        if (
            not isinstance(dtype, _Dtype)
            or not isinstance(data, bytes | bytearray)
            or order not in ("C", "F")
        ):
            raise _Refused("an array that is not of plain numbers")
        self.values = np.frombuffer(data, dtype.real()).reshape(shape, order=order)


class _Refused(Exception):  # noqa: N818 - what was refused, turned into a ModelError where the reader is called
    pass


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    del shape, code
    if kind is not _Array:
        raise _Refused("an array of a class of its own")
    return _Array()


def _frombuffer(data: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    array = _Array()
    array.fill(data, dtype, shape, order)
    return array


def _scalar(dtype: Any, data: Any) -> Any:
    array = _Array()
    array.fill(data, dtype, (1,), "C")
    return array.values[0].item()


def _encode(text: Any, encoding: Any) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise _Refused(f"an encoding {_shown(encoding)}")
    return text.encode("latin1")


def _no_bytes(*arguments: Any) -> bytes:
    if arguments:
        raise _Refused("a call of bytes")
    return b""


_NAMES: dict[tuple[str, str], Any] = {
    ("sklearn.pipeline", "Pipeline"): _Pipeline,
    ("sklearn.preprocessing.data", "StandardScaler"): _Scaler,
    ("sklearn.preprocessing._data", "StandardScaler"): _Scaler,
    ("sklearn.svm.classes", "OneClassSVM"): _Svm,
    ("sklearn.svm._classes", "OneClassSVM"): _Svm,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _frombuffer,
    ("numpy._core.numeric", "_frombuffer"): _frombuffer,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
    ("builtins", "bytes"): _no_bytes,
}


def _cut(text: str) -> str:
    """The text, short: a name in a pickle may be as long as the file."""
    return text if len(text) <= _NAME_LIMIT else f"{text[:_NAME_LIMIT]}..."


class _InertUnpickler(pickle.Unpickler):
    """Builds stand-ins only; imports nothing."""

    names: ClassVar = _NAMES

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.names[module, name]
        except KeyError:
            raise _Refused(f"{module}.{name}") from None

    def persistent_load(self, pid: Any) -> Any:
        raise _Refused(f"a persistent id of type {type(pid).__name__}")


def read_pipeline(data: bytes, name: str) -> SensorModel:
    """The model in the pickle `data` of Pipeline(StandardScaler, OneClassSVM with rbf kernel); nothing of
    it is executed.

    Raises ModelError `unsafe_pickle` when it holds anything else than such a pipeline needs, and
    `bad_model` when the pipeline is of another make; both name the file `name`.
    """
    try:
        _scan(data)
        root = _InertUnpickler(io.BytesIO(data)).load()
    except _Refused as error:
        raise ModelError(
            f"{name} was refused: the pickle holds {_cut(str(error))}, and only a pipeline of StandardScaler and OneClassSVM is read.",
            fix="Export the model's parameters another way.",
            code="unsafe_pickle",
            field=name,
        ) from error
    except Exception as error:  # a hostile or damaged file can fail in any way; none of it ran
        raise _unreadable(data, name) from error
    return _model_of(root, name)


def _unreadable(data: bytes, name: str) -> ModelError:
    if b"joblib.numpy_pickle" in data[:_HEAD_BYTES]:
        return ModelError(
            f"{name} was written by joblib.dump, whose files hold arrays that no pickle reader knows.",
            fix="Write it again with pickle.dump, or bring it in as a workload of kind models: fleetscore new.",
            code="unsafe_pickle",
            field=name,
        )
    return ModelError(
        f"{name} is no pickle, or it is damaged.",
        fix="Write it again with pickle.dump.",
        code="unsafe_pickle",
        field=name,
    )


def _scan(data: bytes) -> None:
    if len(data) > SIZE_MAX_BYTES:
        raise _Refused(f"{len(data)} bytes (at most {SIZE_MAX_BYTES} are read)")
    shapes = ShapeStack()
    for count, (opcode, value, _) in enumerate(pickletools.genops(data)):
        argument: Any = value
        if opcode.name not in _OPCODES or count >= OPCODES_LIMIT:
            raise _Refused(f"the opcode {opcode.name}" if count < OPCODES_LIMIT else f"{count} opcodes")
        if opcode.name in _PUTS and argument > count:
            raise _Refused(f"a memo entry number {argument}")
        if opcode.name == "FRAME" and argument > len(data):
            raise _Refused(f"a frame of {argument} bytes")
        if opcode.name == "GLOBAL" and tuple(argument.split(" ", 1)) not in _NAMES:
            raise _Refused(argument.replace(" ", "."))
        try:
            shapes.step(opcode.name, argument)
        except Malformed as error:
            raise _Refused(str(error)) from error


def _shown(value: Any) -> str:
    """A short text or truth value as it is; of anything else its type, for what a file made may be printed
    without end.
    """
    return (
        repr(value[:40])
        if isinstance(value, str)
        else str(value)
        if isinstance(value, bool)
        else type(value).__name__
    )


def _model_of(root: Any, name: str) -> SensorModel:
    try:
        (_, scaler), (_, svm) = root.steps
        if (type(root), type(scaler), type(svm)) != (_Pipeline, _Scaler, _Svm):
            raise TypeError("it is not Pipeline(StandardScaler, OneClassSVM)")
        if svm.kernel != "rbf" or svm._sparse:
            raise ValueError(f"kernel {_shown(svm.kernel)}, sparse {_shown(svm._sparse)}; expected dense rbf")
        return _checked(scaler, svm)
    except (TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise ModelError(
            f"{name} is not a fitted Pipeline(StandardScaler, OneClassSVM with rbf kernel): {error}.",
            field=name,
        ) from error


def _checked(scaler: Any, svm: Any) -> SensorModel:
    support = _floats(svm.support_vectors_, 2)
    width = support.shape[1]
    if len(support) > VECTORS_LIMIT:
        raise ValueError(f"{len(support)} support vectors; at most {VECTORS_LIMIT} are read")
    if support.size == 0:  # an empty array may claim any width
        raise ValueError(f"{len(support)} support vectors of {width} features")
    mean = _floats(scaler.mean_, 1) if scaler.with_mean else np.zeros(width)
    scale = _floats(scaler.scale_, 1) if scaler.with_std else np.ones(width)
    alpha = _floats(svm._dual_coef_, 2)[0]
    rho, gamma = -float(_floats(svm._intercept_, 1)[0]), float(svm._gamma)
    if len(alpha) != len(support) or not len(mean) == len(scale) == width:
        raise ValueError(
            f"{len(support)} support vectors of {width} features do not fit the other parameters"
        )
    numbers = np.concatenate([mean, scale, support.ravel(), alpha, [rho, gamma]])
    if not np.isfinite(numbers).all() or (scale <= 0).any() or (alpha <= 0).any() or gamma <= 0:
        raise ValueError("a parameter is not finite, or a scale, alpha or gamma is not above 0")
    return SensorModel(mean, scale, support, alpha, rho, gamma)


def _floats(array: Any, axes: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    values = array.values if isinstance(array, _Array) else np.empty(())
    if values.ndim != axes or values.dtype.kind not in "fiu":
        raise TypeError(f"an array with {axes} axes was expected")
    if values.size > NUMBERS_LIMIT:
        raise ValueError(f"{values.size} numbers in an array; at most {NUMBERS_LIMIT} are read")
    return np.ascontiguousarray(values, np.float64)
