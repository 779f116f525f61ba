"""Which columns the names of model files come from, and which column is the partition: pure decisions on
names and values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from fleetscore.errors import InputError
from fleetscore.workloads.models.data_guess import text_values

DEFAULT = "default"
"""The name of the file of the model of all, where others have keys."""

_LEAST_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class KeyGuess:
    """The pattern of model keys; `matched` of `values` distinct values in the data are the name of a model
    file.
    """

    pattern: str
    columns: tuple[str, ...]
    matched: int
    values: int


def guess_key(names: Sequence[str], values: Mapping[str, Sequence[str]]) -> KeyGuess:
    """The pattern that makes the file names (without suffix) of the columns' values; one file alone is the
    model of all.

    >>> guess_key(["van-7", "van-8"], {"van": ["7", "8", "9"], "depot": ["north"]}).pattern
    'van-{van}'

    InputError where no column's values are the names.
    """
    found = [_by_column(names, column, texts) for column, texts in values.items()]
    best = max(found, key=lambda one: (one.matched / max(1, one.values), one.matched), default=None)
    if best is not None and best.matched >= _LEAST_SHARE * best.values and best.matched:
        return best
    nested = _by_folders(names, values)
    if nested is not None:
        return nested
    if len(names) == 1:
        return KeyGuess("", (), 1, 1)
    shown = (
        "; ".join(f"{column}: {', '.join(map(repr, texts[:3]))}" for column, texts in values.items())
        or "none"
    )
    raise InputError(
        f"No column's values are the names of the models, such as {', '.join(map(repr, names[:3]))}. Names in the data: {shown}.",
        fix='Give --key, such as "van-{van_id}", or --manifest with the key of each file.',
        field="key",
    )


def guess_keys(names: Sequence[str], values: Mapping[str, Sequence[str]]) -> tuple[KeyGuess, ...]:
    """The guess of `guess_key`, and those of further columns that give names which it does not, such as
    depots beside vans: the column with the most values first, the model of all last.

    >>> found = guess_keys(["1", "2", "north", "default"], {"depot": ["north"], "van": ["1", "2", "3"]})
    >>> [one.pattern for one in found]
    ['{van}', '{depot}', '']
    """
    first = guess_key([name for name in names if name != DEFAULT] or names, values)
    found, left = [first], _left(names, first, values)
    if len(first.columns) != 1:
        return (first,)
    while named := left - {DEFAULT}:
        others = {name: texts for name, texts in values.items() if all(name not in g.columns for g in found)}
        guesses = [_by_column(sorted(named), column, texts) for column, texts in others.items()]
        best = max(guesses, key=lambda one: one.matched, default=None)
        if best is None or best.matched < _LEAST_SHARE * len(named):
            break
        found.append(best)
        left = _left(left, best, values)
    last = (KeyGuess("", (), 1, 1),) if DEFAULT in left else ()
    return (*sorted(found, key=lambda one: -one.values), *last)


def _left(names: Iterable[str], guess: KeyGuess, values: Mapping[str, Sequence[str]]) -> set[str]:
    """The names that are not those of the guess."""
    if len(guess.columns) != 1:
        return set()
    before = guess.pattern.partition("{")[0]
    return set(names) - {before + text for text in values[guess.columns[0]]}


def guess_partition(rows: pa.Table, key: KeyGuess, candidates: Sequence[str]) -> tuple[str, ...]:
    """The columns of the partition: those of the key, or a finer column whose every value has one value of
    them.

    >>> rows = pa.table({"van": ["1", "1", "2", "2"], "depot": ["n", "n", "n", "n"]})
    >>> guess_partition(rows, KeyGuess("{depot}", ("depot",), 1, 1), ["van", "depot"])
    ('van',)
    """
    finer = [name for name in candidates if name not in key.columns and _is_finer(rows, name, key.columns)]
    if finer:
        return (max(finer, key=lambda name: len(text_values(rows[name]))),)
    if key.columns:
        return key.columns
    raise InputError(
        "No column names what has an outcome of its own.", fix="Give --partition COLUMN.", field="partition"
    )


def _by_column(names: Sequence[str], column: str, texts: Sequence[str]) -> KeyGuess:
    """How many of the column's values are names, as they are or within a prefix that all names share."""
    guesses = []
    for before in ("", *_shared_prefixes(names)):
        known = {name.removeprefix(before) for name in names if name.startswith(before)}
        guesses.append(
            KeyGuess(f"{before}{{{column}}}", (column,), sum(text in known for text in texts), len(texts))
        )
    return max(guesses, key=lambda one: one.matched)


def _shared_prefixes(names: Sequence[str]) -> list[str]:
    """What all names begin with, up to each separator.

    >>> _shared_prefixes(["m_van-012", "m_van-013"])
    ['m_', 'm_van-']
    """
    first, last = min(names), max(names)
    pairs = enumerate(zip(first, last, strict=False))
    end = next((at for at, (a, b) in pairs if a != b), min(len(first), len(last)))
    return [first[: found.end()] for found in re.finditer(r"[_\-. ]", first[:end])]


def _by_folders(names: Sequence[str], values: Mapping[str, Sequence[str]]) -> KeyGuess | None:
    """The pattern of names in folders, such as {depot}/{van_id}."""
    parts = [name.split("/") for name in names]
    if len({len(part) for part in parts}) != 1 or len(parts[0]) < 2:
        return None
    columns, matched = [], []
    for segment in zip(*parts, strict=True):
        known = set(segment)
        share = {
            c: sum(text in known for text in texts) / max(1, len(texts))
            for c, texts in values.items()
            if c not in columns
        }
        column = max(share, key=lambda one: share[one], default="")
        if not column or share[column] < _LEAST_SHARE:
            return None
        columns.append(column)
        matched.append(sum(text in known for text in values[column]))
    return KeyGuess(
        "/".join(f"{{{c}}}" for c in columns), tuple(columns), min(matched), len(values[columns[-1]])
    )


def _is_finer(rows: pa.Table, name: str, columns: Sequence[str]) -> bool:
    """Whether each value of the column has rows enough, and one value of each of the others, of which there
    are fewer.
    """
    count = len(text_values(rows[name]))
    if count < 2 or rows.num_rows < 2 * count:
        return False
    if not columns:
        return True
    pairs = rows.select([name, *columns]).group_by([name, *columns]).aggregate([]).num_rows
    return pairs == count and all(len(text_values(rows[column])) < count for column in columns)
