"""Listing: the window's files and no others, from the window's prefixes alone, and every file passed over
told.
"""

import gzip
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from azure.core.pipeline.transport import HttpTransport
from hypothesis import given
from hypothesis import strategies as st

from fleetscore.errors import StoreError
from fleetscore.sources import ColumnKind, DataSettings, TimeRange, list_inputs, read_files
from fleetscore.sources.narrowing import prefixes_of
from fleetscore.sources.patterns import PREFIX_LIMIT, parse_pattern
from fleetscore.store import Store, open_store
from tests.sources.spans import VANS, at, between

DAY = between("2026-03-04", "2026-03-05")


def paths(store: Store, path: str, span: TimeRange | None = DAY, **lines: object) -> list[str]:
    """The paths that a pattern lists."""
    settings = DataSettings(path=path, **lines)  # type: ignore[arg-type]
    return [file.path for file in list_inputs(store, settings, span).files]


def test_a_window_lists_its_folders_only(store: Store) -> None:
    """Files of other days are neither read nor listed; those that may come late are."""
    for day in range(1, 29):
        for number in range(3):
            store.write(f"data/vans/2026/03/{day:02d}/{number}.csv", b"%d%d" % (day, number))
    settings = DataSettings(path="data/vans/{window:%Y/%m/%d}/*.csv")
    listing = list_inputs(store, settings, DAY)
    assert [file.path for file in listing.files] == [f"data/vans/2026/03/04/{n}.csv" for n in range(3)]
    assert listing.listed == 3
    assert listing.passed_over == ()
    late = paths(store, settings.paths[0], late_s=1.0)
    assert late == [f"data/vans/2026/03/0{day}/{n}.csv" for day in (4, 5) for n in range(3)]


def test_the_zone_of_the_path_decides_which_folder_an_hour_lies_in(store: Store) -> None:
    """23:00 UTC is the next day in Berlin."""
    for day in (4, 5):
        store.write(f"data/2026-03-0{day}.csv", b"%d" % day)
    hour = between("2026-03-04T23:00", "2026-03-05T00:00")
    assert paths(store, "data/{window:%Y-%m-%d}.csv", hour) == ["data/2026-03-04.csv"]
    assert paths(store, "data/{window:%Y-%m-%d}.csv", hour, path_timezone="Europe/Berlin") == [
        "data/2026-03-05.csv"
    ]


def test_the_path_gives_columns(store: Store) -> None:
    """{device}/{sensor}.csv and hive folders give columns, with their escapes undone; a column that stands
    twice has one value.
    """
    store.write("data/p1/temp.csv", b"a")
    store.write("data/p2/site=N%20A/flow.csv", b"b")
    found = list_inputs(store, DataSettings(path="data/{device}/**/{sensor}.csv"), None).files
    assert [dict(file.columns) for file in found] == [
        {"device": "p1", "sensor": "temp"},
        {"device": "p2", "sensor": "flow", "site": "N A"},
    ]
    assert paths(store, "data/{device}/{device}.csv", None) == []


def test_folders_whose_escapes_are_no_text_stay_apart(store: Store) -> None:
    """A hive folder that another encoding escaped gives its name as it stands, not a replacement of it."""
    for name in ("%E8", "%E9", "%C3%A9"):
        store.write(f"data/site={name}/a{name[-1]}.csv", name.encode())
    found = list_inputs(store, DataSettings(path="data/**"), None).files
    assert sorted(file.columns["site"] for file in found) == ["%E8", "%E9", "é"]


def test_a_folder_of_no_value_gives_no_value(store: Store) -> None:
    """Rows below the folder that Spark and Hive name for a missing value have none there: without a key they are
    rejected, without a number they are kept.
    """
    for folder in ("site=__HIVE_DEFAULT_PARTITION__/depth=1", "site=north/depth=__HIVE_DEFAULT_PARTITION__"):
        store.write(f"data/{folder}/a.csv", b"ts,km\n2026-03-04T10:00:00Z,1\n")
    settings = DataSettings(path="data/**")
    kinds = {"ts": ColumnKind.TIME, "site": ColumnKind.KEY, "depth": ColumnKind.NUMBER}
    reading = read_files(store, list_inputs(store, settings, None).files, settings, kinds)
    assert [(row["site"], row["depth"]) for row in reading.table.to_pylist()] == [("north", None)]
    assert [rows.rejected for rows in reading.rows.values()] == [{"missing_key": 1}, {}]


def test_everything_passed_over_is_told_with_its_reason(store: Store) -> None:
    """Other suffixes, other layouts, empty and hidden files: what looks like data needs attention, and no
    file vanishes.
    """
    store.write("data/sales/history.csv", b"x")
    for name in (
        "history.csv.bz2",
        "a.parquet.snappy",
        "sales_2025.csv",
        "notes.md",
        "_SUCCESS",
        "empty.csv",
    ):
        store.write(f"data/sales/{name}", b"" if name == "empty.csv" else name.encode())
    listing = list_inputs(
        store, DataSettings(path=("data/sales/h*", "data/sales/e*.csv", "data/sales/a*")), None
    )
    assert [file.path for file in listing.files] == ["data/sales/history.csv"]
    told = {
        passed.path.rpartition("/")[2]: (passed.cause, passed.needs_attention)
        for passed in listing.passed_over
    }
    assert told == {
        "history.csv.bz2": ("unknown_format", True),
        "a.parquet.snappy": ("unknown_format", True),
        "sales_2025.csv": ("not_matched", True),
        "notes.md": ("not_matched", False),
        "_SUCCESS": ("hidden", False),
        "empty.csv": ("empty_file", True),
    }
    assert len(listing.remarks()) == 4


def test_a_name_that_is_not_utf8_stops_no_other_file(store: Store, tmp_path: Path) -> None:
    """It is passed over by a readable name, as is one with control characters, and both need attention."""
    store.write("data/a.csv", b"x")
    with open(os.fsencode(tmp_path / "store" / "data") + b"/bad\xff\xfe.csv", "wb") as file:  # noqa: PTH123
        file.write(b"y")
    (tmp_path / "store" / "data" / "new\nline\x1b[31m.csv").write_text("z")
    listing = list_inputs(store, DataSettings(path="data/*.csv"), None)
    assert [file.path for file in listing.files] == ["data/a.csv"]
    assert [(p.path, p.cause, p.needs_attention) for p in listing.passed_over] == [
        ("data/bad\\udcff\\udcfe.csv", "bad_name", True),
        ("data/new\\nline\\x1b[31m.csv", "bad_name", True),
    ]


def test_equal_bytes_are_read_once_and_named(store: Store) -> None:
    """A copied export is passed over with the name of the file that is read; equal sizes alone, or other
    devices, are no copies.
    """
    same, other = b"ts,km\n2026-03-04,1\n" * 9000, b"ts,km\n2026-03-04,1\n" * 8999 + b"ts,km\n2026-03-04,2\n"
    for name, content in (("p1/a", same), ("p1/b", other), ("p1/c", same), ("p2/a", same)):
        store.write(f"data/{name}.csv", content)
    listing = list_inputs(store, DataSettings(path="data/{van}/*.csv"), None)
    assert [file.path for file in listing.files] == ["data/p1/a.csv", "data/p1/b.csv", "data/p2/a.csv"]
    [copy] = listing.passed_over
    assert (copy.path, copy.cause) == ("data/p1/c.csv", "copy")
    assert "data/p1/a.csv" in copy.detail


def test_a_column_before_the_date_is_looked_up_by_folders(store: Store) -> None:
    """{partition}/{date}: each partition's folder of the window is listed, and none of its other days."""
    for partition in range(4):
        for day in range(1, 21):
            store.write(f"hub/{partition}/2026/03/{day:02d}/x.csv", b"%d %d" % (partition, day))
    listing = list_inputs(store, DataSettings(path="hub/{partition}/{window:%Y/%m/%d}/*.csv"), DAY)
    assert [file.columns["partition"] for file in listing.files] == ["0", "1", "2", "3"]
    assert listing.listed == 4


def test_many_hours_are_listed_by_coarser_prefixes(store: Store) -> None:
    """A year by hours is not ten thousand requests, and finds the same files."""
    year = between("2025-01-01", "2026-01-01")
    pattern = parse_pattern("d/{window:%Y/%m/%d/%H}/*.csv")
    moments = pattern.moments(year, UTC, 0.0)
    assert len(moments) == 365 * 24
    assert len(prefixes_of(store, pattern, moments)) == 365 <= PREFIX_LIMIT
    store.write("d/2025/07/01/13/a.csv", b"x")
    store.write("d/2026/07/01/13/a.csv", b"y")
    assert paths(store, pattern.text, year) == ["d/2025/07/01/13/a.csv"]


ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia")
FORMS = ("%Y/%m/%d", "%Y-%m-%dT%H", "y=%Y/m=%m/d=%d/h=%H/mi=%M", "%G/W%V", "%Y%j", "%Y/%b")


@given(
    start=st.datetimes(datetime(2000, 1, 1), datetime(2035, 1, 1)),  # noqa: DTZ001 # made aware below
    length_s=st.integers(1, 40 * 86400),
    late_s=st.integers(0, 86400),
    zone=st.sampled_from(ZONES),
    form=st.sampled_from(FORMS),
    share=st.floats(0.0, 1.0, exclude_max=True),
)
def test_every_file_that_may_hold_a_row_of_the_window_is_found(
    start: datetime, length_s: int, late_s: int, zone: str, form: str, share: float
) -> None:
    """Whatever the form, the zone and the window: the folder of any moment in [start, end + late_s) is
    among the narrowed ones.
    """
    begin = start.replace(tzinfo=UTC)
    length_s = min(length_s, 86400) if "%M" in form else length_s
    span = TimeRange(begin, begin + timedelta(seconds=length_s))
    pattern = parse_pattern(f"d/{{window:{form}}}/*.csv")
    moments = pattern.moments(span, ZoneInfo(zone), late_s)
    moment = (begin + timedelta(seconds=share * (length_s + late_s))).astimezone(ZoneInfo(zone))
    path = f"d/{moment.strftime(form)}/x.csv"
    matched = pattern.match(path)
    assert matched is not None
    assert matched[1] in pattern.stamps(moments)
    assert any(path.startswith(prefix) for prefix in prefixes_of(NoFolders(), pattern, moments))  # type: ignore[arg-type]


@given(
    start=st.datetimes(datetime(2000, 1, 1), datetime(2035, 1, 1)),  # noqa: DTZ001 # made aware below
    hours=st.integers(1, 72),
    zone=st.sampled_from(ZONES),
    off_s=st.integers(0, 400 * 86400),
)
def test_no_file_of_another_day_is_taken(start: datetime, hours: int, zone: str, off_s: int) -> None:
    """A folder whose day does not touch the window is never among the narrowed ones."""
    begin = start.replace(tzinfo=UTC)
    span = TimeRange(begin, begin + timedelta(hours=hours))
    pattern = parse_pattern("d/{window:%Y/%m/%d}/*.csv")
    stamps = pattern.stamps(pattern.moments(span, ZoneInfo(zone), 0.0))
    first, last = (
        m.astimezone(ZoneInfo(zone)).date() for m in (span.start, span.end - timedelta(microseconds=1))
    )
    for day in (first - timedelta(days=1 + off_s // 86400), last + timedelta(days=1 + off_s // 86400)):
        assert (f"{day:%Y}", f"{day:%m}", f"{day:%d}") not in stamps


class NoFolders:
    """A store that is never asked for folders."""

    def list_folders(self, folder: str) -> Iterator[str]:
        raise AssertionError(folder)


def test_files_of_another_container_are_listed_and_read_by_their_url(store: Store, blob_url: str) -> None:
    """A URL names the container; its files carry their URL, so that whoever reads them later needs nothing
    else.
    """
    other = open_store(blob_url)
    other.write("raw/2026/03/04/a b.csv.gz", gzip.compress(b"ts,van,km\n2026-03-04T10:00Z,NA,1\n"))
    other.write("raw/2026/03/05/c.csv.gz", b"not listed")
    settings = DataSettings(path=f"{blob_url}/raw/{{window:%Y/%m/%d}}/*.csv.gz")
    listing = list_inputs(store, settings, DAY)
    assert [file.path for file in listing.files] == [f"{blob_url}/raw/2026/03/04/a b.csv.gz"]
    reading = read_files(store, listing.files, settings, VANS, DAY)
    assert reading.table.to_pylist() == [{"ts": at("2026-03-04T10:00"), "van": "NA", "km": 1.0}]
    assert not reading.faults


def test_a_container_that_cannot_be_reached_is_no_empty_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A place that does not answer is an error, so that nothing is published as if there were no data."""
    monkeypatch.setattr(HttpTransport, "sleep", lambda self, duration: None)
    settings = DataSettings(path="http://127.0.0.1:1/devstoreaccount1/raw/*.csv")
    with pytest.raises(StoreError):
        list_inputs(store, settings, None)


def test_a_file_read_in_two_patterns_counts_once(store: Store) -> None:
    """Overlapping patterns give each file once, and none that one of them takes is told as passed over."""
    store.write("data/a.csv", b"ts,van,km\n2026-03-04T10:00Z,a,1\n")
    settings = DataSettings(path=("data/*.csv", "data/a*", "data/b*"))
    listing = list_inputs(store, settings, None)
    assert [file.path for file in listing.files] == ["data/a.csv"]
    assert listing.passed_over == ()
    assert read_files(store, listing.files, settings, {"van": ColumnKind.KEY}).table.num_rows == 1


@pytest.mark.parametrize(
    "text", ["../a/*.csv", "a/../b.csv", "./a.csv", "a/..", "https://x.blob.core.windows.net/c/../a"]
)
def test_paths_do_not_climb(text: str) -> None:
    """A path with the segment `.` or `..` is refused: no name in a store has one, and it would find nothing."""
    with pytest.raises(ValueError, match="begins at the top of the store"):
        parse_pattern(text)


@pytest.mark.parametrize("text", ["a..b/*.csv", ".hidden/x.csv", "a//b.csv", "data/**", "a/...csv"])
def test_points_in_names_are_names(text: str) -> None:
    """Points within a name, and blobs with two slashes in a row, are paths like others."""
    assert parse_pattern(text)
