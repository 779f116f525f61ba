"""Costs: what runs cost, per workload and month, summed from the index of runs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

from fleetscore.errors import InputError
from fleetscore.registry import find_workload, workload_names
from fleetscore.runs.index import RunLine, list_runs_since
from fleetscore.store.base import Store
from fleetscore.store.parallel_reads import side_by_side

WORKLOAD = "workload"
"""What costs are summed by unless a tag is named; no tag has this name."""


@dataclass(frozen=True, slots=True)
class MonthCost:
    """The runs of one month (by the time of the request) of a workload, or of all with one value of a tag
    ("": without that tag).

    `unpriced` of them have no cost, which is in no sum then.
    """

    workload: str  # "" where runs are summed by a tag
    month: str  # YYYY-MM
    runs: int
    partitions: int
    rows: int
    seconds: float  # wall, of all runs
    cost_usd: float
    unpriced: int
    tag: str = ""  # the value of the tag


def list_costs(
    store: Store, workload: str = "", since: str = "", month: str = "", by: str = WORKLOAD
) -> list[MonthCost]:
    """The costs since the month `since` or of the one `month` (YYYY-MM, "" for all), of one workload or
    all; newest month first.

    Summed by workload, or by the value of the tag `by`. Reads no run. InputError for an unknown workload,
    or a month that is none.
    """
    for name, text in (("since", since), ("month", month)):
        if text and not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", text):
            raise InputError(f"{text!r} is not a month.", fix="Write it like 2026-11.", field=name)
    since = max(since, month)
    names = [find_workload(store, workload).name] if workload else workload_names(store)
    day = f"{since}-01" if since else ""
    lines = chain(*side_by_side(lambda name: list_runs_since(store, name, day), names))
    return sum_costs((line for line in lines if month in ("", f"{line.requested:%Y-%m}")), by)


def sum_costs(lines: Iterable[RunLine], by: str = WORKLOAD) -> list[MonthCost]:
    """The lines summed up by month and workload, or value of the tag `by`; newest month first."""
    groups: dict[tuple[str, str], list[RunLine]] = {}
    for line in lines:
        owner = line.workload if by == WORKLOAD else line.tags.get(by, "")
        groups.setdefault((f"{line.requested:%Y-%m}", owner), []).append(line)
    return [
        _sum(month, owner, by, groups[month, owner]) for month, owner in sorted(groups, key=_newest_first)
    ]


def _newest_first(key: tuple[str, str]) -> tuple[int, str]:
    year, month = key[0].split("-")
    return -(int(year) * 12 + int(month)), key[1]


def _sum(month: str, owner: str, by: str, lines: list[RunLine]) -> MonthCost:
    return MonthCost(
        workload=owner if by == WORKLOAD else "",
        month=month,
        runs=len(lines),
        partitions=sum(line.partitions for line in lines),
        rows=sum(line.rows for line in lines),
        seconds=sum(line.seconds for line in lines),
        cost_usd=sum(line.cost_usd or 0.0 for line in lines),
        unpriced=sum(line.cost_usd is None for line in lines),
        tag="" if by == WORKLOAD else owner,
    )
