"""Whether this process sends notices, lineage and experiments, or leaves them to one that comes after it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from threading import Thread

LATER = "FLEETSCORE_SEND_LATER"
"""The variable that tells a host's processes to leave what waits to `waiting.py`."""
_NAMES = (
    "FLEETSCORE_NOTIFY_", "FLEETSCORE_WEBHOOK_URL", "FLEETSCORE_QUEUE__queueServiceUri", "OPENLINEAGE_URL", "MLFLOW_TRACKING_URI",
)  # fmt: skip


def may_wait(environment: Mapping[str, str]) -> bool:
    """Whether the environment names a receiver, so that something may wait to be sent."""
    return any(value and name.startswith(_NAMES) for name, value in environment.items())


def send_beside(name: str, send: Callable[[], object]) -> None:
    """Send on a thread of its own, beside the work; nothing where a process that comes after this one
    does.
    """
    if not os.environ.get(LATER):
        Thread(target=send, name=name, daemon=True).start()
