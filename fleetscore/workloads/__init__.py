"""The workloads that ship; `get_workload(name)` imports only the one asked for."""

from __future__ import annotations

from importlib import import_module

from fleetscore.errors import InputError
from fleetscore.workloads.base import Workload

_CLASSES = {
    "sensor_anomaly": "fleetscore.workloads.sensor_anomaly.workload:SensorAnomaly",
    "server_load": "fleetscore.workloads.server_load.workload:ServerLoad",
    "store_sales": "fleetscore.workloads.store_sales.workload:StoreSales",
}


def workload_names() -> list[str]:
    """The names of all workloads, sorted."""
    return sorted(_CLASSES)


def get_workload(name: str) -> Workload:
    """The workload of that name; InputError lists the known names otherwise."""
    if name not in _CLASSES:
        raise InputError(
            f"There is no workload {name!r}.", fix=f"Known: {', '.join(workload_names())}.", field="workload"
        )
    module, _, attribute = _CLASSES[name].partition(":")
    workload: Workload = getattr(import_module(module), attribute)()
    return workload
