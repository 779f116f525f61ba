"""Late data: a published window stays open for a while; what arrives late is scored alone, and the window
is published again.

A window is looked at only when the workload's input has changed since the last look, and scored again only
when files of its own have changed and bring partitions that were late, unknown, or smaller before.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.capabilities import Prepares
from fleetscore.errors import MissingBlobError
from fleetscore.operations.due.backfills import is_under_way, wait_for_live_s
from fleetscore.pipeline.carry_over import NOT_REQUESTED, choose_partitions
from fleetscore.pipeline.context import open_window
from fleetscore.pipeline.prepare import MAX_ROUNDS
from fleetscore.pipeline.spellings import respell_column, spell_unless, speller_of
from fleetscore.pipeline.submit import Submission, newest_round, submit_retry
from fleetscore.records import FINAL, Only, RunState
from fleetscore.registry import get_workload, read_policy
from fleetscore.runs.index import list_runs_since
from fleetscore.runs.ledgers import read_ledger
from fleetscore.runs.plans import read_plan
from fleetscore.settings import workload_settings_path
from fleetscore.sources import land, read_landed, read_standing
from fleetscore.store.base import Store
from fleetscore.store.paths import late_path
from fleetscore.store.state_files import read_hint
from fleetscore.workload import RunContext, Workload

WHO = "late data"
"""Who asks for the rounds that late data causes."""

_MOST_WINDOWS = 48  # looked at in one go, newest first
# more is left to the next window's own run, which prepares the same input
_MOST_PREPARED_BYTES = 1_000_000_000


@dataclass(frozen=True, slots=True)
class LateData:
    """What arrived for a published window after its run had read its input."""

    window: str
    run: str  # the run that published it
    partitions: int
    example: str


def submit_late(store: Store, workload_name: str, now: datetime) -> Submission | None:
    """The round that late data of the workload calls for, or None.

    At most one such round of a workload is under way at a time, and none is started while a live window is.
    """
    workload = get_workload(store, workload_name)
    newest = [key for key in list_open_windows(store, workload_name, now) if workload.is_own_window(key)]
    if not newest or wait_for_live_s(store, now) or is_under_way(store, [workload_name], WHO, now):
        return None
    seen, there = _read_seen(store, workload_name), _state_of_input(store, workload, now)
    checked = dict.fromkeys([window for window in newest if seen.get(window) == there], there)
    submission = None
    for window in [window for window in newest if window not in checked][:_MOST_WINDOWS]:
        record = newest_round(store, workload_name, window)
        if record is None or record.state not in FINAL:
            continue  # a round of it is under way, and reads what is there
        late = find_late(store, workload, window, record.request.run)
        checked[window] = there
        if late is not None:
            submission = submit_retry(store, late.run, now, WHO, only=Only.MISSING)
            break
    store.write(late_path(workload_name), msgspec.json.encode(checked))
    return submission


def list_open_windows(store: Store, workload: str, now: datetime) -> list[str]:
    """The windows that were first published less than `late_until_s` ago, the last published first."""
    opened = now - timedelta(seconds=read_policy(store, workload).late_until_s)
    first: dict[str, datetime] = {}
    for line in list_runs_since(store, workload, f"{opened - timedelta(days=1):%Y-%m-%d}"):
        if line.state is RunState.PUBLISHED and line.purpose == "score" and line.ended is not None:
            first[line.window] = min(line.ended, first.get(line.window, line.ended))
    return sorted((w for w, at in first.items() if at > opened), key=lambda w: first[w], reverse=True)


def find_late(store: Store, workload: Workload, window: str, run: str) -> LateData | None:
    """What is there to be scored now that was late, not known or smaller when the published `run` read its
    input.
    """
    try:
        head, ledger = read_plan(store, run), read_ledger(store, run)
    except MissingBlobError:
        return None
    context = open_window(store, workload, window)
    land_late(context)
    if not prepare_window(context):
        return None
    discovered = workload.discover(context)
    if {(f.path, f.etag) for f in discovered.inputs} == {(f.path, f.etag) for f in head.inputs}:
        return None
    if spell := speller_of(workload):
        spell = spell_unless(discovered.expected["partition"].to_pylist(), spell)
        ledger = respell_column(ledger, spell)
    found = late_partitions(discovered.expected, ledger)
    return LateData(window, run, len(found), min(found)) if found else None


def land_late(context: RunContext) -> bool:
    """Land a database's rows of the window anew where there are more or newer ones than were landed; whether
    that was so. What was landed before stays, for the runs that were planned with it.
    """
    data = context.kind.source()
    if data is None or not data.database:
        return False
    landed = read_landed(context.store, context.workload, context.window.key)
    if landed is None:
        return False
    span = context.kind.landed_span(context)
    if read_standing(data, span).is_that_of(landed):
        return False
    land(context.store, data, context.workload, span)
    return True


def late_partitions(discovered: pa.Table, ledger: pa.Table) -> set[str]:
    """The partitions that can be scored now and were late, not known or smaller in the ledger; those left
    out on request stay out.
    """
    pending = set(discovered.filter(pc.equal(discovered["outcome"], ""))["partition"].to_pylist())
    pending -= set(ledger.filter(pc.equal(ledger["cause"], NOT_REQUESTED))["partition"].to_pylist())
    return pending & choose_partitions(discovered, ledger, Only.MISSING, ())


def input_fingerprint(store: Store, workload: Workload) -> str:
    """A digest of which input files there are, in which versions."""
    digest = hashlib.sha256()
    for prefix in workload.data_prefixes():
        for entry in store.list(prefix):
            digest.update(f"{entry.path}\n{entry.etag}\n".encode())
    return digest.hexdigest()


def _state_of_input(store: Store, workload: Workload, now: datetime) -> str:
    """What has to change before a window is looked at again: the files, and the hour where they are not the
    store's or the rows are in a database.
    """
    data = workload.source()
    elsewhere = data is not None and workload_settings_path(workload.name) in workload.data_prefixes()
    hour = f" {now:%Y-%m-%dT%H}" if elsewhere else ""
    return input_fingerprint(store, workload) + hour


def prepare_window(context: RunContext) -> bool:
    """Prepare what discovery needs, if it is not much, and say whether all of it is there.

    Partials are named by content, so nothing is done for nothing.
    """
    if not isinstance(context.kind, Prepares):
        return True
    for _ in range(MAX_ROUNDS):
        items = context.kind.map_items(context)
        if not items:
            return True
        if sum(item.stop_byte - item.first_byte for item in items) > _MOST_PREPARED_BYTES:
            return False
        for item in items:
            context.kind.map_item(context, item)
    return False


def _read_seen(store: Store, workload: str) -> dict[str, str]:
    return read_hint(store, late_path(workload), dict[str, str]) or {}
