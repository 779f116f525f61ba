"""The summary of a chapter: its runs added up, what was planted and found, and where everything lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fleetscore.errors import PublishError
from fleetscore.records import GOOD, Outcome, RunRecord, RunState


@dataclass(frozen=True, slots=True)
class ChapterSummary:
    """What a chapter came to. Paths of results and ledger are relative to the store's root; pictures are
    files.
    """

    workload: str
    windows: int
    windows_published: int
    first: str
    last: str
    expected: int  # partitions, over all windows
    counts: Mapping[str, int]  # outcome -> partitions, over all windows
    input_rows: int
    rows: int
    seconds: float  # wall, of the whole backfill
    planted: tuple[str, ...]
    judged: Mapping[str, Any]
    results: str
    ledger: str
    pictures: tuple[str, ...]
    example: tuple[str, str] | None  # a run and a partition worth explaining

    @property
    def rows_per_second(self) -> float:
        """Input rows per second of wall time, from the request to the last published window."""
        return self.input_rows / self.seconds if self.seconds else 0.0


def last_published(records: Sequence[RunRecord]) -> str:
    """The window of the last run that was published; PublishError with the reason of the last run where none
    was.
    """
    published = [record.request.window for record in records if record.state is RunState.PUBLISHED]
    if published:
        return published[-1]
    last = records[-1]
    raise PublishError(
        f"No window of {last.request.workload} was published; {last.request.run} ended {last.state}: {last.error}",
        fix=_first_detail(last),
    )


def stored_set(record: RunRecord) -> str:
    """The model set that the training stored; PublishError with the reason where it stored none."""
    if record.model_set:
        return record.model_set
    raise PublishError(f"{record.request.run} stored no model set: {record.error}", fix=_first_detail(record))


def _first_detail(record: RunRecord) -> str:
    """What happened to the first partition of the most frequent cause of missing results; "" for none."""
    return next((one.detail for one in record.causes if one.outcome not in GOOD), "")


def sum_chapter(
    workload: str,
    records: Sequence[RunRecord],
    seconds: float,
    planted: tuple[str, ...],
    judged: Mapping[str, Any],
    pictures: Sequence[str],
) -> ChapterSummary:
    """Add the runs of a chapter up; `records` are in the order of their windows and there is at least one."""
    counts: dict[str, int] = {}
    for record in records:
        for outcome, count in record.counts.items():
            counts[outcome] = counts.get(outcome, 0) + count
    published = [record for record in records if record.state is RunState.PUBLISHED]
    shown = published[-1] if published else records[-1]
    return ChapterSummary(
        workload=workload,
        windows=len(records),
        windows_published=len(published),
        first=records[0].request.window,
        last=records[-1].request.window,
        expected=sum(record.partitions for record in records),
        counts={str(o): counts[o] for o in Outcome if o in counts},
        input_rows=sum(record.input_rows for record in records),
        rows=sum(record.rows for record in records),
        seconds=seconds,
        planted=planted,
        judged=judged,
        results=shown.manifest,
        ledger=f"runs/{shown.request.run}/ledger.parquet",
        pictures=tuple(pictures),
        example=_example(records),
    )


def format_judged(judged: Mapping[str, Any]) -> list[str]:
    """What was planted and what was found of it, in lines; other figures by their names.

    >>> kinds = {"spike": {"planted": 2, "missed": 0}, "faint": {"planted": 1, "missed": 1}}
    >>> format_judged({"planted": 3, "found": 2, "missed": 1, "by_kind": kinds, "anomalies": 5, "false_alarms": 2})
    ['3 planted: 2 found, 1 missed (faint 1 of 1)', '5 anomalies marked, 2 of them false alarms']
    >>> format_judged({"accuracy": 0.91234, "hours_judged": 1200})
    ['accuracy 0.912, hours judged 1,200']
    """
    rest = dict(judged)
    lines = []
    if {"planted", "found", "missed"} <= set(rest):
        by_kind = rest.pop("by_kind", {})
        kinds = [
            f"{kind} {planted['missed']} of {planted['planted']}"
            for kind, planted in by_kind.items()
            if planted["missed"]
        ]
        planted = (
            f"{rest.pop('planted'):,} planted: {rest.pop('found'):,} found, {rest.pop('missed'):,} missed"
        )
        lines.append(planted + (f" ({', '.join(kinds)})" if kinds else ""))
    if {"anomalies", "false_alarms"} <= set(rest):
        alarms = rest.pop("false_alarms")
        lines.append(f"{rest.pop('anomalies'):,} anomalies marked, {alarms:,} of them false alarms")
    rest.pop("readings", None)
    plain = [
        f"{name.replace('_', ' ')} {_format_value(value)}"
        for name, value in rest.items()
        if _is_number(value)
    ]
    return lines + ([", ".join(plain)] if plain else [])


def _example(records: Sequence[RunRecord]) -> tuple[str, str] | None:
    for record in records:
        for cause in record.causes:
            if cause.outcome not in GOOD:
                return record.request.run, cause.example
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _format_value(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3g}"
