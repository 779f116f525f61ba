"""What orchestrations are handed of a request: all of it, but names of partitions that are many. Those lie
in the store, since some storage backends take 256 KB.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fleetscore.records import RunRequest, from_plain, to_json, to_plain
from fleetscore.runs.run_records import read_run
from fleetscore.store.base import Store
from fleetscore.store.paths import backfill_names_path
from fleetscore.store.state_files import read_truth

_NAMES_BYTES = 50_000
_IN_RECORD = "names_in_record"


def run_input(request: RunRequest) -> dict[str, Any]:
    """The input of the run's orchestration: the request as JSON values. Many names of partitions are left
    out, and read from the run's record by `requested`.
    """
    plain: dict[str, Any] = to_plain(request)
    return plain if _are_few(request.partitions) else plain | {"partitions": [], _IN_RECORD: True}


def requested(store: Store, plain: Mapping[str, Any]) -> RunRequest:
    """The whole request of what `run_input` gave."""
    request = from_plain(plain, RunRequest)
    return read_run(store, request.run).request if plain.get(_IN_RECORD) else request


def keep_names(store: Store, workload: str, backfill: str, partitions: Sequence[str]) -> dict[str, Any]:
    """The names of a backfill's partitions as a part of its input; many are written to the store."""
    if _are_few(partitions):
        return {"partitions": list(partitions)}
    path = backfill_names_path(workload, backfill)
    store.write(path, to_json(list(partitions)))
    return {"partitions": [], "names_at": path}


def names_of(store: Store, payload: Mapping[str, Any]) -> tuple[str, ...]:
    """The names that `keep_names` made part of an input; MissingBlobError where their file is gone."""
    if payload.get("names_at"):
        return tuple(read_truth(store, payload["names_at"], list[str]))
    return tuple(payload.get("partitions", ()))


def _are_few(names: Sequence[str]) -> bool:
    return sum(map(len, names)) <= _NAMES_BYTES and len(json.dumps(names)) <= _NAMES_BYTES
