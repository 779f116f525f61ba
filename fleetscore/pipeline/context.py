"""Contexts: what an activity or a command works with, read once: the workload with its settings, rules of
its runs, window, pins.
"""

from __future__ import annotations

from dataclasses import replace

from fleetscore.models.model_sets import read_model_set
from fleetscore.models.pins import Pins, read_pins
from fleetscore.pipeline.kept_versions import CURRENT
from fleetscore.pipeline.spellings import respell_pins
from fleetscore.records import PlanHead, RunRequest
from fleetscore.registry import get_workload
from fleetscore.settings import RunPolicy, read_run_policy
from fleetscore.store.base import Store
from fleetscore.workload import RunContext, Workload


def open_workload(store: Store, name: str) -> tuple[Workload, RunPolicy]:
    """The workload and the rules of its runs; InputError for an unknown name, SettingsError where its
    settings are wrong.
    """
    workload = get_workload(store, name)
    return workload, read_run_policy(store, name, workload.run_defaults)


def open_run(store: Store, request: RunRequest) -> RunContext:
    """The context of the requested run, before there is a plan."""
    workload, policy = open_workload(store, request.workload)
    is_training = request.purpose == "train"
    return RunContext(
        store=store,
        kind=workload,
        window=(workload.parse_window if is_training else workload.stored_window)(request.window),
        pins=respell_pins(workload, pins_of(store, request)),
        policy=policy,
        purpose=request.purpose,
        end=workload.parse_window(request.stop) if is_training else None,
        run=request.run,
    )


def open_planned(store: Store, head: PlanHead) -> RunContext:
    """The context of a planned run: with the input files that the plan names."""
    return replace(open_run(store, head.request), inputs=head.inputs)


def open_window(store: Store, workload: Workload, window: str) -> RunContext:
    """The context of a window as a run of it would have it now, with the pinned models; for looking at it
    without a run.
    """
    pins = respell_pins(workload, read_pins(store, workload.name))
    return RunContext(store, workload, workload.stored_window(window), pins)


def pins_of(store: Store, request: RunRequest) -> Pins:
    """The pins that the run uses: those of the store, or the one version that was requested."""
    if request.models not in ("", CURRENT):
        return Pins(read_model_set(store, request.workload, request.models).version)
    return read_pins(store, request.workload)
