"""Fleetscore scores fleets of models on a schedule and keeps one outcome for every partition.

`connect` gives a fleet: over a store that is read here, or over an app that answers by HTTP, with the same
methods.

>>> from fleetscore import connect
>>> fleet = connect(".fleetscore/store")
>>> fleet.url.startswith("file:///")
True
>>> connect("https://fleet.azurewebsites.net", key="a function key").url
'https://fleet.azurewebsites.net'

`fleetscore/pipeline/local.py` is a whole run, in order, on one page: read it first. Names are imported when
they are first used, so that neither the app nor the command line pays for what it does not need.
"""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` is not imported: until the command line has begun, Ctrl-C shows a traceback
if TYPE_CHECKING:
    from fleetscore.errors import CapacityError, FleetscoreError, InputError, ModelError, StoreError
    from fleetscore.fleet import connect
    from fleetscore.fleet.remote import RemoteFleet
    from fleetscore.fleet.store_fleet import Fleet
    from fleetscore.own_functions import partitioned
    from fleetscore.records import Outcome
    from fleetscore.runs.status_answer import RunStatus
    from fleetscore.store import Store, open_store
    from fleetscore.windows import Window
    from fleetscore.workload import Workload

__version__ = "0.1.0"

__all__ = [
    "CapacityError",
    "Fleet",
    "FleetscoreError",
    "InputError",
    "ModelError",
    "Outcome",
    "RemoteFleet",
    "RunStatus",
    "Store",
    "StoreError",
    "Window",
    "Workload",
    "__version__",
    "connect",
    "open_store",
    "partitioned",
]

_HOMES = {
    "connect": "fleet",
    "Fleet": "fleet.store_fleet",
    "RemoteFleet": "fleet.remote",
    "Outcome": "records",
    "RunStatus": "runs.status_answer",
    "Store": "store",
    "open_store": "store",
    "partitioned": "own_functions",
    "Window": "windows",
    "Workload": "workload",
    **dict.fromkeys(("CapacityError", "FleetscoreError", "InputError", "ModelError", "StoreError"), "errors"),
}


def __getattr__(name: str) -> object:
    """The public name, imported from the module that defines it."""
    if name not in _HOMES:
        raise AttributeError(f"module 'fleetscore' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"fleetscore.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
