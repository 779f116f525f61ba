"""Publish a collected run, learn from it, and close its record."""

from __future__ import annotations

from typing import Any

from activities.answers import answering


@answering
def publish_run(asked: dict[str, Any]) -> dict[str, Any]:
    """Take {"request"}; give the ending: {"state", "reason", "manifest", "model_set"}."""
    from datetime import UTC, datetime

    from activities.store import app_store
    from fleetscore.records import RunRequest, from_plain, to_plain
    from fleetscore.steps.finish import finish_run

    ending = finish_run(app_store(), from_plain(asked["request"], RunRequest), datetime.now(UTC))
    plain: dict[str, Any] = to_plain(ending)
    return plain
