"""Estimators from pickles (only where they are trusted) and from skops files."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fleetscore.errors import ModelError
from fleetscore.models.importers.boosters import wrapped_booster_ways
from fleetscore.models.importers.estimators import (
    class_values,
    compile_estimator,
    describe,
    inner_estimator,
)
from fleetscore.models.importers.loaded import LoadedModel, Way, describe_estimator
from fleetscore.models.importers.onnx_files import convert_estimator
from fleetscore.models.importers.runtime_libraries import require_runtime_library
from fleetscore.models.importers.scaled_trees import compile_scaled_trees
from fleetscore.models.importers.sklearn_trees import compile_sklearn_trees
from fleetscore.models.packs.base import METHODS, CompiledModel

_SCHEMA_LIMIT_BYTES = 256 << 20

_SKOPS_MODULES = frozenset({"sklearn", "numpy", "scipy", "builtins", "collections"})
"""The packages whose types a skops file may name. The list is closed: nothing in a file adds to it."""

_SKOPS_BUILTINS = frozenset(
    {
        "dict",
        "list",
        "tuple",
        "set",
        "bytes",
        "bytearray",
        "slice",
        "str",
        "int",
        "float",
        "bool",
        "complex",
        "type",
    }
)
_SKOPS_TYPES = frozenset(
    {
        "sklearn.tree._tree.Tree",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn._loss.loss.HalfTweedieLossIdentity",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    }
)
"""Parts of scikit-learn's estimators that skops reads only where its caller names them: they hold arrays,
which are checked when the model is compiled, in a process of its own.
"""

_SKOPS_LOADERS = frozenset({"OperatorFuncNode", "MethodNode", "PartialNode", "FunctionNode"})
"""Nodes that stand for something to call; no fitted model of the families needs them, but for numpy's and
scipy's own functions.
"""


def open_pickle(path: Path, trusted: bool) -> tuple[Any, dict[str, str], list[str]]:
    """The object of a file of joblib or pickle, the versions that wrote it, and what there is to say about
    them.

    ModelError `untrusted_pickle` unless trusted, for loading one runs its code.
    """
    if not trusted:
        raise ModelError(
            "The file is a pickle, and loading a pickle runs code in it.",
            fix="If you trust its origin, import with --trust-pickles; or save the model as skops or ONNX.",
            code="untrusted_pickle",
        )
    import joblib

    return _with_versions(lambda: joblib.load(path))


def load_pickle(path: Path, trusted: bool) -> LoadedModel:
    """The estimator of a file of joblib or pickle, with its ways; see `open_pickle`."""
    estimator, versions, notes = open_pickle(path, trusted)
    loaded = of_estimator(estimator, versions, notes)
    if notes:  # of another version: only what a pack proves
        return loaded
    return replace(loaded, ways=[*loaded.ways, lambda: keep_in_library(estimator, path.read_bytes())])


def keep_in_library(estimator: Any, data: bytes) -> CompiledModel:
    """The model as its own pickle, for trusted workloads; Unsupported when apps and workers lack its
    library.
    """
    library = type(inner_estimator(estimator)).__module__.split(".")[0]
    require_runtime_library(library)
    subject = describe(estimator)
    trial = np.zeros((2, subject.n_features))
    known = getattr(subject.whole, "classes_", None)
    outputs = {
        method: int(np.asarray(getattr(subject.whole, method)(trial)).reshape(2, -1).shape[1])
        for method in METHODS
        if hasattr(subject.whole, method)
    }
    facts = subject.facts(outputs, class_values(known) if known is not None else ())
    return CompiledModel("library", {"pickle": np.frombuffer(data, np.uint8)}, facts)


def load_skops(path: Path) -> LoadedModel:
    """The estimator of a skops file whose every type is on our own list; ModelError `unsafe_skops` names
    one that is not.
    """
    import skops.io

    written = _check_skops(path)
    found = set(skops.io.get_untrusted_types(file=path))
    if found - _SKOPS_TYPES:
        raise _unsafe_skops(", ".join(sorted(found - _SKOPS_TYPES)[:3]))
    estimator, versions, notes = _with_versions(lambda: skops.io.load(path, trusted=sorted(found)))
    return of_estimator(estimator, versions | {"skops": written}, notes)


def of_estimator(estimator: Any, versions: dict[str, str], notes: list[str]) -> LoadedModel:
    """A fitted estimator with the ways to compile it; ModelError `unsupported_model` for an object that
    predicts nothing.
    """
    inner = inner_estimator(estimator)
    if not any(hasattr(inner, method) for method in METHODS):
        raise ModelError(
            f"The file holds an object of type {type(estimator).__name__}, which does not predict.",
            fix="Save the fitted estimator itself.",
            code="unsupported_model",
        )

    def original(x: Any, method: str) -> Any:
        return getattr(inner, method)(x)

    ways: list[Way] = [
        lambda: compile_estimator(estimator),
        lambda: compile_sklearn_trees(inner),
        lambda: compile_scaled_trees(inner),
        *wrapped_booster_ways(inner),
        lambda: convert_estimator(estimator),
    ]
    return LoadedModel(describe_estimator(estimator), original, ways, versions, notes, estimator)


def _with_versions(load: Any) -> tuple[Any, dict[str, str], list[str]]:
    """What `load` gives, the versions that wrote it, and what there is to say about them."""
    import sklearn
    from sklearn.exceptions import InconsistentVersionWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            loaded = load()
        except (ModuleNotFoundError, ImportError) as error:
            raise ModelError(
                f"The model needs a module that is not installed here: {error}.",
                fix="Install it, and name it in fleets/requirements.txt if the model must be scored by it.",
                code="unsupported_model",
            ) from error
    others = {
        one.message.original_sklearn_version
        for one in caught
        if isinstance(one.message, InconsistentVersionWarning)
    }
    if not others:
        return loaded, {"scikit-learn": sklearn.__version__}, []
    written = ", ".join(sorted(others))
    note = f"Written by scikit-learn {written}, read and proven with {sklearn.__version__}."
    return loaded, {"scikit-learn": written}, [note]


def _check_skops(path: Path) -> str:
    """The version of skops that wrote the file, after every type that its schema names was found on our
    list.
    """
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("schema.json")
        if entry.file_size > _SCHEMA_LIMIT_BYTES:
            raise ModelError(f"Its schema has {entry.file_size} bytes.", code="model_too_large")
        schema = json.loads(archive.read(entry))
    for module, name, loader in _types(schema):
        root = module.split(".")[0]
        called = loader in _SKOPS_LOADERS and root not in ("numpy", "scipy")
        if root not in _SKOPS_MODULES or (root == "builtins" and name not in _SKOPS_BUILTINS) or called:
            raise _unsafe_skops(f"{module}.{name}")
    return str(schema.get("_skops_version", ""))


def _types(schema: Any) -> Iterator[tuple[str, str, str]]:
    """Module, name and loader of every node, without recursion, for a file may nest without end."""
    pending = [schema]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            if "__module__" in node or "__loader__" in node:
                yield (
                    str(node.get("__module__", "")),
                    str(node.get("__class__", "")),
                    str(node.get("__loader__", "")),
                )
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)


def _unsafe_skops(name: str) -> ModelError:
    return ModelError(
        f"The skops file names the type {name[:200]}, which is not among those that are read.",
        fix="Save a plain scikit-learn estimator, or import a pickle of it with --trust-pickles.",
        code="unsafe_skops",
    )
