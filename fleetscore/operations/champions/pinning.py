"""Pins on request: a version everywhere, for one partition, or for one model key that it has."""

from __future__ import annotations

import difflib

from fleetscore.capabilities import HasModelKeys, require
from fleetscore.errors import InputError
from fleetscore.models.model_sets import read_model_set
from fleetscore.models.pins import Pins, pin_key, pin_version, read_pins
from fleetscore.pipeline.spellings import speller_in
from fleetscore.registry import get_workload
from fleetscore.store.base import Store


def pin_on_request(
    store: Store, workload: str, version: str, *, partition: str = "", key: str = "", requested_by: str = "", why: str = "",
) -> Pins:  # fmt: skip
    """Pin `version` everywhere, for the partition, or for the model key; "" as version unpins either.

    InputError for both at once, for a kind without model keys, and for a key that the version lacks.
    """
    if not key:
        return _pin_partition(store, workload, version, partition, requested_by, why)
    if partition:
        raise InputError("A pin is of a partition or of a model key.", fix="Name one of them.", field="key")
    kind = require(get_workload(store, workload), HasModelKeys)
    if version:
        read_model_set(store, workload, version)
        _check_key(workload, version, key, kind.model_keys(store, version))
    return pin_key(store, workload, version, key, requested_by=requested_by, why=why)


def _pin_partition(
    store: Store, workload: str, version: str, partition: str, requested_by: str, why: str
) -> Pins:
    """Pin the version everywhere, or for the partition under its canonical key; unpinning ends the pins of
    all spellings.
    """
    spell = speller_in(store, workload) if partition else None
    keys = [spell(partition)] if spell else [partition]
    if spell and not version:
        pinned = read_pins(store, workload).partitions
        keys = sorted(one for one in pinned if spell(one) == spell(partition)) or keys
    for one in keys:
        pins = pin_version(store, workload, version, partition=one, requested_by=requested_by, why=why)
    return pins


def _check_key(workload: str, version: str, key: str, known: frozenset[str]) -> None:
    if key in known:
        return
    close = difflib.get_close_matches(key, known, 3) or sorted(known)[:3]
    named = ", ".join(map(repr, close))
    raise InputError(
        f"No model of {workload} {version} has the key {key!r}.",
        fix=f"It has {len(known):,} keys, such as {named}." if known else "It has no keys.", field="key",
    )  # fmt: skip
