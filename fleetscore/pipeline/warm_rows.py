"""What the first mini-batch would wait for, done before it comes: models opened, their code imported and
loaded.
"""

from __future__ import annotations

import logging

from fleetscore.capabilities import ScoresRows
from fleetscore.models.pins import read_pins
from fleetscore.pipeline.spellings import respell_pins
from fleetscore.registry import KnownWorkload, find_workloads
from fleetscore.store.base import Store

_log = logging.getLogger("fleetscore.score")


def warm_workloads(store: Store) -> list[str]:
    """Have every workload that answers rows load what its pinned models need; the names of those that did.

    A workload that cannot is left out with a line in the log: its first rows get the reason.
    """
    warmed = []
    for known in find_workloads(store):
        try:
            warmed += [known.name] if _warm(store, known) else []
        except Exception as error:  # whatever its models or its own code raise concerns its own rows only
            _log.warning("%s is not warm for rows: %s", known.name, error)
    return warmed


def _warm(store: Store, known: KnownWorkload) -> bool:
    kind = known.workload
    if kind is None or known.reason or not isinstance(kind, ScoresRows):
        return False
    pins = respell_pins(kind, read_pins(store, known.name))
    if not pins.current:
        return False
    kind.warm_rows(store, pins)
    return True
