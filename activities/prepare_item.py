"""Compute one piece of preparation."""

from __future__ import annotations

from typing import Any

from activities.answers import answering


@answering
def prepare_item(payload: dict[str, Any]) -> dict[str, Any]:
    """Take {"request", "round", "number"}; give {"error"}: "" or why the piece could not be made."""
    from activities.store import app_store
    from fleetscore.pipeline import prepare
    from fleetscore.records import RunRequest, from_plain

    request = from_plain(payload["request"], RunRequest)
    done = prepare.prepare_item(app_store(), request, payload["round"], payload["number"])
    return {"error": f"{done.input}: {done.error}"[:2_000] if done.error else ""}
