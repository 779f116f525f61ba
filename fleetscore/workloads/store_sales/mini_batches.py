"""Mini-batches: what if a price, deal or feature of a week were other than planned; one forecast per row,
at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fleetscore.errors import InputError
from fleetscore.models.pins import Pins
from fleetscore.partition_keys import join_key
from fleetscore.records import InputFile
from fleetscore.runs.manifests import read_latest
from fleetscore.store.base import Store
from fleetscore.windows import Cadence, Window, parse_window
from fleetscore.workloads.store_sales.contract import QUANTILE_NAMES, StoreSalesSettings
from fleetscore.workloads.store_sales.input_files import list_files
from fleetscore.workloads.store_sales.loading import load_stores
from fleetscore.workloads.store_sales.panel import Panel
from fleetscore.workloads.store_sales.scoring import load_model, window_span
from fleetscore.workloads.store_sales.what_ifs import WhatIf, answer_what_ifs

_CHANGES = ("price", "deal", "feat")
_FIELDS = ("store", "sku", "week", "window", *_CHANGES)


@dataclass(frozen=True, slots=True)
class _Question:
    store: str
    sku: str
    week: Window
    window: Window
    changes: Mapping[str, float]


def score_mini_batch(
    store: Store, workload: str, pins: Pins, settings: StoreSalesSettings, rows: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """One answer per row, in order: store, sku, week, the quantiles, fallback and model.

    A row names store, sku and week (within the weeks to forecast of `window`, by default the newest
    published one) and may change price, deal and feat of that week; all else is as the data says. Each row
    is answered by itself. A store without a model gets nulls and a `cause`; InputError names a malformed
    row and its field.
    """
    newest = _newest_window(store, workload)
    questions = [_check(number, row, newest, settings) for number, row in enumerate(rows)]
    groups: dict[tuple[str, Window], list[int]] = {}
    for number, question in enumerate(questions):
        groups.setdefault((pins.version_for(join_key([question.store])), question.window), []).append(number)
    answers: dict[int, dict[str, Any]] = {}
    for (version, window), numbers in groups.items():
        chosen = {number: questions[number] for number in numbers}
        if version:
            inputs = list_files(store, settings, workload, window).files
            answers |= _answers(store, workload, inputs, version, window, chosen, settings)
        else:
            answers |= {number: _unanswered(question) for number, question in chosen.items()}
    return [answers[number] for number in range(len(questions))]


def _answers(
    store: Store, workload: str, inputs: Sequence[InputFile], version: str, window: Window,
    questions: Mapping[int, _Question], settings: StoreSalesSettings,
) -> dict[int, dict[str, Any]]:  # fmt: skip
    """The answers of the questions, by their numbers, about one window and with one model set."""
    loaded = load_model(store.url, workload, version, settings.covariates)
    span = window_span(window, loaded, settings)
    names = [question.store for question in questions.values()]
    panels = load_stores(store, inputs, span, names, settings)
    what_ifs = []
    for number, question in questions.items():
        series = _series(panels[question.store], number, question)
        ahead = question.week.ordinal - window.ordinal
        what_ifs.append(WhatIf(panels[question.store], series, ahead, question.changes))
    quantiles, fallback = answer_what_ifs(what_ifs, loaded, settings)
    return {
        number: _echo(question)
        | dict(zip(QUANTILE_NAMES, values, strict=True))
        | {"fallback": fell_back, "model": loaded.version}
        for (number, question), values, fell_back in zip(
            questions.items(), quantiles.tolist(), fallback.tolist(), strict=True
        )
    }


def _newest_window(store: Store, workload: str) -> Window | None:
    latest = read_latest(store, workload)
    return parse_window(latest.window, Cadence.WEEK, Cadence.INDEX) if latest else None


def _unanswered(question: _Question) -> dict[str, Any]:
    nothing = dict.fromkeys((*QUANTILE_NAMES, "fallback", "model"))
    said = {"cause": "no_model", "detail": "No model set is pinned; run `fleetscore train`."}
    return _echo(question) | nothing | said


def _echo(question: _Question) -> dict[str, Any]:
    return {"store": question.store, "sku": question.sku, "week": question.week.key}


def _series(panel: Panel, number: int, question: _Question) -> int:
    found = np.flatnonzero(panel.skus == question.sku)
    if not len(found):
        raise _bad(number, "sku", f"store {question.store} has no data of SKU {question.sku!r}")
    return int(found[0])


def _check(
    number: int, row: Mapping[str, Any], newest: Window | None, settings: StoreSalesSettings
) -> _Question:
    unknown = sorted(set(row) - set(_FIELDS))
    if unknown:
        raise _bad(number, unknown[0], f"there is no such field; known: {', '.join(_FIELDS)}")
    window = _week(number, "window", row["window"]) if "window" in row else newest
    if window is None:
        raise _bad(number, "window", "nothing is published yet; name the first week to forecast")
    week = _week(number, "week", row.get("week"))
    if week.cadence is not window.cadence or not 0 <= week.ordinal - window.ordinal < settings.steps:
        raise _bad(number, "week", f"{week.key} is not among the {settings.steps} weeks from {window.key}")
    changes = {name: _number(number, name, row[name]) for name in _CHANGES if name in row}
    if changes.get("price", 1.0) <= 0.0:
        raise _bad(number, "price", f"got {changes['price']}, expected a positive number")
    return _Question(_name(number, "store", row), _name(number, "sku", row), week, window, changes)


def _week(number: int, field: str, value: Any) -> Window:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str):
        raise _bad(number, field, f"got {value!r}, expected a week such as 2026-W47 or 108")
    try:
        return parse_window(text, Cadence.WEEK, Cadence.INDEX)
    except InputError as error:
        raise _bad(number, field, f"got {value!r}, expected a week such as 2026-W47 or 108") from error


def _name(number: int, field: str, row: Mapping[str, Any]) -> str:
    value = row.get(field)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        raise _bad(number, field, f"got {value!r}, expected a name")
    return value.strip()


def _number(number: int, field: str, value: Any) -> float:
    if isinstance(value, bool):
        return float(value)
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise _bad(number, field, f"got {value!r}, expected a finite number")
    return float(value)


def _bad(number: int, field: str, why: str) -> InputError:
    return InputError(f"Row {number}, field {field}: {why}.", field=f"rows[{number}].{field}")
