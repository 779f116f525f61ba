"""Model versions of a further round: what was scored is scored with the version of its round again, the rest
with the pinned one.
"""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.models.pins import Pins
from fleetscore.records import Outcome, RunRequest
from fleetscore.runs.ledgers import read_previous_ledger
from fleetscore.store.base import Store
from fleetscore.store.tables import count_values

CURRENT = "current"
"""What stands in a request instead of a version: every partition takes the pinned one."""

_TRIED = [str(Outcome.SCORED), str(Outcome.FAILED), str(Outcome.QUARANTINED)]


def pins_of_round(store: Store, request: RunRequest, pins: Pins) -> Pins:
    """The pins that a further round discovers with; those of the request where it names a version, or is a
    first round.
    """
    if not request.previous or request.models or request.purpose == "train":
        return pins
    ledger = read_previous_ledger(store, request)
    return pins if ledger is None else keep_versions(pins, ledger)


def keep_versions(pins: Pins, ledger: pa.Table) -> Pins:
    """The pins, with each partition of the ledger at the version that its round used.

    One that failed for its model, had none or was not scored at all (late, skipped) stays at the pinned
    version.
    """
    used = ledger.filter(_used_its_model(ledger))
    pinned = pa.array(list(pins.partitions), pa.string())
    differs = pc.or_(pc.not_equal(used["model"], pins.current), pc.is_in(used["partition"], pinned))
    told = used if pins.keys else used.filter(differs)  # a key's pin may say otherwise than its round
    versions = dict(zip(told["partition"].to_pylist(), told["model"].to_pylist(), strict=True))
    return replace(pins, partitions={**pins.partitions, **versions})


def describe_versions(request: RunRequest, fresh: pa.Table, pins: Pins) -> tuple[str, ...]:
    """A remark that says with which versions a further round scores the PARTITIONS rows `fresh`, and why with
    these.

    `pins` are those of the store. None for a first round or a training.
    """
    pending = fresh.filter(pc.equal(fresh["outcome"], ""))
    if not request.previous or request.purpose == "train" or not pending.num_rows:
        return ()
    own = pa.array([pins.version_for(key) for key in pending["partition"].to_pylist()], pa.string())
    is_pinned = pc.equal(pending["model"], own)
    if pins.keys and request.models in ("", CURRENT):
        either = "the version of their round, or the pinned one where that did not score"
        parts = _phrases(pending, either if not request.models else "the pinned version")
        return (f"Scored again: {', '.join(parts)}.",)
    kept_for = "as asked" if request.models not in ("", CURRENT) else "the version of their round"
    parts = [
        *_phrases(pending.filter(pc.invert(is_pinned)), kept_for),
        *_phrases(pending.filter(is_pinned), "the pinned version"),
    ]
    return (f"Scored again: {', '.join(parts)}.",)


def _phrases(table: pa.Table, reason: str) -> list[str]:
    counts = count_values(table["model"])
    return [
        f"{count:,} with {version}, {reason}" if version else f"{count:,} without a model"
        for version, count in counts.items()
    ]


def _used_its_model(ledger: pa.Table) -> pa.ChunkedArray:
    """Which lines were scored with a version, or failed with one for a cause that does not name the model (as
    `corrupt_model` does).
    """
    tried = pc.is_in(ledger["outcome"], pa.array(_TRIED, pa.string()))
    blamed = pc.and_(
        pc.not_equal(ledger["outcome"], Outcome.SCORED), pc.match_substring(ledger["cause"], "model")
    )
    return pc.and_(pc.and_(tried, pc.invert(blamed)), pc.not_equal(ledger["model"], ""))
