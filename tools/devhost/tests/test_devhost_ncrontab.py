"""NCRONTAB schedules against a brute-force oracle, and the rules that differ from Unix cron."""

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devhost.errors import LoadError
from devhost.ncrontab import parse_schedule

_CASES = json.loads((Path(__file__).parent / "ncrontab_cases.json").read_text())
_UTC = ZoneInfo("UTC")
_BERLIN = ZoneInfo("Europe/Berlin")


def _next(text: str, moment: datetime, zone: ZoneInfo = _UTC) -> datetime | None:
    return parse_schedule(text).next_after(moment, zone)


def _at(*parts: int) -> datetime:
    year, month, day, *rest = parts
    return datetime(year, month, day, *rest, tzinfo=UTC)  # type: ignore[misc, arg-type]  # hour to second


@pytest.mark.parametrize(("text", "zone", "after", "expected"), _CASES["next"])
def test_next_occurrence(text: str, zone: str, after: str, expected: str | None) -> None:
    """The next occurrence is the one that NCrontab gives."""
    found = _next(text, datetime.fromisoformat(after), ZoneInfo(zone))
    assert found == (datetime.fromisoformat(expected) if expected else None)


def test_a_time_span_is_an_interval() -> None:
    """A constant interval counts from the moment."""
    assert _next("00:30:00", _at(2026, 1, 1)) == _at(2026, 1, 1, 0, 30)


@pytest.mark.parametrize("text", [*_CASES["refused"], "25:61:00", "00:00:00"])
def test_bad_expressions_are_refused(text: str) -> None:
    """What is not a schedule is refused with a text that quotes it."""
    with pytest.raises(LoadError, match="The schedule expression"):
        parse_schedule(text)


def test_schedule_that_never_fires_ends() -> None:
    """The 30th of February is looked for in vain, in bounded time."""
    assert _next("0 0 0 30 2 *", _at(2026, 1, 1)) is None


_FIELD = st.one_of(
    st.just("*"),
    st.integers(0, 23).map(str),
    st.integers(1, 20).map(lambda step: f"*/{step}"),
    st.tuples(st.integers(0, 23), st.integers(0, 23)).map(lambda pair: f"{pair[0]}-{pair[1]}"),
    st.lists(st.integers(0, 23), min_size=1, max_size=3).map(lambda values: ",".join(map(str, values))),
)


def _moments(first_year: int, last_year: int) -> st.SearchStrategy[datetime]:
    seconds = int((_at(last_year, 1, 1) - _at(first_year, 1, 1)).total_seconds())
    return st.integers(0, seconds).map(lambda after: _at(first_year, 1, 1) + timedelta(seconds=after))


def _allows(field: str, value: int, highest: int) -> bool:
    """Return whether a field allows a value, by enumerating."""
    for item in field.split(","):
        span, _, step = item.partition("/")
        first, last = 0, highest
        if span != "*":
            ends = sorted(int(each) for each in span.split("-"))
            first, last = ends[0], ends[-1] if "-" in span or not step else highest
        if value in range(first, last + 1, int(step or 1)):
            return True
    return False


@settings(max_examples=60, deadline=None)
@given(minute=_FIELD, hour=_FIELD, start=_moments(2024, 2030))
def test_next_occurrence_equals_a_search_minute_by_minute(minute: str, hour: str, start: datetime) -> None:
    """For any minute and hour fields, stepping through every minute finds the same moment."""
    moment = start
    candidate = moment.replace(second=0, microsecond=0) + timedelta(minutes=1)
    while not (_allows(minute, candidate.minute, 59) and _allows(hour, candidate.hour, 23)):
        candidate += timedelta(minutes=1)
    assert _next(f"0 {minute} {hour} * * *", moment) == candidate


def test_skipped_hour_runs_at_the_shifted_time() -> None:
    """Half past two does not exist on the day when the clock goes forward: the run comes an hour later by the
    clock.
    """
    assert _next("0 30 2 * * *", _at(2026, 3, 28, 12), _BERLIN) == _at(2026, 3, 29, 1, 30)


def test_repeated_hour_runs_fixed_times_once() -> None:
    """Half past two happens twice on the day when the clock goes back; a fixed time runs in the first pass
    only.
    """
    first = _next("0 30 2 * * *", _at(2026, 10, 24, 12), _BERLIN)
    assert first == _at(2026, 10, 25, 0, 30)
    assert first is not None and _next("0 30 2 * * *", first, _BERLIN) == _at(2026, 10, 26, 1, 30)


def test_repeated_hour_is_run_through_twice_by_intervals() -> None:
    """Every half hour means every half hour, through both passes."""
    moment, seen = _at(2026, 10, 24, 23, 45), []
    for _ in range(6):
        found = _next("0 */30 * * * *", moment, _BERLIN)
        assert found is not None
        seen.append(found)
        moment = found
    assert [later - earlier for earlier, later in pairwise(seen)] == [timedelta(minutes=30)] * 5


@settings(max_examples=40, deadline=None)
@given(start=_moments(2026, 2027))
def test_occurrences_always_move_forward(start: datetime) -> None:
    """Whatever the clock does, the next occurrence lies after the moment."""
    moment = start
    for text in ("0 */10 * * * *", "0 30 2 * * *", "*/30 0 1-3 * * *"):
        found = _next(text, moment, _BERLIN)
        assert found is not None and found > moment
