"""Keys that a call gives as numbers, where the models' keys are text with leading zeros."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.errors import InputError
from fleetscore.models.packs.bundle import Bundle
from fleetscore.workloads.models.rows import model_keys
from fleetscore.workloads.models.settings import FleetSettings

_LEADING_ZEROS = r"(^|[^0-9])0+([0-9])"


def require_whole_keys(
    rows: Sequence[Mapping[str, Any]], numbers: Sequence[int], texts: pa.Table, settings: FleetSettings, bundle: Bundle
) -> None:  # fmt: skip
    """InputError where a row's key is a number that has no model, and a model's key is that number with
    leading zeros: a later key, or none, would score it although it has a model of its own.

    `numbers` are the rows' numbers in the call, `texts` their key columns.
    """
    has_model = np.zeros(len(rows), bool)
    for pattern in settings.key_patterns:
        keys = model_keys(texts, pattern).combine_chunks()
        has_model |= bundle.find(keys)[0] >= 0
        columns = re.findall(r"\{([^{}/]+)\}", pattern)
        given = np.array([any(_is_number(row.get(name)) for name in columns) for row in rows], bool)
        unknown = np.flatnonzero(given & ~has_model)
        if len(unknown):
            _refuse_first(rows, numbers, unknown, keys, columns, bundle)


def _refuse_first(
    rows: Sequence[Mapping[str, Any]], numbers: Sequence[int], unknown: np.ndarray[tuple[int], np.dtype[np.intp]],
    keys: pa.Array, columns: Sequence[str], bundle: Bundle,
) -> None:  # fmt: skip
    places = pc.index_in(_without_zeros(keys.take(pa.array(unknown))), value_set=_without_zeros(bundle.keys))
    for at, place in zip(unknown.tolist(), places.to_pylist(), strict=True):
        if place is None:
            continue
        name = next(name for name in columns if _is_number(rows[at].get(name)))
        raise InputError(
            f"Row {numbers[at]}: {name} is the number {rows[at][name]}; no model has the key {keys[at].as_py()!r}, "
            f"and one has {bundle.keys[place].as_py()!r}.",
            fix=f"Send {name} as text, with its leading zeros.",
            field=f"rows[{numbers[at]}].{name}",
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))


def _without_zeros(keys: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The keys without leading zeros of the numbers in them.

    >>> _without_zeros(pa.array(["00007", "van-070", "0"])).to_pylist()
    ['7', 'van-70', '0']
    """
    return pc.replace_substring_regex(keys, pattern=_LEADING_ZEROS, replacement=r"\1\2")
