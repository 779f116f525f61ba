"""Retiring a partition: it is expected no more, where it would be late for want of data, or missed for want
of a model.
"""

from __future__ import annotations

import difflib
from datetime import datetime

from fleetscore.errors import MissingBlobError
from fleetscore.models.pins import read_pins
from fleetscore.pipeline.absent import card_absent
from fleetscore.pipeline.spellings import speller_in
from fleetscore.runs.index import list_runs
from fleetscore.runs.ledgers import read_ledger
from fleetscore.runs.retirements import Retirement, list_retired, retire
from fleetscore.store.base import Store

_RUNS_READ = 5


def retire_partition(
    store: Store, workload: str, partition: str, *, why: str, now: datetime, requested_by: str, undo: bool = False
) -> Retirement:  # fmt: skip
    """Retire the partition, or with `undo` expect it again; MissingBlobError for one that nobody expects,
    with the nearest names. What is written down is the canonical spelling of its key.
    """
    spell = speller_in(store, workload) or str
    known = {act.partition for act in list_retired(store, workload)} if undo else _expected(store, workload)
    meant = sorted(key for key in known if spell(key) == spell(partition))
    if not meant:
        near = difflib.get_close_matches(partition, known, 3)
        state = "retired" if undo else "expected"
        fix = f"Did you mean {' or '.join(near)}?" if near else f"{len(known)} partitions are {state}."
        raise MissingBlobError(
            f"{workload} has no partition {partition!r} that is {state}.",
            fix=fix,
            code="no_partition",
            field="partition",
        )
    keys = meant if undo else [spell(partition)]
    acts = [
        retire(store, workload, key, why=why, now=now, requested_by=requested_by, retired=not undo)
        for key in keys
    ]
    return acts[-1]


def _expected(store: Store, workload: str) -> set[str]:
    """The partitions of the newest ledgers, and those that the current set misses."""
    found = set(card_absent(store, workload, read_pins(store, workload).current))
    for line in list_runs(store, workload, _RUNS_READ):
        if line.purpose == "score":
            try:
                found |= set(read_ledger(store, line.run)["partition"].to_pylist())
            except MissingBlobError:  # a run that ended before it had one
                continue
    return found
