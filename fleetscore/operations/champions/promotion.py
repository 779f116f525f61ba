"""Promotion: which model set is current, changed on purpose and with the reason on record."""

from __future__ import annotations

from collections.abc import Callable

from fleetscore.errors import InputError
from fleetscore.models.model_sets import list_model_sets
from fleetscore.models.pins import Pins, pin_partitions, pin_version, read_pins, version_before
from fleetscore.operations.advice import ways_to_models
from fleetscore.store.base import Store

Promotion = Callable[[Store, str, str, str, str], Pins]
"""A way to promote: store, workload, version, requested_by, why."""


def promotion_of(where: str) -> Promotion:
    """The way to promote for "" (everywhere) or "better"; InputError for anything else."""
    ways: dict[str, Promotion] = {"": promote, "better": promote_where_better}
    if where not in ways:
        raise InputError(f"where is {where!r}.", fix='Expected "better", or leave it out.', field="where")
    return ways[where]


def promote(store: Store, workload: str, version: str, requested_by: str, why: str) -> Pins:
    """Make `version` (by default the challenger, else the newest set) the current one; its latest verdict
    goes on record with the reason.

    InputError when there is no model set.
    """
    chosen = version or read_pins(store, workload).challenger or _newest(store, workload)
    reason = "; ".join(text for text in (why or "promoted", _last_verdict(store, workload, chosen)) if text)
    return pin_version(store, workload, chosen, requested_by=requested_by, why=reason)


def promote_where_better(store: Store, workload: str, version: str, requested_by: str, why: str) -> Pins:
    """Let `version` (by default the challenger) score the partitions for which its newest verdict finds it
    better beyond noise.

    The other partitions keep what they have, and the version is current for none. InputError when there is
    no verdict, or no such partition.
    """
    import pyarrow.compute as pc

    from fleetscore.operations.champions.verdicts import list_verdicts, read_verdict_table

    kept = list_verdicts(store, workload)
    chosen = version or read_pins(store, workload).challenger or (kept[0].challenger if kept else "")
    verdict = next((v for v in kept if v.challenger == chosen), None)
    judge = f"fleetscore models judge {workload} --from A --to B" + (f" --version {chosen}" if chosen else "")
    if verdict is None:
        raise InputError(
            f"{workload} has no verdict on {chosen or 'any version'}.", fix=judge, field="version"
        )
    table = read_verdict_table(store, verdict)
    if "certain" not in table.column_names:
        raise InputError(f"Verdict {verdict.id} was kept without its noise.", fix=judge, field="version")
    better = table.filter((pc.field("better") == "challenger") & pc.field("certain"))["partition"].to_pylist()
    if not better:
        raise InputError(
            f"{chosen} is better beyond noise for none of {table.num_rows:,} partitions (verdict {verdict.id}).",
            fix="Judge it over more windows; it takes three for each partition at least.",
            field="version",
        )
    reason = f"{why or 'promoted where better'}; verdict {verdict.id}: better beyond noise for {len(better):,} of {table.num_rows:,}"
    return pin_partitions(store, workload, chosen, better, requested_by=requested_by, why=reason)


def roll_back(store: Store, workload: str, requested_by: str, why: str) -> Pins:
    """Return to the set that was current before; InputError when there was none. A second call goes back
    further.
    """
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
        ways = ways_to_models(store, workload)
        raise InputError(
            f"{workload} has no model set.", fix=f"Make one: {ways}" if ways else "", field="workload"
        )
    return versions[-1]


def _last_verdict(store: Store, workload: str, version: str) -> str:
    # brings columns along, which pinning does not need
    from fleetscore.operations.champions.verdicts import list_verdicts

    verdict = next((v for v in list_verdicts(store, workload) if v.challenger == version), None)
    if verdict is None:
        return ""
    advice = "promote" if verdict.promote else "do not promote"
    return f"verdict {verdict.id}: {advice}. {verdict.reason}"
