"""Mini-batches: rows in JSON or CSV, checked, and answered with the pinned models."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from fleetscore.capabilities import ScoresRows, require
from fleetscore.errors import InputError
from fleetscore.models.pins import read_pins
from fleetscore.pipeline.spellings import respell_pins
from fleetscore.registry import get_workload
from fleetscore.store.base import Store
from fleetscore.typed_json import decode_json

MAX_ROWS = 10_000


class MiniBatch(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The JSON body: {"rows": [{...}, ...]}."""

    rows: list[dict[str, Any]]


def read_rows(body: bytes, content_type: str) -> list[dict[str, Any]]:
    """The rows of a request body; InputError says what is wrong with it."""
    kind = content_type.split(";")[0].strip().lower()
    if kind == "text/csv":
        rows = _read_csv(body)
    elif kind in (
        "application/json",
        "application/x-www-form-urlencoded",
        "",
    ):  # the last but one: curl's own
        rows = _read_json(body)
    else:
        raise InputError(
            f"Content type {kind!r} is not taken.",
            fix="Send application/json or text/csv.",
            field="content-type",
        )
    if not 0 < len(rows) <= MAX_ROWS:
        raise InputError(
            f"The body has {len(rows)} rows.",
            fix=f"Send 1 to {MAX_ROWS}; more are a run's work.",
            field="rows",
        )
    return rows


def answer_rows(store: Store, workload_name: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One answer per row, in order, and the model set that was pinned."""
    workload = get_workload(store, workload_name)
    kind = require(workload, ScoresRows)
    pins = respell_pins(workload, read_pins(store, workload_name))
    return {"answers": kind.score_rows(store, pins, rows), "model_set": pins.current}


def _read_json(body: bytes) -> list[dict[str, Any]]:
    try:
        return decode_json(body, MiniBatch).rows
    except (msgspec.DecodeError, RecursionError) as error:
        raise InputError(
            f"The body is not a mini-batch: {error}.", fix='Send {"rows": [{...}, ...]}.', field="rows"
        ) from error


def _read_csv(body: bytes) -> list[dict[str, Any]]:
    try:
        reader = csv.DictReader(io.StringIO(body.decode("utf-8-sig")), strict=True)
        rows: list[dict[str, Any]] = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"The body is not CSV in UTF-8: {error}.", field="body") from error
    names = list(reader.fieldnames or ())
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise InputError(f"The header names {doubled!r} twice.", fix="Name each column once.", field=doubled)
    for number, row in enumerate(rows, 1):
        if None in row or None in row.values():
            raise InputError(
                f"Row {number} has another number of cells than the header.", field=f"rows[{number - 1}]"
            )
    return rows
