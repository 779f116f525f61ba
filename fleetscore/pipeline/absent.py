"""Partitions that had a model before and have none in the current set: named when a set is made, and
expected until they are retired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.errors import ModelError
from fleetscore.models.model_sets import ModelSet, read_model_file, read_model_set
from fleetscore.pipeline.spellings import speller_of
from fleetscore.records import Outcome
from fleetscore.runs.retirements import list_retired
from fleetscore.store.base import Store
from fleetscore.workload import Partitions, Remark, RunContext, Workload

CARD_LINE = "absent"
"""The line of a set's card with the partitions that the set before had models for, and this one has not."""

MODELS_LOST = "models_lost"
_SHOWN = 5


def find_absent(store: Store, kind: Workload, before: str, files: Mapping[str, bytes]) -> list[str]:
    """The partitions that the version `before` has a model for, or missed already, and the new set's files
    have not.
    """
    known = _known_partitions(store, kind, before)
    mine = kind.modelled_partitions(files.__getitem__) if known is not None else None
    if known is None or mine is None:
        return []
    spell = speller_of(kind) or str
    retired = {spell(act.partition) for act in list_retired(store, kind.name)}
    return sorted({*map(spell, known)} - {*map(spell, mine)} - retired)


def describe_absent(absent: Sequence[str], workload: str) -> str:
    """A sentence that names them; "" for none."""
    if not absent:
        return ""
    shown = ", ".join(absent[:_SHOWN]) + (f" and {len(absent) - _SHOWN} more" if len(absent) > _SHOWN else "")
    return (
        f"{len(absent)} partitions had a model before and have none now: {shown}. They stay expected; "
        f"`fleetscore retire {workload} PARTITION` ends that."
    )


def with_absent(run: RunContext, found: Partitions) -> Partitions:
    """The expected partitions with those that the current set's card misses, without silent ones that are
    retired.
    """
    spell = speller_of(run.kind) or str
    retired = {spell(act.partition) for act in list_retired(run.store, run.workload)}
    absent = {*map(spell, card_absent(run.store, run.workload, run.pins.current))} - retired
    table = found.expected
    if retired:
        silent = pc.and_(pc.equal(table["outcome"], Outcome.LATE), pc.equal(table["rows"], 0))
        gone = pc.and_(silent, pc.is_in(table["partition"], value_set=pa.array(sorted(retired), pa.string())))
        table = table.filter(pc.invert(gone))
    missing = sorted(absent - set(table["partition"].to_pylist()))
    detail = "It had a model before, has none now, and no row of the window is there; `fleetscore retire` ends the wait."
    late = Partitions.table(missing, outcome=Outcome.LATE, cause="no_model_no_rows", detail=detail)
    joined = pa.concat_tables([table.select(late.column_names).cast(late.schema), late]) if missing else table
    return replace(
        found, expected=joined, remarks=(*found.remarks, *_lost_remarks(joined, absent, run.workload))
    )


def _lost_remarks(table: pa.Table, absent: set[str], workload: str) -> list[Remark]:
    """A remark that needs attention where partitions with rows are skipped that had a model before."""
    skipped = table.filter(pc.equal(table["outcome"], Outcome.SKIPPED))["partition"].to_pylist()
    lost = sorted(absent & set(skipped))
    if not lost:
        return []
    shown = ", ".join(lost[:_SHOWN]) + (f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else "")
    text = (
        f"{len(lost)} partitions are skipped for want of a model that they had before: {shown}. "
        f"Import theirs (fleetscore import-models {workload} --add), pin the version before, or retire them."
    )
    return [Remark(MODELS_LOST, text)]


def _known_partitions(store: Store, kind: Workload, version: str) -> set[str] | None:
    """The partitions that the version has a model for, and those that its card misses; None where nobody
    knows.
    """
    if not version:
        return None
    try:
        model_set = read_model_set(store, kind.name, version)
        mine = kind.modelled_partitions(partial(read_model_file, store, model_set))
    except ModelError:  # a set that cannot be read fails where it scores
        return None
    return None if mine is None else {*mine, *_absent_of(model_set)}


def card_absent(store: Store, workload: str, version: str) -> Sequence[str]:
    """The partitions that the version's card misses."""
    if not version:
        return ()
    try:
        return _absent_of(read_model_set(store, workload, version))
    except ModelError:
        return ()


def _absent_of(model_set: ModelSet) -> Sequence[str]:
    told: Any = model_set.card.get(CARD_LINE, ())
    return [str(one) for one in told] if isinstance(told, list | tuple) else ()
