"""Events that are marked as normal, as training takes them: by sensor, and which of them it cannot learn."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta

from fleetscore.runs.normal_marks import NormalEvent
from fleetscore.workload import Remark

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAMED = 5


def spans_by_partition(events: Iterable[NormalEvent]) -> dict[str, list[tuple[int, int]]]:
    """Per sensor the first and last times of its events, in microseconds since 1970."""
    spans: dict[str, list[tuple[int, int]]] = {}
    for event in events:
        spans.setdefault(event.partition, []).append(_span_of(event))
    return spans


def remark_unlearned(
    events: Collection[NormalEvent], known: Collection[tuple[str, tuple[int, int]]]
) -> list[Remark]:
    """A remark that names the marked events that are not among the `known` partitions and times: their
    sensor is not trained, or there are no readings of them any more.
    """
    passed_by = [event.event for event in events if (event.partition, _span_of(event)) not in known]
    if not passed_by:
        return []
    more = f" and {len(passed_by) - _NAMED} more" if len(passed_by) > _NAMED else ""
    named = ", ".join(passed_by[:_NAMED])
    detail = f"Marked as normal, but its sensor is not trained or its readings are not there: {named}{more}."
    return [Remark("normal_not_learned", detail)]


def _span_of(event: NormalEvent) -> tuple[int, int]:
    return _to_us(event.start), _to_us(event.end)


def _to_us(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)
