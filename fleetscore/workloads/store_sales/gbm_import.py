"""Import gbm models from the tables that export_gbm.R writes; nothing of them is executed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from fleetscore.errors import InputError
from fleetscore.workload import ModelSetDraft
from fleetscore.workloads.store_sales.gbm_model import FILE, GbmModel, check, pack

_TABLES = {
    "models.csv": {
        "model": "str", "first_step": "int", "last_step": "int", "quantile": "float", "distribution": "str",
        "link": "str", "initial": "float", "trees": "int",
    },
    "variables.csv": {"model": "str", "variable": "int", "name": "str", "level": "str", "text": "str"},
    "nodes.csv": {
        "model": "str", "tree": "int", "node": "int", "variable": "int", "code": "float", "left": "int",
        "right": "int", "missing": "int",
    },
    "splits.csv": {"model": "str", "split": "int", "level": "int", "direction": "int"},
}  # fmt: skip
_TYPES = {"str": pa.string(), "int": pa.int64(), "float": pa.float64()}

Columns = dict[str, NDArray[Any]]


def is_gbm_export(source: Path) -> bool:
    """Whether the folder holds one of the tables that export_gbm.R writes."""
    return any((source / name).is_file() for name in _TABLES)


def import_gbm(folder: Path) -> ModelSetDraft:
    """The model set of an export; InputError names the table that is missing or wrong, ModelError what
    cannot be scored.
    """
    model = _join({name: _read(folder / name, columns) for name, columns in _TABLES.items()})
    check(model)
    card = {
        "kind": "gbm",
        "models": len(model.names),
        "trees": len(model.root),
        "variables": sorted({str(name) for name in model.variable_name}),
        "steps": [int(model.first_step.min()), int(model.last_step.max())],
        "target": "log sales",
    }
    return ModelSetDraft({FILE: pack(model)}, card)


def _read(path: Path, columns: dict[str, str]) -> Columns:
    try:
        table = pacsv.read_csv(
            path,
            convert_options=pacsv.ConvertOptions(
                column_types={name: _TYPES[kind] for name, kind in columns.items()},
                include_columns=list(columns),
            ),
        )
    except (OSError, KeyError, pa.ArrowException) as error:
        raise InputError(
            f"{path} is not a table of exported gbm models: {error}.",
            fix="Export with export_gbm.R and import the folder that it wrote.",
            field="source",
        ) from error
    return {name: table[name].to_numpy() for name in columns}


def _join(tables: dict[str, Columns]) -> GbmModel:
    models, variables, nodes = tables["models.csv"], tables["variables.csv"], tables["nodes.csv"]
    place = {str(name): i for i, name in enumerate(models["model"])}
    node_model = _places(nodes["model"], place)
    order = np.lexsort((nodes["node"], nodes["tree"], node_model))
    nodes = {name: column[order] for name, column in nodes.items()}
    starts = np.flatnonzero(nodes["node"] == 0)
    owner = np.searchsorted(starts, np.arange(len(order)), side="right") - 1
    first = starts[owner]
    variable_names, variable_start, level_start, level_text = _variables(variables, place)
    code, directions = _directions(
        nodes, node_model[order], tables["splits.csv"], place, np.diff(level_start), variable_start
    )
    return GbmModel(
        names=models["model"].astype(str),
        first_step=models["first_step"],
        last_step=models["last_step"],
        quantile=models["quantile"],
        initial=models["initial"],
        link=models["link"].astype(str),
        variable_start=variable_start,
        variable_name=variable_names,
        level_start=level_start,
        level_text=level_text,
        tree_start=np.concatenate([[0], np.cumsum(models["trees"])]).astype(np.int64),
        root=starts.astype(np.int64),
        variable=nodes["variable"],
        code=code,
        left=nodes["left"] + first,
        right=nodes["right"] + first,
        missing=nodes["missing"] + first,
        directions=directions,
    )


def _places(names: NDArray[Any], place: dict[str, int]) -> NDArray[np.int64]:
    unknown = sorted({str(name) for name in names} - place.keys())
    if unknown:
        raise InputError(
            f"The export has parts of models that models.csv does not list: {', '.join(unknown)}.",
            field="source",
        )
    return np.array([place[str(name)] for name in names], np.int64)


def _variables(
    table: Columns, place: dict[str, int]
) -> tuple[NDArray[np.str_], NDArray[np.int64], NDArray[np.int64], NDArray[np.str_]]:
    owner = _places(table["model"], place)
    keys = sorted(set(zip(owner.tolist(), table["variable"].tolist(), strict=True)))
    names, level_counts, texts = [], [], []
    for model, variable in keys:
        mine = np.flatnonzero((owner == model) & (table["variable"] == variable))
        levels = [int(table["level"][i]) for i in mine if str(table["level"][i] or "")]
        names.append(str(table["name"][mine[0]]))
        level_counts.append(len(levels))
        texts += [
            str(table["text"][i])
            for i in sorted((i for i in mine if levels), key=lambda i: int(table["level"][i]))
        ]
    per_model = np.bincount([model for model, _ in keys], minlength=len(place))
    starts = np.concatenate([[0], np.cumsum(per_model)]).astype(np.int64)
    level_start = np.concatenate([[0], np.cumsum(level_counts)]).astype(np.int64)
    return np.array(names), starts, level_start, np.array(texts, str) if texts else np.empty(0, "U1")


def _directions(
    nodes: Columns,
    node_model: NDArray[np.int64],
    splits: Columns,
    place: dict[str, int],
    levels: NDArray[np.int64],
    variable_start: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Node codes with those of factor splits replaced by their row in the table of directions, and that
    table.
    """
    owner = _places(splits["model"], place)
    keys = sorted(set(zip(owner.tolist(), splits["split"].tolist(), strict=True)))
    row_of = {key: row for row, key in enumerate(keys)}
    width = int(max(levels.max(initial=0), splits["level"].max(initial=-1) + 1, 1))
    directions = np.zeros((max(1, len(keys)), width), np.int64)
    for model, split, level, direction in zip(
        owner, splits["split"], splits["level"], splits["direction"], strict=True
    ):
        directions[row_of[int(model), int(split)], level] = direction
    code = nodes["code"].copy()
    inner = nodes["variable"] >= 0
    factor = np.zeros(len(code), bool)
    factor[inner] = levels[variable_start[node_model[inner]] + nodes["variable"][inner]] > 0
    for i in np.flatnonzero(factor):
        row = row_of.get((int(node_model[i]), int(code[i])))
        if row is None:
            raise InputError(
                f"splits.csv has no split {int(code[i])} of model {node_model[i]}.", field="source"
            )
        code[i] = row
    return code, directions
