"""The workloads that ship; `get_workload(name)` imports only the one asked for."""

from __future__ import annotations

import os
from importlib import import_module

from fleetscore.errors import InputError
from fleetscore.settings import RunPolicy, read_run_policy
from fleetscore.store.base import Store
from fleetscore.workload import Workload

_CLASSES = {
    "sensor_anomaly": "fleetscore.workloads.sensor_anomaly.workload:SensorAnomaly",
    "server_load": "fleetscore.workloads.server_load.workload:ServerLoad",
    "store_sales": "fleetscore.workloads.store_sales.workload:StoreSales",
}


EXTRA_WORKLOADS = "FLEETSCORE_WORKLOADS"
"""Environment variable that adds workloads of the user's own: name=module:Class, separated by commas."""


def workload_names() -> list[str]:
    """The names of all workloads, sorted."""
    return sorted(_classes())


def get_workload(name: str) -> Workload:
    """The workload of that name; InputError lists the known names otherwise."""
    classes = _classes()
    if name not in classes:
        raise InputError(
            f"There is no workload {name!r}.", fix=f"Known: {', '.join(sorted(classes))}.", field="workload"
        )
    module, _, attribute = classes[name].partition(":")
    workload: Workload = getattr(import_module(module), attribute)()
    return workload


def read_policy(store: Store, workload: str) -> RunPolicy:
    """The rules of the workload's runs: the [run] table of its settings over its kind's defaults."""
    return read_run_policy(store, workload, get_workload(workload).run_defaults)


def _classes() -> dict[str, str]:
    extra = (item.partition("=") for item in os.environ.get(EXTRA_WORKLOADS, "").split(",") if item)
    return _CLASSES | {name.strip(): place.strip() for name, _, place in extra}
