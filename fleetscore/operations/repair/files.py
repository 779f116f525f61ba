"""Repair: what can be done about damaged state files, each by itself, with what was there kept under
damaged/.

Hints are made anew or removed. A manifest is made from the ledger of the run that published it, a ledger
from the run's committed shards, pins from the files that hold each change. Pins of an older store, which
has no such files, can only be guessed from what the newest manifest names: that is done only when it is
asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from fleetscore.errors import ConflictError, FleetscoreError, MissingBlobError, PublishError
from fleetscore.operations.repair.pins import guess_pins, pins_from_changes
from fleetscore.operations.repair.runs import (
    has_plan,
    is_replaced,
    make_collected,
    make_manifest,
    make_record,
)
from fleetscore.operations.repair.state_check import BadFile, check_state
from fleetscore.pipeline.collect import collect_run
from fleetscore.pipeline.offload import read_given_up
from fleetscore.records import to_json
from fleetscore.runs.index import index_run, read_file
from fleetscore.runs.manifests import find_latest
from fleetscore.runs.run_records import read_run
from fleetscore.store.base import Store

State = Literal["repairable", "repaired", "guess", "not repairable"]
_ORDER = (
    "hint",
    "message",
    "commit",
    "run",
    "run_file",
    "manifest",
    "pin_change",
    "pins",
    "model_set",
    "verdict",
)
_log = logging.getLogger("fleetscore.repair")


@dataclass(frozen=True, slots=True)
class Repair:
    """A damaged file and what is done about it: `repairable` would be done, a `guess` only when asked for,
    `repaired` was done.
    """

    path: str
    why: str
    state: State
    action: str


@dataclass(frozen=True, slots=True)
class Repairs:
    """All damaged files; `whole` if nothing is left to be done."""

    whole: bool
    files: int  # that were read
    repairs: tuple[Repair, ...]


@dataclass(frozen=True, slots=True)
class _Cure:
    """What can be done: a sentence, and the new content of the file, None to have it removed."""

    action: str
    content: Callable[[], bytes | None]
    is_guess: bool = False


def repair(store: Store, now: datetime, *, dry_run: bool = False, guesses: bool = False) -> Repairs:
    """Do what can be done about every damaged file, or in a dry run only say it; guesses are made only if
    `guesses`.

    What one repair makes good can make another possible, so records come before ledgers, and ledgers before
    manifests; and a run whose record was made anew is looked at once more, since what is due of a run is
    known by its record.
    """
    done: dict[str, Repair] = {}
    files, again = 0, True
    while again:
        report = check_state(store)
        files = max(files, report.files)
        bad = sorted(report.bad, key=lambda one: (_ORDER.index(one.kind), one.path))
        fresh = [one for one in bad if one.path not in done or one.path in _open(done)]
        repairs = {one.path: _repair(store, one, now, dry_run, guesses) for one in fresh}
        done |= repairs
        again = any(one.state == "repaired" for one in repairs.values())
    whole = all(one.state == "repaired" for one in done.values())
    return Repairs(whole, files, tuple(done.values()))


def _open(done: Mapping[str, Repair]) -> set[str]:
    """The paths that were not repaired so far, but may be now that others were."""
    return {path for path, one in done.items() if one.state == "not repairable"}


def _repair(store: Store, bad: BadFile, now: datetime, dry_run: bool, guesses: bool) -> Repair:
    try:
        cure = _find_cure(store, bad, now)
        if cure is None:
            return Repair(bad.path, bad.why, "not repairable", _advice(bad))
        if dry_run or (cure.is_guess and not guesses):
            return Repair(bad.path, bad.why, "guess" if cure.is_guess else "repairable", cure.action)
        _carry_out(store, bad.path, cure)
        if bad.kind == "run":  # else its line of the index would say for good what it was at
            index_run(store, read_run(store, bad.path.split("/")[1]))
    except FleetscoreError as error:  # one file that resists costs no other its repair
        _log.warning("%s could not be repaired: %s", bad.path, error)
        return Repair(bad.path, bad.why, "not repairable", f"{error.message} {_advice(bad)}")
    return Repair(bad.path, bad.why, "repaired", cure.action)


def _find_cure(store: Store, bad: BadFile, now: datetime) -> _Cure | None:
    """What can be done about the file; None where nothing can."""
    if bad.newer:
        return None
    path, parts = bad.path, bad.path.split("/")
    if bad.kind == "hint":
        return _cure_hint(store, path)
    if bad.kind in ("message", "commit", "pin_change"):
        action = {
            "message": "It is set aside, and counts no more.",
            "commit": "It is removed, and its shard is scored again.",
            "pin_change": "It is removed; the pins hold the same change.",
        }[bad.kind]
        return _Cure(action, lambda: None)
    if bad.kind == "run":
        return _Cure(
            "The record is made from what else is known of the run.",
            lambda: to_json(make_record(store, parts[1], now)),
        )
    if bad.kind == "run_file":
        return _cure_run_file(store, parts[1], parts[2])
    if bad.kind == "manifest":
        try:
            manifest = make_manifest(store, parts[1], parts[2])
        except PublishError as error:
            action = f"{error.message} It is set aside, and the window counts as not published until it is scored again."
            return _Cure(action, lambda: None, is_guess=True)
        return _Cure(f"The manifest is made from the ledger of {manifest.run}.", lambda: to_json(manifest))
    return _cure_pins(store, parts[1], now) if bad.kind == "pins" else None


def _cure_hint(store: Store, path: str) -> _Cure:
    workload = path.split("/")[1]
    if path.startswith("index/"):
        return _Cure("It is made from the records of the runs.", lambda: to_json(read_file(store, path)[0]))
    if path.startswith("results/"):
        return _Cure("It is made from the manifests.", lambda: _json_or_none(find_latest(store, workload)))
    return _Cure("It is removed; it is made anew when it is needed.", lambda: None)


def _cure_run_file(store: Store, run: str, name: str) -> _Cure | None:
    if name == "plan.json":  # of a run under way, which cannot go on
        return None

    lost = not has_plan(store, run)
    if lost and is_replaced(store, read_run(store, run).request):
        return _Cure("It is set aside: a later run has published the window anew.", lambda: None)
    if lost and name in ("collected.json", "files.json"):
        action = "It is made from the run's ledger, without the times of its shards: its plan is damaged too."
        return _Cure(action, lambda: _summary(store, run, name))

    def collect() -> bytes | None:
        collect_run(store, run, read_given_up(store, run))
        return store.read(f"runs/{run}/{name}")

    return _Cure("It is made from the run's committed shards.", collect)


def _summary(store: Store, run: str, name: str) -> bytes:
    collected = make_collected(store, run)
    return to_json(collected.files if name == "files.json" else collected)


def _cure_pins(store: Store, workload: str, now: datetime) -> _Cure | None:
    pins = pins_from_changes(store, workload)
    if pins is not None:
        action = f"The pins are made from the {len(pins.history)} changes that were kept: {pins.current or 'none'} is current."
        return _Cure(action, lambda: to_json(pins))
    guessed = guess_pins(store, workload, now)
    if guessed is None:
        return None
    single = f", and {len(guessed.partitions)} partitions have others" if guessed.partitions else ""
    action = f"The newest window was scored with {guessed.current}{single}: these are pinned, without the history of changes."
    return _Cure(action, lambda: to_json(guessed), is_guess=True)


def _carry_out(store: Store, path: str, cure: _Cure) -> None:
    """Keep what was there under damaged/, and put the new content in its place; ConflictError when it was
    changed meanwhile.
    """
    try:
        data, etag = store.read_tagged(path)
    except MissingBlobError:
        data, etag = b"", None
    if data:
        store.write(f"damaged/{path}", data)
        store.flush([f"damaged/{path}"])
    content = cure.content()
    entry = store.stat(path)
    if content is None:
        store.delete(path, etag)
    elif entry is None or entry.etag == etag:
        store.replace(path, content, etag)
    elif store.read(path) != content:  # made by the cure itself otherwise
        raise ConflictError(f"{path} was modified concurrently.", fix="Repair again.")


def _advice(bad: BadFile) -> str:
    """What a person can do about a file that nothing can be made from."""
    parts = bad.path.split("/")
    if bad.newer:
        return "Nothing is wrong with it: use the version of Fleetscore that wrote it."
    if bad.kind == "model_set":
        return f"Pin another version, or train again: fleetscore models list {parts[1]}"
    if bad.kind == "pins":
        return f"Pin a version: remove the file, then fleetscore models pin {parts[1]} VERSION"
    if bad.kind == "manifest":
        return f"Score the window again: remove the file, then fleetscore backfill {parts[1]} --from {parts[2]} --only all"
    if bad.kind == "run_file":
        return f"Score its window again: fleetscore retry {parts[1]} --only all"
    return "Remove it if it is not needed."


def _json_or_none(record: object | None) -> bytes | None:
    return None if record is None else to_json(record)
