"""Aggregation over fixed intervals."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetscore.errors import SettingsError
from fleetscore.sources import DataSettings
from fleetscore.sources.aggregating import aggregate_rows
from tests.sources.spans import VANS, at

TIME = pa.timestamp("us", "UTC")


def table(rows: list[tuple[str, str, float | None]]) -> pa.Table:
    """Rows of time, van and km."""
    return pa.table(
        {
            "ts": pa.array([at(ts) for ts, _, _ in rows], TIME),
            "van": [v for _, v, _ in rows],
            "km": [k for _, _, k in rows],
        },
        schema=pa.schema({"ts": TIME, "van": pa.string(), "km": pa.float64()}),
    )


ROWS = table(
    [("2026-03-04T10:00:59", "a", 4.0), ("2026-03-04T10:00", "a", 1.0), ("2026-03-04T10:00:30", "b", None),
     ("2026-03-04T10:01", "a", 7.0), ("2026-03-04T10:00:10", "a", None)]
)  # fmt: skip


@pytest.mark.parametrize(
    ("statistic", "values"),
    [("mean", [2.5, 7.0, None]), ("min", [1.0, 7.0, None]), ("max", [4.0, 7.0, None]), ("sum", [5.0, 7.0, None]),
     ("first", [1.0, 7.0, None]), ("last", [4.0, 7.0, None]), ("count", [2, 1, 0])],
)  # fmt: skip
def test_each_statistic_of_an_interval(statistic: str, values: list[float | None]) -> None:
    """A row per key and minute, at its start; missing values count for nothing."""
    settings = DataSettings(aggregate={"every": "1min", "km": statistic})
    found = aggregate_rows(ROWS, settings, VANS)
    assert found["ts"].to_pylist() == [at(f"2026-03-04T10:0{m}") for m in (0, 1, 0)]
    assert found["van"].to_pylist() == ["a", "a", "b"]
    assert found["km"].to_pylist() == values


def test_without_the_line_nothing_changes() -> None:
    """The same table comes back."""
    assert aggregate_rows(ROWS, DataSettings(), VANS) is ROWS


def test_a_statistic_of_no_column_is_refused() -> None:
    """A misspelt column is named."""
    with pytest.raises(SettingsError, match=r"aggregate\.kilometres"):
        aggregate_rows(ROWS, DataSettings(aggregate={"every": "1min", "kilometres": "mean"}), VANS)


@given(
    st.lists(st.integers(-(10**15), 4 * 10**15), min_size=1, max_size=30),
    st.sampled_from(["7s", "15min", "1h", "1d"]),
)
def test_every_reading_counts_in_the_interval_that_holds_it(stamps: list[int], every: str) -> None:
    """Also before 1970 and with odd lengths: counts add up, and starts are multiples at or before the
    readings.
    """
    rows = pa.table({"ts": pa.array(stamps, TIME), "van": ["v"] * len(stamps), "km": [1.0] * len(stamps)})
    settings = DataSettings(aggregate={"every": every, "km": "count"})
    found = aggregate_rows(rows, settings, VANS)
    length = settings.every_s * 10**6
    expected: dict[int, int] = {}
    for stamp in stamps:
        expected[stamp // length * length] = expected.get(stamp // length * length, 0) + 1
    starts = found["ts"].cast(pa.int64()).to_pylist()
    assert dict(zip(starts, found["km"].to_pylist(), strict=True)) == expected
