"""What the data of a new fleet looks like: its files, how their text is written, columns, times and names,
and how sure that is.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.errors import FileError, InputError
from fleetscore.sources import DataSettings, InputFile, list_inputs, read_batches, read_data_settings
from fleetscore.sources.formats import find_misnamed, format_of, is_hidden
from fleetscore.sources.reading import settle_types
from fleetscore.sources.records import RejectTally
from fleetscore.sources.times import TimeReader
from fleetscore.store.base import Store

_FILES_READ = 4
_ROWS_READ = 40_000
_HEAD_BYTES = 8192
_JUDGED_BYTES = 1 << 20
"""Of a file, for its encoding: letters beyond ASCII may be rare."""

_SEPARATORS = (",", ";", "\t", "|")
_TIME_FORMATS = ("", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M")
_TIME_NAMES = re.compile(
    r"(^|_)(time|ts|timestamp|date|datetime|recorded|at|when|zeit|stamp)(_|$)|time|date", re.IGNORECASE
)
_INDEX = re.compile(r"__index_level_\d+__|Unnamed: \d+|")
"""What pandas calls the index of a table without a name, in Parquet and in CSV."""

_EPOCHS = {"epoch_s": (1e9, 3e9), "epoch_ms": (1e12, 3e12), "epoch_us": (1e15, 3e15)}
_DATES = {
    "%Y-%m-%dT%H": r"\d{4}-\d\d-\d\dT\d\d(?!\d)", "%Y-%m-%d_%H": r"\d{4}-\d\d-\d\d_\d\d(?!\d)",
    "%Y-%m-%d-%H": r"\d{4}-\d\d-\d\d-\d\d(?!\d)", "%Y%m%dT%H": r"(?<!\d)\d{8}T\d\d(?!\d)",
    "%Y%m%d_%H": r"(?<!\d)\d{8}_\d\d(?!\d)", "%Y%m%d%H": r"(?<!\d)\d{10}(?!\d)", "%Y/%m/%d/%H": r"\d{4}/\d\d/\d\d/\d\d(?!\d)",
    "%Y-%m-%d": r"\d{4}-\d\d-\d\d", "%Y%m%d": r"(?<!\d)\d{8}(?!\d)", "%Y/%m/%d": r"\d{4}/\d\d/\d\d",
}  # fmt: skip
"""Forms of dates in names, with an hour first: a name that has one has a date, too."""


@dataclass(frozen=True, slots=True)
class TimeGuess:
    """The column of a row's time; `has_zone` says whether its values have one, `format` is that of [data]."""

    column: str
    format: str
    has_zone: bool
    rivals: tuple[str, ...]  # other columns that hold times


@dataclass(frozen=True, slots=True)
class DataGuess:
    """What was found: the pattern of the files, how they are written, and a sample of rows by file."""

    pattern: str  # of the files, in the store where they were read
    files: tuple[InputFile, ...]
    passed_over: tuple[str, ...]
    # separator, decimal, encoding, where they are not the default
    written: Mapping[str, str] = field(default_factory=dict)
    samples: Mapping[str, pa.Table] = field(default_factory=dict)  # by path
    faults: tuple[str, ...] = ()  # of files and of their sampled rows

    @property
    def rows(self) -> pa.Table:
        """All sampled rows, without the numbers that pandas gave them."""
        table = pa.concat_tables(list(self.samples.values()), promote_options="permissive")
        table = table.select([name for name in table.column_names if not _is_row_number(table, name)])
        return settle_types(_with_points(table) if self.written.get("decimal") == "," else table, None)


def look_at_data(store: Store, folder: str, pattern: str = "") -> DataGuess:
    """What lies below `folder` of the store, or matches `pattern`; InputError where there is nothing to
    read.
    """
    pattern = pattern or _pattern_of(store, folder)
    settings = DataSettings(path=pattern)
    listing = list_inputs(store, settings, None)
    if not listing.files:
        raise InputError(
            f"{folder or pattern} holds no data file.",
            fix="Formats: Parquet, CSV, TSV and JSON lines (each also .gz or .zst), Avro.",
            field="data",
        )
    written = _text_style(store, listing.files)
    settings = read_data_settings({"path": pattern, **written}, "data")
    samples, faults, rejected = _read_samples(store, listing.files, settings)
    if not samples:
        first = faults[0]
        raise InputError(f"No file could be read; the first: {first.message}", fix=first.fix, field="data")
    told = (*map(str, faults), *rejected)
    return DataGuess(pattern, listing.files, listing.remarks(), written, samples, told)


def guess_time(rows: pa.Table, zone: str) -> TimeGuess | None:
    """The column that holds times: one of that type, else text or numbers that read as times; names decide
    between several.
    """
    found = [guess for name in rows.column_names if (guess := _as_time(rows, name, zone)) is not None]
    if not found:
        return None
    named = sorted(found, key=lambda one: not _TIME_NAMES.search(one.column))
    return replace(named[0], rivals=tuple(one.column for one in found if one.column != named[0].column))


def name_columns(rows: pa.Table, time: str) -> list[str]:
    """Columns that may hold names: text, and whole numbers that repeat."""
    return [name for name in rows.column_names if name != time and _may_name(rows[name])]


def narrow_by_date(guess: DataGuess, time: TimeGuess | None, zone: str) -> str:
    """The pattern with the date in the files' names as `{window:...}`; "" where names have none or rows do
    not agree with it.
    """
    for form, expression in _DATES.items():
        parts = [re.split(f"({expression})", file.path, maxsplit=1) for file in guess.files]
        same = all(len(part) == 3 and (part[0], part[2]) == (parts[0][0], parts[0][2]) for part in parts)
        if (
            same
            and time is not None
            and all(_is_of_date(guess, path, form, expression, time, zone) for path in guess.samples)
        ):
            return f"{parts[0][0]}{{window:{form}}}{parts[0][2]}"
    return ""


def text_values(column: pa.ChunkedArray) -> list[str]:
    """The distinct values as text, whole numbers without a point."""
    values = pc.unique(column).drop_null()
    if pa.types.is_floating(values.type):
        values = values.cast(pa.int64())
    return [str(value) for value in values.to_pylist()]


def _is_row_number(table: pa.Table, name: str) -> bool:
    """Whether the column is an index without a name; one of times may be the rows' time."""
    return bool(_INDEX.fullmatch(name)) and not pa.types.is_timestamp(table[name].type)


def _with_points(table: pa.Table) -> pa.Table:
    """The table with decimal points in columns that hold numbers with commas only."""
    for place, name in enumerate(table.column_names):
        column = table[name]
        if (
            pa.types.is_string(column.type)
            and pc.all(pc.match_substring_regex(column, r"^\s*-?\d+(,\d+)?\s*$")).as_py()
        ):
            table = table.set_column(place, name, pc.replace_substring(column, ",", "."))
    return table


def _pattern_of(store: Store, folder: str) -> str:
    """All files of the most frequent suffix below the folder."""
    suffixes: Counter[str] = Counter()
    for entry in store.list(folder):
        if format_of(entry.path) is not None and not is_hidden(entry.path, folder):
            name = entry.path.rpartition("/")[2]
            suffixes[re.search(r"\.[^.]+(\.gz|\.zst)?$", name, re.IGNORECASE)[0]] += 1  # type: ignore[index]  # it has a format
    suffix = suffixes.most_common(1)[0][0] if suffixes else ".parquet"
    return f"{folder}**/*{suffix}"


def _text_style(store: Store, files: Sequence[InputFile]) -> dict[str, str]:
    """Separator, decimal comma and encoding of the newest file that is what its name says, by its beginning;
    none where that is no plain CSV.
    """
    for file in islice(reversed(files), _FILES_READ):
        if file.format != "csv" or file.path.endswith((".gz", ".zst")):
            return {}
        with store.open(file.path) as source:
            start = source.read(_JUDGED_BYTES)
        if find_misnamed(file.path, start) is None:
            head = start[:_HEAD_BYTES].decode("utf-8", "replace")
            return _style_of(head.splitlines()[:20]) | _encoding_of(start)
    return {}


def _encoding_of(start: bytes) -> dict[str, str]:
    """Windows' encoding of the West for text that is no UTF-8, which has its letters in one byte each."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return {} if b"\0" in start else {"encoding": "cp1252"}
    return {}


def _style_of(head: Sequence[str]) -> dict[str, str]:
    counts = {mark: head[0].count(mark) for mark in _SEPARATORS} if head else {",": 1}
    separator = max(counts, key=lambda mark: counts[mark])
    found = {} if separator == "," else {"separator": separator}
    cells = [cell for line in head[1:] for cell in line.split(separator)]
    if separator != "," and any(re.fullmatch(r"\s*-?\d+,\d+\s*", cell) for cell in cells):
        found["decimal"] = ","
    return found


def _read_samples(
    store: Store, files: Sequence[InputFile], settings: DataSettings
) -> tuple[dict[str, pa.Table], list[FileError], list[str]]:
    """The sampled rows by path, the faults of files, and a sentence for each file's rejected rows."""
    samples: dict[str, pa.Table] = {}
    faults: list[FileError] = []
    rejected: list[str] = []
    for file in islice(reversed(files), _FILES_READ):
        tally = RejectTally()
        try:
            found = pa.concat_tables(_some_rows(store, file, settings, tally), promote_options="permissive")
        except FileError as error:
            faults.append(error)
            continue
        samples[file.path] = found
        rejected += tally.of(found).sentences(file.path)
    return samples, faults, rejected


def _some_rows(
    store: Store, file: InputFile, settings: DataSettings, tally: RejectTally
) -> Iterator[pa.Table]:
    rows = 0
    for batch in read_batches(store, file, settings):
        tally.add(batch)
        rows += batch.table.num_rows
        yield batch.table
        if rows >= _ROWS_READ:
            return


def _as_time(rows: pa.Table, name: str, zone: str) -> TimeGuess | None:
    column = rows[name].combine_chunks()
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return TimeGuess(name, "", bool(getattr(kind, "tz", None)), ())
    if pa.types.is_string(kind):
        return _as_written_time(column, name, zone)
    if pa.types.is_floating(kind) and _TIME_NAMES.search(name) and len(column.drop_null()):
        low, high = pc.min(column).as_py(), pc.max(column).as_py()
        form = next((form for form, (least, most) in _EPOCHS.items() if least <= low <= high < most), "")
        return TimeGuess(name, form, True, ()) if form else None
    return None


def _as_written_time(column: pa.Array, name: str, zone: str) -> TimeGuess | None:
    texts = column.drop_null().slice(0, 1000)
    for form in _TIME_FORMATS if len(texts) else ():
        read = TimeReader(form, zone).read(texts, [])
        if read.null_count <= len(texts) // 20:
            has_zone = not form and bool(re.search(r"(Z|[+-]\d\d:?\d\d)$", str(texts[0])))
            return TimeGuess(name, form, has_zone, ())
    return None


def _may_name(column: pa.ChunkedArray) -> bool:
    if pa.types.is_string(column.type):
        return True
    values = column.drop_null()
    if not pa.types.is_floating(column.type) or not len(values):
        return False
    whole = pc.all(pc.and_(pc.equal(pc.floor(values), values), pc.less(pc.abs(values), 2**53))).as_py()
    return bool(whole) and len(pc.unique(values)) <= len(values) / 2


def _is_of_date(guess: DataGuess, path: str, form: str, expression: str, time: TimeGuess, zone: str) -> bool:
    """Whether all sampled rows of the file are of the date in its name."""
    stamps = TimeReader(time.format, zone).read(guess.samples[path][time.column].combine_chunks(), [])
    days = pc.unique(pc.strftime(pc.cast(stamps.drop_null(), pa.timestamp("us", ZoneInfo(zone).key)), form))
    named = re.search(expression, path)
    return named is not None and days.to_pylist() == [named[0]]
