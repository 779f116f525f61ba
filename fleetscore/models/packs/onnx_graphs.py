"""ONNX graphs: one session of ONNX Runtime for each distinct graph, however many models share it."""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fleetscore.errors import InputError, ModelError
from fleetscore.models.packs import container
from fleetscore.models.packs.base import METHODS, Floats, Indices, Pack

RUNTIME = "onnxruntime==1.32.0"
SESSIONS_BYTES = 256 << 20
"""What the sessions of a process may take together by `session_bytes`; the least recently used go first."""

_DTYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64}


class OnnxPack(Pack):
    """Graphs without their weights, and the weights, which are inputs of the graph: models of one shape
    share a session.

    Layout: `graph` = the bytes of a ModelProto; `weights` = the values of all further inputs in their
    order; `spec` = [inputs that hold features: 1 matrix or a column each, then for each of METHODS the
    number of the graph's output, or -1].
    """

    family: ClassVar[str] = "onnx"
    layout: ClassVar[Mapping[str, str]] = {"spec": "i4", "graph": "u1", "weights": "f8"}
    tolerance: ClassVar[float] = 1e-9

    def check_model(self, at: int) -> None:
        """ModelError `corrupt_model` when a model has no graph, or names no input or output."""
        spec, facts = self.part("spec", at), self.facts_of_model(at)
        if spec.size != 1 + len(METHODS) or not self.part("graph", at).size:
            raise container.corrupt(f"model {at} has no graph")
        missing = [m for m in facts.outputs if m not in METHODS or spec[1 + METHODS.index(m)] < 0]
        if missing or spec[0] not in (1, facts.n_features):
            raise container.corrupt(f"model {at} does not say how its graph is called")

    def score_rows(self, offsets: Indices, x: Floats, method: str, out: Floats) -> None:
        """Run each model's rows through the session of its graph."""
        for at in np.flatnonzero(np.diff(offsets)):
            facts = self.facts_of_model(int(at))
            rows = slice(int(offsets[at]), int(offsets[at + 1]))
            values = x[rows, : facts.n_features]
            if not facts.takes_nan and not np.isfinite(values).all():
                raise InputError(
                    "The rows have missing or infinite values, which their model refuses.",
                    fix="Drop or fill such rows.",
                )
            found = self._run(int(at), values, METHODS.index(method))
            if method in facts.label_methods:
                found = _positions(found, facts.classes)
            shaped = np.asarray(found, np.float64).reshape(len(values), -1)
            if shaped.shape[1] != facts.outputs[method]:
                raise container.corrupt(
                    f"the graph of model {at} gives {shaped.shape[1]} columns for {method}"
                )
            out[rows, : shaped.shape[1]] = shaped

    def _run(self, at: int, values: Floats, method: int) -> Any:
        spec, weights = self.part("spec", at), self.part("weights", at)
        session = SESSIONS.session(self.part("graph", at).tobytes())
        inputs, outputs = session.get_inputs(), session.get_outputs()
        features = int(spec[0])
        if features > len(inputs) or spec[1 + method] >= len(outputs):
            raise container.corrupt(f"the graph of model {at} has fewer inputs or outputs than the pack says")
        feed = _features(inputs[:features], values) | _weights(inputs[features:], weights, at)
        try:
            return session.run([outputs[spec[1 + method]].name], feed)[0]
        except Exception as error:  # the runtime raises classes of its own
            raise ModelError(f"The graph of a model cannot be run: {error}", code="corrupt_model") from error


class Sessions:
    """Sessions by the hash of their graph, bounded by `limit_bytes`. Safe for threads."""

    def __init__(self, limit_bytes: int = SESSIONS_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self.made = 0
        self._known: OrderedDict[bytes, tuple[Any, int]] = OrderedDict()
        self._lock = (
            threading.RLock()
        )  # held while a session is made too, so that no two threads make the same one

    def session(self, graph: bytes) -> Any:
        """The session of a graph; ModelError when ONNX Runtime is not installed, or cannot read the graph."""
        digest = hashlib.sha256(graph).digest()
        with self._lock:
            if digest in self._known:
                self._known.move_to_end(digest)
                return self._known[digest][0]
            self.make_room(session_bytes(graph))
            session = open_session(graph)
            self.made += 1
            self._known[digest] = session, session_bytes(graph)
            return session

    def make_room(self, needed_bytes: int) -> None:
        """Drop the least recently used sessions until `needed_bytes` fit, or none is left."""
        with self._lock:
            while self._known and self.size_bytes + needed_bytes > self.limit_bytes:
                self._known.popitem(last=False)

    @property
    def size_bytes(self) -> int:
        """What the sessions take together."""
        with self._lock:
            return sum(size for _, size in self._known.values())


SESSIONS = Sessions()


def session_bytes(graph: bytes) -> int:
    """What a session of a graph takes in memory: an estimate that was not measured, only to bound how many
    stay open.

    >>> session_bytes(b"x" * 1_000_000)
    6200000
    """
    return 200_000 + 6 * len(graph)


def open_session(graph: bytes) -> Any:
    """A session on one thread and without an arena that keeps memory; ModelError `missing_library` or
    `corrupt_model`.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError(
            "The models are ONNX graphs, and ONNX Runtime is not installed.",
            fix=f"Add the line {RUNTIME} to fleets/requirements.txt.",
            code="missing_library",
        ) from error
    try:
        return onnxruntime.InferenceSession(graph, _options(), providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime raises classes of its own
        raise ModelError(
            f"ONNX Runtime cannot read the graph: {str(error)[:300]}",
            fix="Export the model again.",
            code="corrupt_model",
        ) from error


def simplified(graph: bytes) -> bytes:
    """The graph with constants folded and operators joined, in standard operators, as a session would do it
    for itself.
    """
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "simplified.onnx"
        options = _options()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        return path.read_bytes()


def _options() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    options.add_session_config_entry(
        "session.disable_prepacking", "1"
    )  # weights as inputs then give the same bits
    options.log_severity_level = 4
    return options


def _features(inputs: list[Any], values: Floats) -> dict[str, NDArray[Any]]:
    """The rows as the graph takes them: one matrix, or a column for each input."""
    with np.errstate(over="ignore", invalid="ignore"):
        if len(inputs) == 1:
            return {inputs[0].name: values.astype(_dtype(inputs[0]))}
        return {one.name: values[:, [at]].astype(_dtype(one)) for at, one in enumerate(inputs)}


def _weights(inputs: list[Any], weights: Floats, model: int) -> dict[str, NDArray[Any]]:
    feed, begin = {}, 0
    for one in inputs:
        size = int(np.prod(one.shape, dtype=np.int64)) if all(isinstance(n, int) for n in one.shape) else -1
        if size < 0 or begin + size > weights.size:
            raise container.corrupt(f"model {model} has fewer weights than its graph takes")
        feed[one.name] = weights[begin : begin + size].reshape(one.shape).astype(_dtype(one))
        begin += size
    return feed


def _dtype(argument: Any) -> Any:
    if argument.type not in _DTYPES:
        raise container.corrupt(f"the graph takes {argument.type}")
    return _DTYPES[argument.type]


def _positions(found: Any, classes: tuple[Any, ...]) -> Floats:
    place = {value: float(at) for at, value in enumerate(classes)}
    labels = np.asarray(found).reshape(-1).tolist()
    if not set(labels) <= place.keys():
        raise container.corrupt("a graph gives a class that the model does not have")
    return np.array([place[label] for label in labels])
