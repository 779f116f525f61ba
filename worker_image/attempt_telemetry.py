"""What a worker sends of its attempt, to Application Insights or an OTLP collector: when all else is done,
within a few seconds, and never at a shard's cost.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleetscore.records import ShardRecord
    from fleetscore.store.base import Store

PATIENCE_S = 4.0
_log = logging.getLogger("fleetscore.worker")
_QUIET = {
    "OTEL_SERVICE_NAME": "fleetscore-worker",
    # What the exporter sends about itself and requests: more requests, some to addresses that a closed network does not reach.
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
    "APPLICATIONINSIGHTS_SDKSTATS_DISABLED": "true",
    "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
}


@dataclass(slots=True)
class AttemptStory:
    """What is known of this process's attempt, as far as it got; `attempt` is "" where it found nothing to
    do.
    """

    run: str
    shard: int
    purpose: str
    began_ns: int = field(default_factory=time.time_ns)
    began_s: float = field(default_factory=time.monotonic)
    attempt: str = ""
    committed: ShardRecord | None = None
    store: Store | None = None  # the committed shard's
    error: BaseException | None = None


def format_story(story: AttemptStory) -> bool:
    """Send span and counts, if there is an address to send them to; False where that is still under way
    after PATIENCE_S.

    A thread of a client that waits for an answer keeps its process from ending: leave it with os._exit then.
    """
    from fleetscore.telemetry_setup import is_on

    if not is_on():
        return True
    sending = threading.Thread(target=_send, args=(story,), daemon=True)
    sending.start()
    sending.join(PATIENCE_S)
    if sending.is_alive():
        _log.warning("Telemetry is not taken within %s s; this attempt's is lost.", PATIENCE_S)
    return not sending.is_alive()


def _send(story: AttemptStory) -> None:
    """Everything that telemetry costs a worker happens here: imports, identity, requests."""
    from fleetscore.pipeline.shard_telemetry import measure_shard
    from fleetscore.telemetry import PARENT, describe_span, send_all

    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    ids = {"run": story.run, "shard": story.shard, "purpose": story.purpose, "placement": "batch"}
    if story.attempt:
        ids["attempt"] = story.attempt
    try:
        describe_span("score_shard", ids, story.began_ns, os.environ.get(PARENT, ""), story.error)
        if story.committed is not None and story.store is not None:
            measure_shard(story.store, story.committed, story.purpose)
        send_all()
    except Exception:  # the shard is committed or given up, and that is what counts
        _log.warning("This attempt's telemetry could not be sent.", exc_info=True)
