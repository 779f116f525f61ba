"""Model sets as people look at them: all of a workload, or one with its card, beside the pins that choose
among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fleetscore.errors import InputError
from fleetscore.models.model_sets import ModelSet, read_model_set, read_model_sets
from fleetscore.models.pins import Pins, read_pins
from fleetscore.store.base import Store


@dataclass(frozen=True, slots=True)
class ModelSets:
    """The model sets of a workload, oldest first, and which of them are used: everywhere, in shadow, for
    single partitions, for model keys.
    """

    current: str
    challenger: str
    partitions: Mapping[str, str]
    sets: tuple[ModelSet, ...]
    keys: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PinnedSet:
    """One model set with its card, and the pins with their history."""

    set: ModelSet
    pins: Pins


def describe_sets(store: Store, workload: str) -> ModelSets:
    """The workload's model sets and pins."""
    pins = read_pins(store, workload)
    sets = tuple(read_model_sets(store, workload))
    return ModelSets(pins.current, pins.challenger, pins.partitions, sets, pins.keys)


def describe_set(store: Store, workload: str, version: str = "") -> PinnedSet:
    """The model set of that version, by default the current one.

    InputError when there is no current one, ModelError when there is no such version.
    """
    pins = read_pins(store, workload)
    wanted = version or pins.current
    if not wanted:
        raise InputError(
            f"{workload} has no current model set.", fix=f"List them: fleetscore models list {workload}"
        )
    return PinnedSet(read_model_set(store, workload, wanted), pins)
