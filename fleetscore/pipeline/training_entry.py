"""How a trained model set comes into use: pinned, as a challenger, if it is better, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleetscore.capabilities import Trains, require
from fleetscore.models.model_sets import read_model_sets
from fleetscore.models.pins import pin_challenger, pin_version, read_pins
from fleetscore.records import RunRequest
from fleetscore.settings import read_settings_file, workload_settings_path
from fleetscore.settings_tables import naming_lines
from fleetscore.store.base import Store
from fleetscore.windows import Window
from fleetscore.workload import Workload

PINNED, CHALLENGER, IF_BETTER, STORED = "pinned", "challenger", "if better", "none"


def check_training_settings(store: Store, workload: Workload) -> None:
    """InputError, with file and line, where the workload's settings do not say how to train."""
    tables, path = read_settings_file(store, workload.name), workload_settings_path(workload.name)
    with naming_lines(tables, path):
        require(workload, Trains).check_training()


def choose_entry(store: Store, workload: Workload, span: tuple[Window, Window], pin: bool | None) -> str:
    """How the set of a training of the span enters: as was asked, else as the settings say.

    Without either it is pinned, unless the span has a model set already: training again changes nothing by
    itself.
    """
    if pin is not None:
        return PINNED if pin else STORED
    own = require(workload, Trains).enters
    return own or (STORED if find_same_span(store, workload.name, *(one.key for one in span)) else PINNED)


def find_same_span(store: Store, workload: str, first: str, end: str) -> str:
    """The newest version that was trained on the windows [first, end); "" when there is none."""
    found = [s.version for s in read_model_sets(store, workload) if _span(s.card) == (first, end)]
    return found[-1] if found else ""


def describe_entry(store: Store, request: RunRequest) -> tuple[str, ...]:
    """What a plan of a training says of model sets that its span has already."""
    if request.purpose != "train":
        return ()
    known = find_same_span(store, request.workload, request.window, request.stop)
    if not known:
        return ()
    then = "" if request.pin else " The new one is not pinned; --pin does."
    return (f"Model set {known} was trained on this span already.{then}",)


def enter(store: Store, request: RunRequest, version: str, card: Mapping[str, Any]) -> None:
    """Pin the version, make it the challenger, or leave it, as the request says; the first set of all is
    pinned unless refused.
    """
    how = request.enters or (PINNED if request.pin else STORED)
    pins = read_pins(store, request.workload)
    comparison = card.get("comparison") or {}
    better = bool(how == IF_BETTER and comparison.get("promote"))
    why = f"trained by {request.run}" + (f", judged on its holdout: {comparison['reason']}" if better else "")
    if how == STORED or pins.current == version:
        return
    if how == PINNED or better or not pins.current:
        pin_version(
            store, request.workload, version, requested_by=request.who, why=why, now=request.requested
        )
    elif how == CHALLENGER:
        pin_challenger(
            store, request.workload, version, requested_by=request.who, why=why, now=request.requested
        )


def entered_as(store: Store, workload: str, version: str) -> str:
    """What the version is now: current, challenger, or stored only."""
    pins = read_pins(store, workload)
    return "current" if pins.current == version else "challenger" if pins.challenger == version else "stored"


def _span(card: Mapping[str, Any]) -> tuple[Any, Any]:
    """The first window and the one after the last that a set was trained on, as its kind's card has them."""
    told = card.get("trained_on", card)
    return (told.get("first"), told.get("stop")) if isinstance(told, Mapping) else (None, None)
