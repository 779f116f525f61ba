"""Compute one piece of preparation."""

from __future__ import annotations

from typing import Any

from activities.answers import answering


@answering
def prepare_item(payload: dict[str, Any]) -> dict[str, Any]:
    """Take {"request", "round", "number"}; give {"error"}: "" or why the piece could not be made."""
    from activities.store import app_store
    from fleetscore.pipeline import prepare
    from fleetscore.runs.orchestration_inputs import requested

    store = app_store()
    request = requested(store, payload["request"])
    done = prepare.prepare_item(store, request, payload["round"], payload["number"])
    return {"error": f"{done.input}: {done.error}"[:2_000] if done.error else ""}
