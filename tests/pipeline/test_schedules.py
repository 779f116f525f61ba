"""NCRONTAB expressions mean the same to the product and to the local host, by one table of cases."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devhost.errors import LoadError
from devhost.ncrontab import parse_schedule as parse_on_host
from fleetscore.errors import SettingsError
from fleetscore.schedules import parse_schedule

CASES = json.loads((Path(__file__).parents[2] / "tools/devhost/tests/ncrontab_cases.json").read_text())


@pytest.mark.parametrize(("text", "zone", "after", "expected"), CASES["next"])
def test_the_next_occurrence_is_that_of_the_table(
    text: str, zone: str, after: str, expected: str | None
) -> None:
    """Fields, ranges, names, both weekday and day, and changes of clocks."""
    found = parse_schedule(text, zone).next_after(datetime.fromisoformat(after))
    assert found == (datetime.fromisoformat(expected) if expected else None)


@pytest.mark.parametrize("text", CASES["refused"])
def test_what_is_no_expression_is_refused_by_both(text: str) -> None:
    """The error quotes the expression and says where it stands; the local host refuses the same."""
    with pytest.raises(SettingsError, match="NCRONTAB") as raised:
        parse_schedule(text, where="settings/x.toml: schedule")
    assert repr(text) in str(raised.value)
    with pytest.raises(LoadError):
        parse_on_host(text)


_FIELD = st.one_of(
    st.just("*"),
    st.integers(1, 6).map(str),
    st.integers(1, 6).map(lambda step: f"*/{step}"),
    st.tuples(st.integers(1, 6), st.integers(1, 6)).map(lambda pair: f"{pair[0]}-{pair[1]}"),
)


@settings(max_examples=150, deadline=None)
@given(
    fields=st.lists(_FIELD, min_size=6, max_size=6),
    after=st.integers(0, 3 * 366 * 86_400),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
)
def test_product_and_local_host_agree_on_any_expression(fields: list[str], after: int, zone: str) -> None:
    """For random expressions, moments and zones both give the same next occurrence, and it comes after the moment."""
    from zoneinfo import ZoneInfo

    text, moment = " ".join(fields), datetime(2025, 1, 1, tzinfo=UTC) + timedelta(seconds=after)
    found = parse_schedule(text, zone).next_after(moment)
    assert found == parse_on_host(text).next_after(moment, ZoneInfo(zone))
    assert found is None or found > moment


@settings(max_examples=60, deadline=None)
@given(
    minutes=st.integers(0, 500_000),
    text=st.sampled_from(["0 5 * * * *", "0 0 4 * * 1", "0 30 2 1 * *", "0 0 0 29 2 *"]),
)
def test_the_latest_occurrence_has_none_between_it_and_the_moment(minutes: int, text: str) -> None:
    """`latest` is at or before the moment, and the next one after it lies beyond."""
    moment = datetime(2025, 6, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    schedule = parse_schedule(text)
    latest = schedule.latest(moment)
    assert latest is not None
    following = schedule.next_after(latest)
    assert latest <= moment and following is not None and following > moment
