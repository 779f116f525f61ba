"""Mini-batches: rows of a request, checked field by field, answered with class and probabilities.

A row names a server and an hour, and brings the history that its features are made of; the calendar is
always computed from the hour. The field names are those of the features, so that the reference's payload is
answered as it stands.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fleetscore.errors import InputError
from fleetscore.models.pins import Pins
from fleetscore.partition_keys import join_key
from fleetscore.store.base import Store
from fleetscore.workloads.server_load.addresses import canonical_server
from fleetscore.workloads.server_load.calendar_features import CALENDAR, WEEKDAYS, calendar_matrix
from fleetscore.workloads.server_load.features import ALL_FEATURES
from fleetscore.workloads.server_load.grammar import SLOTS_PER_HOUR, read_slot
from fleetscore.workloads.server_load.labels import CLASSES
from fleetscore.workloads.server_load.load_answers import name_of_expected
from fleetscore.workloads.server_load.scoring import cached_trees
from fleetscore.workloads.server_load.trees import ModelFacts, predict

SERVER, HOUR, KEY = "ServerIP", "SessionStartHourTime", "key"
# what a row may bring; a model of an earlier version uses the first of them
_SENT = ALL_FEATURES[len(CALENDAR) :]
_KNOWN = frozenset((SERVER, HOUR, KEY, *CALENDAR, *_SENT))
_NUMBER_LIMIT = 1e12
# the reference always sends a trend of 0
_COMPARED = tuple(name for name in CALENDAR if name != "linearTrend")


def answer_rows(
    store: Store,
    workload: str,
    pins: Pins,
    rows: Sequence[Mapping[str, Any]],
    name_of: Callable[[str], str] = canonical_server,
) -> list[dict[str, Any]]:
    """One answer per row, in order; InputError names the row and the field, and nothing is answered.

    `name_of` gives the canonical name of the server that a text means, "" where it means none.
    """
    for number, row in enumerate(rows):
        _check_names(row, number)
    servers = [_server(row, number, name_of) for number, row in enumerate(rows)]
    hours = np.array([_hour(row, number) for number, row in enumerate(rows)], np.int64)
    history = np.array(
        [[_number(row.get(name), number, name) for name in _SENT] for number, row in enumerate(rows)]
    ).reshape(len(rows), len(_SENT))
    versions = [_version(pins, join_key([server]), number) for number, server in enumerate(servers)]
    answers: list[dict[str, Any]] = [{} for _ in rows]
    for version in sorted(set(versions)):
        chosen = [number for number, of_row in enumerate(versions) if of_row == version]
        trees = cached_trees(store, workload, version)
        calendar = calendar_matrix(hours[chosen], trees.facts.country)
        used = trees.facts.features[len(CALENDAR) :]
        chances = predict(trees, np.hstack([calendar, history[chosen][:, : len(used)]])).tolist()
        for number, dates, chance in zip(chosen, calendar.tolist(), chances, strict=True):
            answers[number] = _answer(rows[number], dates, chance, version, trees.facts)
    return answers


def _answer(
    row: Mapping[str, Any], calendar: list[float], chances: list[float], version: str, facts: ModelFacts
) -> dict[str, Any]:
    best = max(range(len(CLASSES)), key=chances.__getitem__)
    answer: dict[str, Any] = {SERVER: row[SERVER], HOUR: row[HOUR], "load_class": CLASSES[best]}
    if KEY in row:
        answer[KEY] = row[KEY]
    answer |= {f"p_{name}": chance for name, chance in zip(CLASSES, chances, strict=True)} | {
        "model": version
    }
    missing = sum(_is_missing(row.get(name)) for name in facts.features[len(CALENDAR) :])
    warnings = [_unexpected(row, facts)]
    warnings += [_differing(row, name, value) for name, value in zip(CALENDAR, calendar, strict=True)]
    answer["missing_features"] = missing
    answer["warnings"] = [warning for warning in warnings if warning]
    return answer


def _unexpected(row: Mapping[str, Any], facts: ModelFacts) -> str:
    """A sentence when the row lacks what a model of the load's quantiles cannot do without."""
    needed = name_of_expected(facts.features)
    if facts.kind != "load" or not _is_missing(row.get(needed)):
        return ""
    return (
        f"{needed} is missing: this model says by how much the load differs from it, so it tells no class "
        f"apart and all have the same chance. Send {needed}."
    )


def _differing(row: Mapping[str, Any], name: str, computed: float) -> str:
    """A sentence when a calendar field that the row brings is not what its hour says; the hour is
    believed.
    """
    given = row.get(name)
    if name not in _COMPARED or _is_missing(given):
        return ""
    computed_text = WEEKDAYS[int(computed)] if name == "dayofweek" else f"{computed:g}"
    same = str(given) == computed_text or str(given) == f"{computed:g}"
    return "" if same else f"{name} was {given}; {computed_text}, by {HOUR}, was used."


def _check_names(row: Mapping[str, Any], number: int) -> None:
    unknown = row.keys() - _KNOWN
    if unknown:
        name = sorted(unknown)[0]
        raise InputError(
            f"Row {number}: there is no field {name!r}.",
            fix=f"Known: {SERVER}, {HOUR}, {KEY}, {', '.join((*CALENDAR, *_SENT))}.",
            field=f"rows[{number}].{name}",
        )
    for name in (KEY, *CALENDAR):
        if not isinstance(row.get(name), str | int | float | None):
            raise _bad(row.get(name), number, name, "a number or a text")


def _server(row: Mapping[str, Any], number: int, name_of: Callable[[str], str]) -> str:
    value = row.get(SERVER)
    name = name_of(value) if isinstance(value, str) else ""
    if not name:
        raise _bad(value, number, SERVER, "a name" if name_of("a") else "an IP address")
    return name


def _hour(row: Mapping[str, Any], number: int) -> int:
    value = row.get(HOUR)
    slot = read_slot(value) if isinstance(value, str) else None
    if slot is None or slot % SLOTS_PER_HOUR or not str(value).strip().rstrip("Z").endswith(":00:00"):
        raise _bad(value, number, HOUR, 'a full hour in UTC such as "2016-06-29 01:00:00"')
    return slot // SLOTS_PER_HOUR


def _is_missing(value: Any) -> bool:
    return value is None or value == ""


def _number(value: Any, number: int, name: str) -> float:
    """The value as a float; NaN where it is missing (null, or an empty CSV cell)."""
    if _is_missing(value):
        return math.nan
    if isinstance(value, str):
        value = _parsed(value)
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < _NUMBER_LIMIT:
        raise _bad(value, number, name, "a finite number, or null where there was no session")
    return float(value)


def _parsed(text: str) -> float | str:
    plain = text.isascii() and not any(letter in text.lower() for letter in "nif_")  # no nan, inf, 1_000
    try:
        return float(text) if plain else text
    except ValueError:
        return text


def _version(pins: Pins, server: str, number: int) -> str:
    version = pins.version_for(server)
    if not version:
        raise InputError(
            f"Row {number}: no model set is pinned for {server}.",
            fix="Train and pin one.",
            code="no_model",
            field="models",
        )
    return version


def _bad(value: Any, number: int, name: str, expected: str) -> InputError:
    got = repr(value)
    got = got if len(got) <= 80 else got[:77] + "..."
    return InputError(
        f"Row {number}: {name} is {got}.", fix=f"Expected {expected}.", field=f"rows[{number}].{name}"
    )
