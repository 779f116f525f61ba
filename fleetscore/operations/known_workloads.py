"""The workloads that operations look after: those that are named here, and those that are not and have
runs.
"""

from __future__ import annotations

from fleetscore.errors import InputError
from fleetscore.registry import KnownWorkload, find_workload, find_workloads
from fleetscore.runs.index_files import list_workloads
from fleetscore.settings import workload_settings_path
from fleetscore.store.base import Store


def find_named(store: Store) -> list[KnownWorkload]:
    """All workloads of the store by name, and as broken ones those that only their runs name."""
    known = find_workloads(store)
    names = {each.name for each in known}
    return sorted(
        [*known, *(_unknown(n) for n in list_workloads(store) if n not in names)], key=lambda w: w.name
    )


def find_named_workload(store: Store, name: str) -> KnownWorkload:
    """The workload of that name, broken or known by its runs only; InputError where it has none either."""
    try:
        return find_workload(store, name)
    except InputError:
        if name not in list_workloads(store):
            raise
        return _unknown(name)


def _unknown(name: str) -> KnownWorkload:
    fix = f"Write {workload_settings_path(name)} with the line kind = ..., or start this with FLEETSCORE_WORKLOADS."
    return KnownWorkload(
        name, "", None, reason="It has runs, but there is no workload of this name here.", fix=fix
    )
