"""Events that are marked as normal, as training takes them: by sensor, and which of them it cannot learn."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from fleetscore.runs.normal_marks import list_normal_events
from fleetscore.store.base import Store
from fleetscore.workload import Remark

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAMED = 5


def normal_spans(store: Store, workload: str, now: datetime) -> dict[str, list[tuple[int, int]]]:
    """Per sensor the first and last times of its events that are marked as normal, in microseconds since
    1970.
    """
    spans: dict[str, list[tuple[int, int]]] = {}
    for event in list_normal_events(store, workload, now):
        spans.setdefault(event.partition, []).append((_to_us(event.start), _to_us(event.end)))
    return spans


def remark_unlearned(
    store: Store, workload: str, trained: Collection[str], span_us: tuple[int, int], now: datetime
) -> list[Remark]:
    """A remark that names the marked events whose sensor is not trained, or that lie outside of [first, end)
    of the training.
    """
    first, end = span_us
    passed_by = [
        event.event
        for event in list_normal_events(store, workload, now)
        if event.partition not in trained or not first <= _to_us(event.start) <= _to_us(event.end) < end
    ]
    if not passed_by:
        return []
    more = f" and {len(passed_by) - _NAMED} more" if len(passed_by) > _NAMED else ""
    detail = f"Marked as normal, but not among the trained sensors and windows: {', '.join(passed_by[:_NAMED])}{more}."
    return [Remark("normal_not_learned", detail)]


def _to_us(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)
