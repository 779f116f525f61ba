"""Which logs a request reads: files found, ranges parsed, files set aside, months to reduce; decided from
the store's listing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from fleetscore.errors import InputError
from fleetscore.sources import Listing, PassedOver, list_inputs, list_landed, list_landings
from fleetscore.store.base import Store
from fleetscore.workload import MapItem
from fleetscore.workloads.server_load.grammar import SLOTS_PER_HOUR, UNUSABLE
from fleetscore.workloads.server_load.months import Month, months_between
from fleetscore.workloads.server_load.partials import RangeRecord, parse_items, read_limits, read_records
from fleetscore.workloads.server_load.peaks import hours_path
from fleetscore.workloads.server_load.settings import ServerLoadSettings


@dataclass(frozen=True, slots=True)
class SetAside:
    """A file that is not used: why (a code and a sentence), and the sums that show which servers it
    concerns.
    """

    path: str
    cause: str
    detail: str
    records: tuple[RangeRecord, ...]


@dataclass(frozen=True, slots=True)
class Sources:
    """The state of all logs: what is still to parse, what may be used, what is set aside, what was passed
    over.
    """

    unparsed: tuple[MapItem, ...]
    usable: tuple[RangeRecord, ...]
    aside: tuple[SetAside, ...]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MonthHours:
    """A month of hours: the sums it is reduced from, and the path of the result."""

    month: Month
    sums: tuple[str, ...]
    size_bytes: int  # of the sums
    path: str


def list_logs(store: Store, settings: ServerLoadSettings, workload: str) -> Listing:
    """The log files that the settings name, by path, and what lies beside them and is not read; of a
    database the files in which its rows were landed.
    """
    if settings.data.database:
        return list_landings(*list_landed(store, settings.source, workload))
    listing = list_inputs(store, settings.source, None, "" if settings.names_columns else "csv")
    if settings.files == "*":
        return listing
    wanted = {
        f.path for f in listing.files if fnmatchcase(f.path.removeprefix(settings.folder), settings.files)
    }
    detail = f"The setting files = {settings.files!r} does not match it."
    others = [PassedOver(f.path, "not_matched", detail, False) for f in listing.files if f.path not in wanted]
    files = tuple(file for file in listing.files if file.path in wanted)
    return Listing(files, (*listing.passed_over, *others), listing.listed)


def find_sources(store: Store, settings: ServerLoadSettings, workload: str) -> Sources:
    """Read what became of every range of every log."""
    listing = list_logs(store, settings, workload)
    items = parse_items(listing.files, settings)
    records = read_records(store, items, read_limits(settings))
    of_file: dict[str, list[RangeRecord]] = {}
    for record in records:
        if record is not None:
            of_file.setdefault(record.input.path, []).append(record)
    unparsed = tuple(item for item, record in zip(items, records, strict=True) if record is None)
    waiting = {item.input.path for item in unparsed}
    judged = {
        path: judge_file(of_file[path], settings.reject_limit) for path in of_file if path not in waiting
    }
    usable = tuple(record for path, aside in judged.items() if aside is None for record in of_file[path])
    return Sources(
        unparsed, usable, tuple(one for one in judged.values() if one is not None), listing.remarks()
    )


def judge_file(records: Sequence[RangeRecord], reject_limit: float) -> SetAside | None:
    """Whether a file, of whose ranges these are all the records, is set aside whole; None when it may be
    used.
    """
    path = records[0].input.path
    for record in records:
        if record.problem:
            detail = record.detail if path in record.detail else f"{path}: {record.detail}"
            return SetAside(path, record.problem, detail, tuple(records))
    causes = Counter[str]()
    for record in records:
        causes.update(record.counts.causes)
    lines = sum(record.counts.lines for record in records)
    unusable = sum(causes[cause.code] for cause in UNUSABLE)
    if unusable <= reject_limit * lines:
        return None
    worst = ", ".join(f"{cause} {count}" for cause, count in causes.most_common(3))
    detail = (
        f"{path}: {unusable} of {lines} rows are unusable ({worst}); at most {reject_limit:.0%} are allowed."
    )
    return SetAside(path, "too_many_rejects", detail, tuple(records))


def months_of(
    usable: Iterable[RangeRecord], first_hour: int, stop_hour: int, buckets: int
) -> list[MonthHours]:
    """The months of [first_hour, stop_hour) that the usable sums hold something of."""
    records = [record for record in usable if record.sums]
    found = []
    for month in months_between(first_hour, stop_hour):
        first, stop = month.first_hour * SLOTS_PER_HOUR, month.stop_hour * SLOTS_PER_HOUR
        parts = [record for record in records if record.first_slot < stop and record.last_slot >= first]
        if parts:
            sums = tuple(record.sums for record in parts)
            size = sum(record.size_bytes for record in parts)
            found.append(MonthHours(month, sums, size, hours_path(month, sums, buckets)))
    return found


def require_parsed(sources: Sources) -> None:
    """InputError when logs were not parsed yet: discovery never works on a part of them."""
    if not sources.unparsed:
        return
    waiting = sum(item.stop_byte - item.first_byte for item in sources.unparsed)
    raise InputError(
        f"{len(sources.unparsed)} ranges of logs ({waiting / 1e6:.0f} MB) are not prepared yet, "
        f"the first of {sources.unparsed[0].input.path}.",
        fix="Run the window (or the training): preparation comes first.",
        code="not_prepared",
        field="window",
    )
