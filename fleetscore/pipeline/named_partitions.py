"""Partitions that a further round is asked for by name, checked before there is a run of it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from fleetscore.errors import FleetscoreError, InputError, MissingBlobError
from fleetscore.pipeline.context import open_window
from fleetscore.pipeline.partition_names import match_partitions
from fleetscore.pipeline.spellings import find_spelled, speller_of
from fleetscore.records import RunRecord
from fleetscore.registry import get_workload
from fleetscore.runs.ledgers import read_ledger
from fleetscore.store.base import Store


def check_named(store: Store, before: RunRecord, names: Sequence[str]) -> None:
    """InputError for a name that means no partition of the round before and of what is discovered now.

    Discovery is asked only for names that the round before does not have; where it cannot answer, the run
    itself will say why.
    """
    if not names:
        return
    try:
        known = set(read_ledger(store, before.request.run)["partition"].to_pylist())
    except MissingBlobError:
        return
    if not match_partitions(names, known).unknown:
        return
    try:
        kind = get_workload(store, before.request.workload)
        spell = speller_of(kind)
        if not match_partitions(find_spelled(names, known, spell), known).unknown:
            return
        found = kind.discover(open_window(store, kind, before.request.window)).expected
    except FleetscoreError:
        return
    known |= set(found["partition"].to_pylist())
    unknown = match_partitions(find_spelled(names, known, spell), known).unknown
    if unknown:
        near = difflib.get_close_matches(unknown[0], sorted(known)[:20_000], 3)
        raise InputError(
            f"There is neither data nor a model for partition {unknown[0]}, and {before.request.run} did not have it.",
            fix=f"Like it: {', '.join(near)}."
            if near
            else f"It has {len(known)}, the first is {min(known)}.",
            field="partitions",
        )
