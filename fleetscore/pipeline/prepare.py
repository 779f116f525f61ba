"""Prepare a run: list the pieces of preparation that are missing, and compute each once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fleetscore.capabilities import Prepares, require
from fleetscore.errors import BugError, FleetscoreError, MissingBlobError
from fleetscore.exhaustion import raise_passing
from fleetscore.pipeline.context import open_run
from fleetscore.records import RunRequest, to_json
from fleetscore.store.base import Store
from fleetscore.store.paths import run_path
from fleetscore.store.state_files import read_truth
from fleetscore.workload import MapItem

MAX_ROUNDS = 8
"""Preparation may need several rounds (parse, then reduce); more than this means that it does not end."""


@dataclass(frozen=True, slots=True)
class PreparedItem:
    """What became of one piece of preparation: a line of the run's preparation ledger."""

    item: str
    input: str
    output: str
    seconds: float
    facts: Mapping[str, Any]
    error: str = ""
    schema: int = 1


def list_items(store: Store, request: RunRequest, round_number: int) -> list[MapItem]:
    """The pieces of the round, fixed at the first call; an empty list ends preparation."""
    path = run_path(request.run, f"prepare/{round_number}/items.json")
    try:
        return read_truth(store, path, list[MapItem])
    except MissingBlobError:
        items = _missing_items(store, request)
    if items and round_number >= MAX_ROUNDS:
        raise BugError(
            f"{request.workload} still needs preparation after {MAX_ROUNDS} rounds: {items[0].item}."
        )
    if items:
        store.create(path, to_json(items))
        return read_truth(store, path, list[MapItem])
    return []


def prepare_item(store: Store, request: RunRequest, round_number: int, number: int) -> PreparedItem:
    """Compute piece `number` of the round unless it is done; an expected failure is recorded, and the run
    stops on it later.
    """
    path = run_path(request.run, f"prepare/{round_number}/{number:06d}.json")
    try:
        return read_truth(store, path, PreparedItem)
    except MissingBlobError:
        item = list_items(store, request, round_number)[number]
    run = open_run(store, request)
    started = time.perf_counter()
    facts: Mapping[str, Any] = {}
    error = ""
    try:
        facts = require(run.kind, Prepares).map_item(run, item)
    except FleetscoreError as failure:
        raise_passing(failure)
        error = str(failure)
    done = PreparedItem(item.item, item.input.path, item.output, time.perf_counter() - started, facts, error)
    if not error:
        store.create(path, to_json(done))
    return done


def _missing_items(store: Store, request: RunRequest) -> list[MapItem]:
    run = open_run(store, request)
    return list(run.kind.map_items(run)) if isinstance(run.kind, Prepares) else []
