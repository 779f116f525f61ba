"""Warms up the scoring of rows once per process, in the background, so that the first rows need not wait.

The local host calls it when it starts; on Azure the first call of any endpoint does.
"""

from __future__ import annotations

import logging
import os
from threading import Lock, Timer

import azure.durable_functions as df
import azure.functions as func

blueprint = df.Blueprint()
_log = logging.getLogger("fleetscore.score")
_DELAY_S = 1.0  # the calls for which the process was started are answered first
_started: list[Timer] = []
_lock = Lock()


def warm_scoring_soon() -> None:
    """Start the warm-up on a thread, a second from now; nothing after the first call, and nothing in a host
    that serves one command only.
    """
    from fleetscore.operations.outbound.sending import LATER

    with _lock:
        if _started or os.environ.get(LATER):
            return
        timer = Timer(_DELAY_S, _warm_up)
        timer.daemon = True
        _started.append(timer)
        timer.start()


def _warm_up() -> None:
    try:
        from activities.store import app_store
        from fleetscore.pipeline.warm_rows import warm_workloads

        warmed = warm_workloads(app_store())
    except Exception:  # it saves time or does not; nothing depends on it
        _log.warning("scoring of rows was not warmed up", exc_info=True)
        return
    _log.info("warm for rows of %s", ", ".join(warmed) or "no workload")


def warm_scoring(timer: func.TimerRequest) -> None:
    """At the local host's start: warm up the scoring of rows in its process of triggers."""
    del timer
    warm_scoring_soon()


# On Azure a timer has instances of its own, so that it would warm up none that answers calls.
if "WEBSITE_SITE_NAME" not in os.environ:
    _timer = blueprint.timer_trigger(arg_name="timer", schedule="0 0 0 * * *", run_on_startup=True)
    _timer(warm_scoring)
