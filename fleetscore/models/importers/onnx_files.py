"""ONNX graphs from files, or converted from estimators that have no pack of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fleetscore.errors import ModelError
from fleetscore.models.importers.estimators import Subject, class_values, describe
from fleetscore.models.importers.loaded import LoadedModel
from fleetscore.models.importers.preparation import Unsupported
from fleetscore.models.packs.base import METHODS, CompiledModel, Floats, ModelFacts
from fleetscore.models.packs.onnx_graphs import OnnxPack, open_session, simplified

_PROMOTED = (1, 11)  # TensorProto.FLOAT and DOUBLE
_FEATURE_TYPES = {1, 7, 11}  # FLOAT, INT64, DOUBLE
_LABEL_TYPES, _TEXT = (6, 7, 8), 8  # INT32, INT64, STRING
_FEATURES_LIMIT = 100_000


def load_onnx(path: Path) -> LoadedModel:
    """The graph of a file; ModelError names what is not as packs need it (text as input, weights in other
    files).
    """
    model = _parse(path.read_bytes())
    call = _Call(model)
    whole = model.SerializeToString()
    reference = OnnxPack.join([call.compiled(whole, np.empty(0))])

    def original(x: Floats, method: str) -> Any:
        found = reference.score(np.array([0, len(x)], np.int64), x, method)
        labels = method in call.facts.label_methods
        return np.array(call.facts.classes)[found[:, 0].astype(np.int64)] if labels else found

    def shared() -> CompiledModel:
        skeleton, weights = without_weights(_parse(simplified(whole)))
        return call.compiled(skeleton, weights)

    producer = {"onnx": str(model.ir_version), model.producer_name or "producer": model.producer_version}
    ways = [shared, lambda: call.compiled(whole, np.empty(0))]
    operators = sorted({node.op_type for node in model.graph.node})
    return LoadedModel(f"ONNX: {', '.join(operators)}"[:200], original, ways, producer)


def convert_estimator(estimator: Any) -> CompiledModel:
    """A fitted scikit-learn estimator as a graph that computes in float64; Unsupported where it cannot be
    converted.
    """
    subject = describe(estimator)
    try:
        from skl2onnx import to_onnx
        from skl2onnx.common.data_types import DoubleTensorType

        inputs = [("features", DoubleTensorType([None, subject.n_features]))]
        options = {"zipmap": False} if hasattr(subject.whole, "classes_") else None
        model = to_onnx(estimator, initial_types=inputs, options=options)
    except Exception as error:  # the converter raises whatever its steps meet
        raise Unsupported(f"it cannot be converted to ONNX: {str(error)[:200]}") from error
    call = _Call(model, subject)
    skeleton, weights = without_weights(model)
    open_session(skeleton)  # what the runtime does not take is known here
    return call.compiled(skeleton, weights)


def without_weights(model: Any) -> tuple[bytes, Floats]:
    """The graph with its floating-point initialisers as inputs, without names of its own, and their values
    in order.

    Models of one architecture then have equal graphs, which share a session.
    """
    import onnx
    from onnx import numpy_helper

    skeleton = type(model)()
    skeleton.CopyFrom(model)
    graph = skeleton.graph
    graph.name, graph.doc_string, skeleton.doc_string = "graph", "", ""
    del skeleton.metadata_props[:]
    weights = [one for one in graph.initializer if one.data_type in _PROMOTED]
    names = {one.name for one in weights}
    kept = [one for one in graph.initializer if one.name not in names]
    inputs = [one for one in graph.input if one.name not in names]
    del graph.initializer[:], graph.input[:]
    graph.initializer.extend(kept)
    graph.input.extend(inputs)
    values = []
    for one in weights:
        graph.input.append(onnx.helper.make_tensor_value_info(one.name, one.data_type, list(one.dims)))
        values.append(numpy_helper.to_array(one).astype(np.float64).reshape(-1))
    return skeleton.SerializeToString(), np.concatenate(values) if values else np.empty(0)


def _parse(data: bytes) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.ModelProto.FromString(data)
    except (DecodeError, RecursionError) as error:
        raise ModelError(
            f"The ONNX file cannot be read: {error}.", fix="Export it again.", code="unreadable_model"
        ) from error
    if not model.graph.node:
        raise ModelError("The ONNX file has no nodes.", fix="Export it again.", code="unreadable_model")
    if any(one.data_location for one in model.graph.initializer):
        raise ModelError(
            "The ONNX file has weights in another file.",
            fix="Save it as one file.",
            code="unsupported_model",
        )
    return model


class _Call:
    """How a graph is called: its inputs of features, and which output answers which method."""

    def __init__(self, model: Any, subject: Subject | None = None) -> None:
        known = getattr(subject.whole, "classes_", None) if subject else None
        classes = _classes(model.graph) if known is None else class_values(known)
        _drop_zip_maps(model.graph)
        given = {one.name for one in model.graph.initializer}
        names, n_features, self.inputs = _feature_names(
            [one for one in model.graph.input if one.name not in given]
        )
        self.methods, has_label = _methods(model.graph.output, subject, bool(classes))
        outputs = {
            method: width or len(classes)
            for method, (_, width) in self.methods.items()
            if subject is None or hasattr(subject.whole, method)
        }
        self.facts = ModelFacts(
            n_features=n_features,
            outputs=outputs,
            library="scikit-learn" if subject else "onnx",
            library_version=subject.version if subject else str(model.ir_version),
            takes_nan=subject is None,
            feature_names=subject.feature_names if subject else names,
            classes=classes if has_label else (),
            label_methods=("predict",) if has_label else (),
        )

    def compiled(self, graph: bytes, weights: Floats) -> CompiledModel:
        spec = [self.inputs, *(self.methods.get(method, (-1, 0))[0] for method in METHODS)]
        arrays: dict[str, Any] = {
            "spec": np.array(spec, np.int32),
            "graph": np.frombuffer(graph, np.uint8),
            "weights": weights,
        }
        return CompiledModel("onnx", arrays, self.facts)


def _drop_zip_maps(graph: Any) -> None:
    """Give the matrix of probabilities instead of a list of dictionaries."""
    for node in [one for one in graph.node if one.op_type == "ZipMap"]:
        for output in graph.output:
            if output.name == node.output[0]:
                output.name = node.input[0]
                output.type.Clear()
                output.type.tensor_type.elem_type = 1
                for size in (None, 0):
                    dimension = output.type.tensor_type.shape.dim.add()
                    if size is None:
                        dimension.dim_param = "N"
        graph.node.remove(node)


def _classes(graph: Any) -> tuple[Any, ...]:
    """The classes that a node of the graph names, empty where none does."""
    for attribute in (one for node in graph.node for one in node.attribute):
        if attribute.name.startswith("classlabels"):
            found = tuple(attribute.ints) or tuple(text.decode() for text in attribute.strings)
            if found:
                return found
    return ()


def _feature_names(inputs: list[Any]) -> tuple[tuple[str, ...], int, int]:
    """The features' names and number, and the number of inputs that hold them; Unsupported for inputs of
    other kinds.
    """
    tensors = [one.type.tensor_type for one in inputs]
    if not inputs or not {one.elem_type for one in tensors} <= _FEATURE_TYPES:
        raise Unsupported("its inputs are not numbers")
    widths = [one.shape.dim[-1].dim_value if one.shape.dim else 0 for one in tensors]
    if len(inputs) > 1:
        if set(widths) != {1}:
            raise Unsupported("it has several inputs that are not one column each")
        return tuple(one.name for one in inputs), len(inputs), len(inputs)
    if not 0 < widths[0] <= _FEATURES_LIMIT:
        raise Unsupported("its input does not say how many features it takes")
    return (), int(widths[0]), 1


def _methods(
    outputs: Any, subject: Subject | None, has_classes: bool
) -> tuple[dict[str, tuple[int, int]], bool]:
    """By method the number of the output and its columns (0: as many as classes); and whether `predict`
    gives labels.
    """
    kinds = [one.type.tensor_type.elem_type for one in outputs]
    labels = [at for at, kind in enumerate(kinds) if kind in _LABEL_TYPES]
    values = [at for at, kind in enumerate(kinds) if kind in _PROMOTED]
    found: dict[str, tuple[int, int]] = {}
    if labels:
        found["predict"] = labels[0], 1
        if not has_classes and kinds[labels[0]] == _TEXT:
            raise Unsupported("its classes are not known")
    for at in values[:1]:
        dims = outputs[at].type.tensor_type.shape.dim
        width = int(dims[-1].dim_value) if len(dims) > 1 else 1
        if not labels:
            found["predict"] = at, max(width, 1)
        elif "score" in outputs[at].name:
            if subject is None or hasattr(subject.whole, "decision_function"):
                found["decision_function"] = at, max(width, 1)
        elif has_classes:
            found["predict_proba"] = at, 0
    if not found:
        raise Unsupported("its outputs are not numbers or labels")
    return found, bool(labels) and has_classes
