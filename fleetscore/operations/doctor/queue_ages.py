"""How long the oldest message of each queue has waited: completions, notices, and the task hub's queues."""

from __future__ import annotations

from datetime import datetime

from fleetscore.app_settings import AppSettings
from fleetscore.operations.notices.targets import QUEUE


def queue_ages(app: AppSettings, now: datetime) -> dict[str, float]:
    """Seconds by queue, 0 for one in which nothing waits; {} where no queue service is set.

    StoreError if a service refuses.
    """
    from fleetscore.store.queue import look_at_queues

    places = [(app.queue_service, name) for name in (app.completion_queue, QUEUE)]
    places.append((app.hub_queue_service, f"{app.task_hub.lower()}-"))
    found = [queue for service, prefix in places if service for queue in look_at_queues(service, prefix)]
    return {each.queue: max(0.0, (now - each.since).total_seconds()) if each.since else 0.0 for each in found}
