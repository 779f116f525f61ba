"""Promotion: which model set is current, changed on purpose and with the reason on record."""

from __future__ import annotations

from fleetscore.errors import InputError
from fleetscore.models.model_sets import Pins, list_model_sets, pin_version, read_pins, version_before
from fleetscore.store.base import Store


def promote(store: Store, workload: str, version: str, requested_by: str, why: str) -> Pins:
    """Make `version` (by default the challenger, else the newest set) the current one; its latest verdict goes on record with the reason.

    InputError when there is no model set.
    """
    chosen = version or read_pins(store, workload).challenger or _newest(store, workload)
    reason = "; ".join(text for text in (why or "promoted", _last_verdict(store, workload, chosen)) if text)
    return pin_version(store, workload, chosen, requested_by=requested_by, why=reason)


def roll_back(store: Store, workload: str, requested_by: str, why: str) -> Pins:
    """Return to the set that was current before; InputError when there was none. A second call goes back further."""
    version = version_before(read_pins(store, workload))
    if not version:
        raise InputError(
            f"{workload} had no other current model set before.",
            fix=f"Pin one: fleetscore models pin {workload} VERSION", field="workload",
        )  # fmt: skip
    return pin_version(store, workload, version, requested_by=requested_by, why=why or "rolled back")


def _newest(store: Store, workload: str) -> str:
    versions = list_model_sets(store, workload)
    if not versions:
        raise InputError(
            f"{workload} has no model set.",
            fix=f"Make one: fleetscore train {workload} --from A --to B", field="workload",
        )  # fmt: skip
    return versions[-1]


def _last_verdict(store: Store, workload: str, version: str) -> str:
    from fleetscore.operations.verdicts import (
        list_verdicts,
    )  # brings columns along, which pinning does not need

    verdict = next((v for v in list_verdicts(store, workload) if v.challenger == version), None)
    if verdict is None:
        return ""
    advice = "promote" if verdict.promote else "do not promote"
    return f"verdict {verdict.id}: {advice}. {verdict.reason}"
