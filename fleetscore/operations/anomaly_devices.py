"""Devices of workloads that find events: whether there is one of a name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.errors import InputError
from fleetscore.partition_keys import split_key
from fleetscore.runs.manifests import read_latest, read_manifest
from fleetscore.store.base import Store
from fleetscore.store.tables import open_truth

_NAMED = 3


def require_device(store: Store, workloads: Iterable[str], device: str) -> None:
    """Raise InputError where no partition of the workloads' newest windows is of that device, with the
    names that are like it.
    """
    known: set[str] = set()
    for name in workloads:
        known |= _devices(store, name)
    if not known or device in known:
        return
    near = difflib.get_close_matches(device, sorted(known)[:20_000], _NAMED)
    least = ", ".join(repr(one) for one in near or sorted(known)[:_NAMED])
    raise InputError(
        f"There is no device {device[:200]!r} in the newest published window, nor an incident of it.",
        fix=f"Like it: {least}." if near else f"It has {len(known):,}, such as {least}.",
        field="device",
    )


def _devices(store: Store, workload: str) -> set[str]:
    """The first fields of the partitions of the workload's newest window; none where nothing is published."""
    latest = read_latest(store, workload)
    if latest is None:
        return set()
    with open_truth(store, read_manifest(store, workload, latest.window).ledger) as source:
        keys = pc.unique(pq.read_table(source, columns=["partition"])["partition"])
    return {split_key(key)[0] for key in keys.to_pylist()}
