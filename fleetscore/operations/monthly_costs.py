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


@dataclass(frozen=True, slots=True)
class MonthCost:
    """A workload's runs of one month (by the time of the request); `unpriced` of them have no cost, which is in no sum then."""

    workload: str
    month: str  # YYYY-MM
    runs: int
    partitions: int
    rows: int
    seconds: float  # wall, of all runs
    cost_usd: float
    unpriced: int


def list_costs(store: Store, workload: str = "", since: str = "") -> list[MonthCost]:
    """The costs since the month `since` (YYYY-MM, "" for all), of one workload or all; newest month first. Reads no run.

    InputError for an unknown workload, or a month that is none.
    """
    if since and not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", since):
        raise InputError(f"{since!r} is not a month.", fix="Write it like 2026-11.", field="since")
    names = [find_workload(store, workload).name] if workload else workload_names(store)
    day = f"{since}-01" if since else ""
    return sum_costs(chain(*side_by_side(lambda name: list_runs_since(store, name, day), names)))


def sum_costs(lines: Iterable[RunLine]) -> list[MonthCost]:
    """The lines summed up by workload and month, newest month first."""
    groups: dict[tuple[str, str], list[RunLine]] = {}
    for line in lines:
        groups.setdefault((f"{line.requested:%Y-%m}", line.workload), []).append(line)
    return [
        _sum(month, workload, groups[month, workload])
        for month, workload in sorted(groups, key=_newest_first)
    ]


def _newest_first(key: tuple[str, str]) -> tuple[int, str]:
    year, month = key[0].split("-")
    return -(int(year) * 12 + int(month)), key[1]


def _sum(month: str, workload: str, lines: list[RunLine]) -> MonthCost:
    return MonthCost(
        workload=workload,
        month=month,
        runs=len(lines),
        partitions=sum(line.partitions for line in lines),
        rows=sum(line.rows for line in lines),
        seconds=sum(line.seconds for line in lines),
        cost_usd=sum(line.cost_usd or 0.0 for line in lines),
        unpriced=sum(line.cost_usd is None for line in lines),
    )
