"""Carrying over: a later run of a window keeps what an earlier one got right and scores only the rest.

A published file of which some partitions are scored again is written anew: the rows of the others are copied
into a new file.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.errors import InputError
from fleetscore.pipeline.partition_names import match_partitions
from fleetscore.pipeline.spellings import Speller, find_spelled, respell_column, spell_unless
from fleetscore.records import GOOD, Only, Outcome, ResultFile, RunRequest
from fleetscore.runs.ledgers import read_previous_ledger
from fleetscore.runs.manifests import find_manifest
from fleetscore.schemas import PARTITIONS, fill_table
from fleetscore.store.base import Store
from fleetscore.store.paths import run_path, table_root
from fleetscore.store.state_files import read_truth

NOT_REQUESTED = "not_requested"
UNKNOWN_PARTITION = "unknown_partition"


@dataclass(frozen=True, slots=True)
class Carried:
    """The PARTITIONS table with a `kept` column (outcome then comes from the previous ledger), and what
    becomes of the files.

    `fresh` has the rows that are not kept, `files` stay as they are, of the `rewritten` ones some partitions
    stay.
    """

    table: pa.Table
    fresh: pa.Table
    files: tuple[ResultFile, ...] = ()
    rewritten: tuple[ResultFile, ...] = ()


def carry_over(store: Store, request: RunRequest, table: pa.Table, spell: Speller | None = None) -> Carried:
    """Restrict the discovered partitions to what the request names, keeping the rest from the previous run.

    `spell` gives canonical keys: the lines of a partition that earlier runs spelled otherwise go when it is
    scored again.
    """
    ledger = read_previous_ledger(store, request)
    if ledger is None:
        table = _restrict(table, request.partitions, spell) if request.purpose == "score" else table
        return Carried(_with_kept(table, np.zeros(table.num_rows, bool)), table)
    spell = spell_unless(table["partition"].to_pylist(), spell) if spell else None
    named = _find_named(table, ledger, request, spell)
    ledger = _without_vanished(table, ledger, request.only, named)
    respelled = respell_column(ledger, spell) if spell else ledger
    wanted = choose_partitions(table, respelled, request.only, named)
    published = _published_files(store, request)
    if request.only is Only.FAILED and not named and published is None:
        wanted |= _now_scorable(table, respelled)
    if spell is not None:
        wanted |= {key for key in ledger["partition"].to_pylist() if spell(key) in wanted}
    kept, fresh = _keep(table, ledger, wanted)
    known = _committed_files(store, request) if published is None else published
    files, rewritten = _sort_files(ledger, wanted, known, table_root(request.workload))
    return Carried(kept, fresh, files, rewritten)


def choose_partitions(table: pa.Table, ledger: pa.Table, only: Only, named: tuple[str, ...]) -> set[str]:
    """The partitions to score again: `named` ones where given, else by `only`; partitions that are new in
    `table` always.
    """
    keys = set(table["partition"].to_pylist())
    if named:
        return keys & set(named)
    if only is Only.ALL:
        return keys
    fresh = keys - set(ledger["partition"].to_pylist())
    return fresh | (
        keys & (_without_good_outcome(ledger) if only is Only.FAILED else _missing(table, ledger))
    )


def _now_scorable(table: pa.Table, ledger: pa.Table) -> set[str]:
    """The partitions that were skipped and can be scored now, such as those whose models came after the
    run.
    """
    skipped = ledger.filter(pc.equal(ledger["outcome"], Outcome.SKIPPED))["partition"]
    return set(table.filter(pc.equal(table["outcome"], ""))["partition"].to_pylist()) & set(
        skipped.to_pylist()
    )


def _find_named(
    table: pa.Table, ledger: pa.Table, request: RunRequest, spell: Speller | None
) -> tuple[str, ...]:
    """The partitions that the request's keys and patterns mean; InputError for one that neither discovery nor
    the previous run knows.
    """
    if not request.partitions:
        return ()
    known = {*table["partition"].to_pylist(), *ledger["partition"].to_pylist()}
    named = match_partitions(find_spelled(request.partitions, known, spell), known)
    if named.unknown:
        raise InputError(
            f"There is neither data nor a model for partition {named.unknown[0]}, and {request.previous} did not have it.",
            fix=f"See what is like it: fleetscore explain {request.previous} {shlex.quote(named.unknown[0])}",
            field="partitions",
        )
    spelled = {spell(key) for key in named.partitions} if spell else set[str]()
    return tuple(sorted(named.partitions | spelled))


def _without_vanished(table: pa.Table, ledger: pa.Table, only: Only, named: tuple[str, ...]) -> pa.Table:
    """The ledger without what is requested again, never had results, and is not there any more, such as a
    broken file that was deleted.
    """
    if only is Only.MISSING and not named:
        return ledger
    gone = _without_good_outcome(ledger) - set(table["partition"].to_pylist())
    gone -= set(ledger.filter(pc.not_equal(ledger["file"], ""))["partition"].to_pylist())
    dropped = gone & set(named) if named else gone
    return ledger.filter(pc.invert(pc.is_in(ledger["partition"], pa.array(sorted(dropped), pa.string()))))


def _without_good_outcome(ledger: pa.Table) -> set[str]:
    good = pa.array(sorted(GOOD))
    bad = pc.or_(pc.invert(pc.is_in(ledger["outcome"], good)), pc.equal(ledger["cause"], NOT_REQUESTED))
    return set(ledger.filter(bad)["partition"].to_pylist())


def _missing(table: pa.Table, ledger: pa.Table) -> set[str]:
    absent = pc.or_(pc.equal(ledger["outcome"], Outcome.LATE), pc.equal(ledger["cause"], NOT_REQUESTED))
    before = dict(zip(ledger["partition"].to_pylist(), ledger["input_rows"].to_pylist(), strict=True))
    now = zip(table["partition"].to_pylist(), table["rows"].to_pylist(), strict=True)
    grown = {key for key, rows in now if key in before and rows > before[key]}
    return grown | set(ledger.filter(absent)["partition"].to_pylist())


def _sort_files(
    ledger: pa.Table, wanted: set[str], files: tuple[ResultFile, ...], root: str
) -> tuple[tuple[ResultFile, ...], tuple[ResultFile, ...]]:
    """The files that stay as they are, and those of which rows are copied; the rest go whole.

    A file is copied from where partitions are scored again and others are not, or it lies outside the table.
    """
    is_wanted = pc.is_in(ledger["partition"], pa.array(sorted(wanted), pa.string()))
    touched = set(ledger.filter(is_wanted)["file"].to_pylist())
    staying = set(ledger.filter(pc.invert(is_wanted))["file"].to_pylist())
    moved = {file.path for file in files if file.path in touched or not file.path.startswith(root)}
    untouched = tuple(file for file in files if file.path not in moved)
    rewritten = tuple(file for file in files if file.path in moved & staying)
    return untouched, rewritten


def _published_files(store: Store, request: RunRequest) -> tuple[ResultFile, ...] | None:
    """The files of the window's manifest; None where the run that the request builds on did not publish it."""
    manifest = find_manifest(store, request.workload, request.window)
    return manifest.files if manifest is not None and manifest.run == request.previous else None


def _committed_files(store: Store, request: RunRequest) -> tuple[ResultFile, ...]:
    """The files that the run which the request builds on committed."""
    return read_truth(store, run_path(request.previous, "files.json"), tuple[ResultFile, ...])


def _restrict(table: pa.Table, names: tuple[str, ...], spell: Speller | None) -> pa.Table:
    """Mark what was not requested as skipped, and what was requested but does not exist as failed."""
    if not names:
        return table
    known = table["partition"].to_pylist()
    named = match_partitions(find_spelled(names, known, spell), known)
    is_requested = pc.is_in(table["partition"], pa.array(sorted(named.partitions), pa.string()))
    left_out = pc.and_(pc.invert(is_requested), pc.equal(table["outcome"], ""))
    table = _settle(table, left_out, Outcome.SKIPPED, NOT_REQUESTED, "")
    unknown = list(named.unknown)
    details = [f"There is neither data nor a model for partition {key}." for key in unknown]
    failed = fill_table(
        PARTITIONS, partition=unknown, rows=0, size_bytes=0, model="",
        outcome=str(Outcome.FAILED), cause=UNKNOWN_PARTITION, detail=details,
    )  # fmt: skip
    return pa.concat_tables([table, failed]) if unknown else table


def _settle(table: pa.Table, mask: pa.ChunkedArray, outcome: Outcome, cause: str, detail: str) -> pa.Table:
    for name, value in (("outcome", str(outcome)), ("cause", cause), ("detail", detail)):
        column = pc.if_else(mask, pa.scalar(value), table[name])
        table = table.set_column(table.schema.get_field_index(name), name, column)
    return table


def _keep(table: pa.Table, ledger: pa.Table, wanted: set[str]) -> tuple[pa.Table, pa.Table]:
    """All rows with `kept`, and those that are not kept.

    The outcome of every partition that is not wanted is taken from the ledger, also of those that discovery
    no longer finds.
    """
    wanted_keys = pa.array(sorted(wanted), pa.string())
    kept = ledger.filter(pc.invert(pc.is_in(ledger["partition"], wanted_keys)))
    fresh = table.filter(pc.is_in(table["partition"], wanted_keys))
    rows = fill_table(
        PARTITIONS, partition=kept["partition"], rows=kept["input_rows"], model=kept["model"], size_bytes=0,
        outcome=kept["outcome"], cause=kept["cause"], detail=kept["detail"],
    )  # fmt: skip
    flags = np.r_[np.zeros(fresh.num_rows, bool), np.ones(kept.num_rows, bool)]
    return _with_kept(pa.concat_tables([fresh, rows]), flags), fresh


def _with_kept(table: pa.Table, flags: npt.NDArray[np.bool_]) -> pa.Table:
    return table.append_column("kept", pa.array(flags))
