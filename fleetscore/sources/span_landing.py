"""Landings of spans that are longer than a window: what kinds with a history read of a database.

The windows that were landed hold their rows already. What lies between them is landed by UTC days, each
piece below `landed/<workload>/<first hour>--<end>/`, once: the next window finds it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from fleetscore.errors import InputError, MissingBlobError
from fleetscore.sources.landing import KeyedSpan, Landed, decode_landed, land, land_once, list_landings
from fleetscore.sources.listing import list_inputs
from fleetscore.sources.patterns import Span, TimeRange
from fleetscore.sources.records import Listing
from fleetscore.sources.settings import DataSettings
from fleetscore.store import Store
from fleetscore.store.base import Entry
from fleetscore.store.decoded_cache import read_version
from fleetscore.store.parallel_reads import side_by_side

_log = logging.getLogger("fleetscore.sources")
_DAY = timedelta(days=1)
_AGAIN = timedelta(hours=1)
_DATED = re.compile(r"\d{4}-\d\d-\d\d")
_BETWEEN = "--"  # in the names of pieces; no window's key has it


@dataclass(frozen=True, slots=True)
class NamedSpan:
    """A span of time under the name that its landing has."""

    key: str
    start: datetime
    end: datetime


def find_span_inputs(
    store: Store, settings: DataSettings, workload: str, span: Span, window: KeyedSpan | None = None
) -> Listing:
    """The files with rows of a span: listed, or landed from a database; `window` is the one that ends the
    span and has a landing of its own.

    Raises as `land`.
    """
    if not settings.database:
        return list_inputs(store, settings, span)
    land_span(store, settings, workload, span, window)
    return list_landings(*list_landed(store, settings, workload, span))


def land_span(
    store: Store, settings: DataSettings, workload: str, span: Span, window: KeyedSpan | None = None
) -> None:
    """Land what was not landed of a span, from the beginning of its first UTC day on; raises as `land`.

    A piece that was landed before all its rows could be there is landed again after an hour.
    """
    if window is not None:
        land_once(store, settings, workload, window)
    whole = TimeRange(_day_of(span.start), span.end)
    landed = list_landed(store, settings, workload, whole)
    there = [one for one in landed if _BETWEEN not in one.key or _is_settled(one, settings)]
    for piece in _missing_pieces(whole, there):
        land(store, settings, workload, piece)


def list_landed(
    store: Store, settings: DataSettings, workload: str, span: Span | None = None
) -> list[Landed]:
    """The landings that hold rows of a span (None: all there are), by time, no row in two of them.

    Those of another query or database are left out, and pieces that share a time with a window or a piece
    that was landed since.
    """
    entries = [entry for entry in _list_records(store, workload, span) if _is_dated(entry)]
    found = [one for one in side_by_side(lambda one: _read_record(store, one), entries) if one is not None]
    wanted = [one for one in found if one.is_of(settings) and (span is None or _overlap(one, span))]
    chosen = [one for one in wanted if _BETWEEN not in one.key]
    pieces = [one for one in wanted if _BETWEEN in one.key]
    for piece in sorted(pieces, key=lambda one: one.landed, reverse=True):
        if not any(_overlap(piece, other) for other in chosen):
            chosen.append(piece)
    return sorted(chosen, key=lambda one: one.start)


def _is_settled(piece: Landed, settings: DataSettings) -> bool:
    """Whether all rows of the piece could be there when it was landed, or it was landed just now."""
    is_whole = piece.landed >= piece.end + timedelta(seconds=settings.late_s)
    return is_whole or datetime.now(UTC) - piece.landed < _AGAIN


def _list_records(store: Store, workload: str, span: Span | None) -> Iterator[Entry]:
    """The records of landings whose names begin with a day of the span, or the day before or after, which
    another zone calls so.
    """
    folder = f"landed/{workload}/"
    if span is None:
        yield from store.list(folder)
        return
    days = (span.end - span.start) // _DAY + 4
    prefixes = [f"{folder}{span.start + n * _DAY - _DAY:%Y-%m-%d}" for n in range(days)]
    for entries in side_by_side(lambda prefix: list(store.list(prefix)), prefixes):
        yield from entries


def _read_record(store: Store, entry: Entry) -> Landed | None:
    """The record; None, with a warning, for one that cannot be read, whose time is landed anew."""
    try:
        return read_version(store, entry.path, entry.etag, partial(decode_landed, entry.path))
    except (InputError, MissingBlobError) as error:
        _log.warning("Its rows are landed anew: %s", error)
        return None


def _is_dated(entry: Entry) -> bool:
    folder, _, name = entry.path.rpartition("/")
    return name == "landing.json" and _DATED.match(folder.rpartition("/")[2]) is not None


def _overlap(one: Span, other: Span) -> bool:
    return one.start < other.end and other.start < one.end


def _day_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _missing_pieces(span: Span, there: Sequence[Landed]) -> Iterator[NamedSpan]:
    """What of the span none of the landings holds, cut at midnights, UTC."""
    begin = span.start
    for landed in there:
        yield from _days_of(begin, landed.start)
        begin = max(begin, landed.end)
    yield from _days_of(begin, span.end)


def _days_of(begin: datetime, end: datetime) -> Iterator[NamedSpan]:
    while begin < end:
        stop = min(_day_of(begin) + _DAY, end)
        yield NamedSpan(f"{_text(begin)}{_BETWEEN}{_text(stop)}", begin, stop)
        begin = stop


def _text(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H%M}"
