"""Ask for a window on behalf of a backfill: which run answers it, and whether it is to be started now."""

from __future__ import annotations

from typing import Any

from activities.answers import answering


@answering
def ask_window(asked: dict[str, Any]) -> dict[str, Any]:
    """Take {"workload", "window", "only", "who"}; give {"request", "start", "state"}."""
    from datetime import UTC, datetime

    from activities.store import app_store
    from fleetscore.records import Only, to_plain
    from fleetscore.requests import ask_backfilled

    answer = ask_backfilled(
        app_store(), asked["workload"], asked["window"], datetime.now(UTC), asked["who"], Only(asked["only"])
    )
    return {"request": to_plain(answer.request), "start": answer.fresh, "state": str(answer.state)}
