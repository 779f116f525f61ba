"""CatBoost's models in JSON, compiled without CatBoost; those in cbm are turned into JSON by CatBoost
itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fleetscore.errors import ModelError
from fleetscore.models.importers.reading import floats, listing, member, read_json, whole
from fleetscore.models.importers.tree_building import (
    FEATURES_LIMIT,
    OUTPUTS_LIMIT,
    Nodes,
    compile_trees,
    corrupt,
    unsupported,
)
from fleetscore.models.packs.base import CompiledModel, Floats, ModelFacts

DEPTH_LIMIT = 16  # CatBoost's own, of trees with one test per level
BINARY = b"CBM1"


def compile_catboost(data: bytes) -> CompiledModel:
    """Return a model of CatBoost's JSON or cbm format compiled; features are compared in float32, as
    CatBoost does.

    `predict` is the class's place for classifiers, else the raw value; `decision_function` the raw values;
    `predict_proba` a column per class. ModelError `corrupt_model` where the bytes make no model,
    `unsupported_model` for features of categories, text or embeddings.
    """
    model = read_json(_as_json(data) if data[:4] == BINARY else data)
    names, treatment = _features(member(model, "features_info"))
    scale, bias = _scale_and_bias(model)
    if "oblivious_trees" in model:
        nodes = _oblivious(listing(model, "oblivious_trees"), treatment, len(bias))
    else:
        nodes = _free(listing(model, "trees"), treatment, len(bias))
    info = model.get("model_info", {})
    return compile_trees(nodes, _facts(info, names, len(bias)), np.zeros(len(bias)), [scale, *bias.tolist()])


def _as_json(data: bytes) -> bytes:
    """The same model in JSON, written by CatBoost, whose native reader dies of some damaged files:
    importers have a process for it.
    """
    try:
        from catboost import CatBoost, CatBoostError
    except ImportError as error:
        raise ModelError(
            "A CatBoost model in cbm needs CatBoost to import it.",
            fix="Install requirements-import.txt, or save the model with format='json'.",
            code="unsupported_model",
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        try:
            model = CatBoost()
            model.load_model(blob=data)
            if model.tree_count_ is None:
                raise corrupt("it has no trees")
            model.save_model(str(path), format="json")
        except (CatBoostError, ValueError, TypeError, UnicodeDecodeError) as error:
            raise corrupt(f"CatBoost cannot read it: {str(error)[:160]}") from error
        return path.read_bytes()


def _features(info: Any) -> tuple[tuple[str, ...], dict[int, tuple[int, bool]]]:
    """The features' names, and for each float feature its place among all and whether NaN counts as above
    all borders.
    """
    for kind in ("categorical_features", "text_features", "embedding_features"):
        if isinstance(info, dict) and info.get(kind):
            raise unsupported(f"CatBoost models with {kind.replace('_', ' ')}")
    names: dict[int, str] = {}
    treatment: dict[int, tuple[int, bool]] = {}
    for feature in listing(info, "float_features"):
        place = whole(member(feature, "flat_feature_index"), "flat_feature_index", 0, FEATURES_LIMIT - 1)
        own = whole(member(feature, "feature_index"), "feature_index", 0, FEATURES_LIMIT - 1)
        names[place] = str(feature.get("feature_id", ""))
        treatment[own] = (place, feature.get("nan_value_treatment") == "AsTrue")
    if sorted(names) != list(range(len(names))):
        raise corrupt("its features are not numbered from 0 on")
    ordered = [names[place] for place in range(len(names))]
    return tuple(ordered), treatment


def _scale_and_bias(model: Any) -> tuple[float, Floats]:
    """The scale of the sums and the bias of each output."""
    found = listing(model, "scale_and_bias")
    if len(found) != 2 or not isinstance(found[0], int | float):
        raise corrupt("scale_and_bias is not a scale and a list")
    bias = found[1] if isinstance(found[1], list) else [found[1]]
    numbers = floats({"bias": bias, "scale": [found[0]]}, "bias")
    if not 1 <= numbers.size <= OUTPUTS_LIMIT or not np.isfinite([found[0], *numbers]).all():
        raise corrupt("scale_and_bias is out of range")
    return float(found[0]), numbers


def _test(split: Any, treatment: dict[int, tuple[int, bool]]) -> tuple[int, float, bool]:
    """A test's feature, its border in float32, and whether missing values go left."""
    if split.get("split_type", "FloatFeature") != "FloatFeature":
        raise unsupported(f"CatBoost's splits of type {str(split.get('split_type'))[:40]}")
    own = whole(member(split, "float_feature_index"), "float_feature_index", 0, FEATURES_LIMIT - 1)
    if own not in treatment:
        raise corrupt("a split tests a feature that is not there")
    border = floats({"border": [member(split, "border")]}, "border")[0]
    place, missing_above = treatment[own]
    return place, float(np.float32(border)), not missing_above


def _oblivious(trees: Sequence[Any], treatment: dict[int, tuple[int, bool]], outputs: int) -> Nodes:
    """The nodes of trees with one test per level; the last split is taken at the root, so that leaves come
    in their order.
    """
    parts: list[tuple[Any, ...]] = []
    values = []
    for tree in trees:
        splits = tree.get("splits") if isinstance(tree, dict) else None
        splits = splits if isinstance(splits, list) else []
        if len(splits) > DEPTH_LIMIT or not all(isinstance(split, dict) for split in splits):
            raise corrupt(f"a tree has {len(splits)} levels")
        inner = (1 << len(splits)) - 1
        leaf_values = floats(tree, "leaf_values", (inner + 1) * outputs).reshape(-1, outputs)
        tests = [_test(split, treatment) for split in reversed(splits)]
        level = np.array([at.bit_length() - 1 for at in range(1, inner + 1)], np.int64)
        feature = np.array([test[0] for test in tests], np.int64)[level] if inner else np.empty(0, np.int64)
        border = np.array([test[1] for test in tests])[level] if inner else np.empty(0)
        nan_left = np.array([test[2] for test in tests], np.bool_)[level] if inner else np.empty(0, np.bool_)
        none, at = np.full(inner + 1, -1, np.int64), np.arange(inner, dtype=np.int64)
        parts.append(
            (
                np.concatenate([2 * at + 1, none]),
                np.concatenate([2 * at + 2, none]),
                np.concatenate([feature, none]),
                np.concatenate([border, np.zeros(inner + 1)]),
                np.concatenate([nan_left, np.zeros(inner + 1, np.bool_)]),
            )
        )
        values.append(np.concatenate([np.zeros((inner, outputs)), leaf_values]))
    return _joined(parts, values, outputs)


def _free(trees: Sequence[Any], treatment: dict[int, tuple[int, bool]], outputs: int) -> Nodes:
    """The nodes of trees with tests of their own in every node."""
    parts: list[tuple[Any, ...]] = []
    values = []
    for tree in trees:
        rows: list[list[Any]] = []
        leaves: list[Floats] = []
        waiting: list[tuple[Any, int, int]] = [(tree, -1, 0)]
        while waiting:
            node, parent, side = waiting.pop()
            at = len(rows)
            if parent >= 0:
                rows[parent][side] = at
            if isinstance(node, dict) and "split" in node:
                rows.append([-1, -1, *_test(member(node, "split"), treatment)])
                leaves.append(np.zeros(outputs))
                waiting += [(member(node, "right"), at, 1), (member(node, "left"), at, 0)]
                continue
            value = member(node, "value")
            rows.append([-1, -1, -1, 0.0, False])
            leaves.append(floats({"value": value if isinstance(value, list) else [value]}, "value", outputs))
        columns = list(zip(*rows, strict=True))
        kinds = (np.int64, np.int64, np.int64, np.float64, np.bool_)
        parts.append(tuple(np.array(column, kind) for column, kind in zip(columns, kinds, strict=True)))
        values.append(np.array(leaves))
    return _joined(parts, values, outputs)


def _joined(parts: Sequence[tuple[Any, ...]], values: Sequence[Floats], outputs: int) -> Nodes:
    """The trees' nodes end to end."""
    empty = (np.empty(0, np.int64),) * 3 + (np.empty(0), np.empty(0, np.bool_))
    left, right, feature, threshold, nan_left = (
        np.concatenate(column) for column in zip(empty, *parts, strict=True)
    )
    return Nodes(
        begins=np.cumsum([0, *(part[0].size for part in parts)]),
        left=left,
        right=right,
        feature=feature,
        threshold=threshold,
        nan_left=nan_left,
        values=np.concatenate([np.empty((0, outputs)), *values]),
        output=np.zeros(len(parts), np.int64),
    )


def _facts(info: Any, names: tuple[str, ...], outputs: int) -> ModelFacts:
    """The model's facts."""
    classes = _classes(info)
    kind = "raw"
    kinds = {"predict": outputs, "decision_function": outputs}
    if classes and len(classes) == (2 if outputs == 1 else outputs):
        loss = str(info.get("params", {}).get("loss_function", {}).get("type", ""))
        kind = "two" if outputs == 1 else ("each" if loss == "MultiClassOneVsAll" else "several")
        kinds = {"predict": 1, "predict_proba": len(classes), "decision_function": outputs}
    elif classes:
        raise unsupported(f"CatBoost models with {len(classes)} classes and {outputs} outputs")
    generic = all(name in ("", str(place)) for place, name in enumerate(names))
    version = str(info.get("catboost_version_info", "")) if isinstance(info, dict) else ""
    release = next(
        (word[1:] for word in version.replace("/", " ").split() if word[:1] == "v" and "." in word), ""
    )
    return ModelFacts(
        n_features=len(names),
        outputs=kinds,
        library="catboost",
        library_version=release,
        compute="float32",
        takes_nan=True,
        feature_names=() if generic else names,
        classes=classes,
        label_methods=("predict",) if classes else (),
        recipe=f"catboost:{kind}",
    )


def _classes(info: Any) -> tuple[str | int | float, ...]:
    """A classifier's classes in the order of their outputs; none for other models."""
    parameters = info.get("class_params") if isinstance(info, dict) else None
    if not isinstance(parameters, dict):
        return ()
    names = parameters.get("class_names") or parameters.get("class_to_label") or []
    if not isinstance(names, list) or not all(isinstance(name, str | int | float) for name in names):
        raise corrupt("its classes are not names or numbers")
    return tuple(names)
