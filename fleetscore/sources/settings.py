"""The `[data]` table of a workload's settings: where its input lies, and how it is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from fleetscore.errors import SettingsError
from fleetscore.sources.formats import format_of
from fleetscore.sources.patterns import parse_pattern
from fleetscore.sources.places import split_place
from fleetscore.sources.queries import NAMES, bound_names
from fleetscore.typed_json import convert_value
from fleetscore.windows import check_time_of_day

Format = Literal["", "csv", "tsv", "jsonl", "parquet", "avro", "capture", "delta"]
FORMATS = ("csv", "tsv", "jsonl", "parquet", "avro", "capture", "delta")
EPOCHS = {"epoch_s": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1}
"""Values of `time_format` for times that are counted since 1970, and how many microseconds one step is."""

DATABASE_PREFIX = "FLEETSCORE_DATABASE_"
NO_VALUES = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None")
STATISTICS = ("mean", "min", "max", "sum", "first", "last", "count")
_EVERY = re.compile(r"(\d{1,6})(s|min|h|d)", re.ASCII)
_UNIT_S = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_YEAR_S = 366 * 86400.0
_SOME_TIME = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Melt:
    """How a wide table becomes a long one: `id` columns stay, each other column gives rows of its name and
    its values.
    """

    id: tuple[str, ...]
    names: str
    values: str

    def __post_init__(self) -> None:
        if not self.id:
            raise ValueError("melt.id is empty; it must name the columns that stay")
        ours = [*self.id, self.names, self.values]
        if not all(ours) or len(set(ours)) != len(ours):
            raise ValueError(
                f"melt.id, melt.names and melt.values are {ours}; each must be a different column"
            )


@dataclass(frozen=True, slots=True)
class Ready:
    """When a window may start before it is due by `watermark_s`: exactly one of `marker`, `delta` and
    `share`.
    """

    marker: str = ""  # path of a file; `{window:...}` as in `path`
    delta: bool = False  # a version of the Delta table holds a time at or after the window's end
    share: float = 0.0  # of the expected partitions that have a row in the window
    deadline: str = ""  # local time of day, "06:30": the window starts then at the latest

    def __post_init__(self) -> None:
        if (bool(self.marker) + self.delta + (self.share != 0.0)) != 1:
            raise ValueError("ready needs exactly one of marker, delta and share")
        if not 0.0 <= self.share <= 1.0:
            raise ValueError(f"ready.share is {self.share}; it must be above 0 and at most 1")
        if self.deadline:
            check_time_of_day("ready.deadline", self.deadline)
        if self.marker:
            segments = parse_pattern(split_place(self.marker)[1]).segments
            if any(token.kind in ("glob", "column") for segment in segments for token in segment):
                raise ValueError(
                    f"ready.marker is {self.marker!r}; it must be one path, with {{window:...}} alone"
                )


@dataclass(frozen=True, slots=True)
class DataSettings:
    """The `[data]` table: which files a workload reads, and what their text means.

    Every line is checked when it is read.

    Raises ValueError, naming the line, for what no reader can do; `read_data_settings` makes a
    SettingsError of it.

    >>> DataSettings(path="data/vans/{window:%Y/%m/%d}/*.csv", columns={"km": "Distance (km)"}).paths
    ('data/vans/{window:%Y/%m/%d}/*.csv',)
    """

    path: str | tuple[str, ...] = ()  # globs, or folders: all files below them
    path_timezone: str = "UTC"  # of `{window:...}` in paths
    format: Format = ""  # "": by suffix
    columns: Mapping[str, str] = field(default_factory=dict)  # ours -> theirs
    melt: Melt | None = None
    separator: str = ""  # "": a comma, or a tab where the format is tsv
    decimal: Literal[".", ","] = "."
    encoding: str = "utf-8"
    time: str = ""  # our name of the column that holds a row's time
    time_format: str = ""  # "": ISO 8601; else as strptime has it, or epoch_s, epoch_ms, epoch_us
    timezone: str = ""  # of times without a zone; "": the workload's
    null_values: tuple[str, ...] = NO_VALUES  # cells that mean no value; never applied to keys
    aggregate: Mapping[str, str] = field(default_factory=dict)  # every = "1min", and a statistic per column
    late_s: float = 0.0  # how long after a window's end its files may still be written
    ready: Ready | None = None
    database: str = ""  # name of the environment variable that holds the connection
    query: str = ""  # with :start and :end
    read_limit_s: float = 600.0  # longest reading of one file
    read_limit_mb: float = 16384.0  # most bytes that one file may unpack to

    def __post_init__(self) -> None:
        for check in (
            _check_paths,
            _check_text,
            _check_times,
            _check_columns,
            _check_aggregate,
            _check_ready,
            _check_database,
        ):
            check(self)

    @property
    def paths(self) -> tuple[str, ...]:
        """The patterns of `path`, whether one or many are given; a folder stands for all files below it.

        >>> DataSettings(path="data/vans/").paths
        ('data/vans/**',)
        """
        paths = (self.path,) if isinstance(self.path, str) else self.path
        return tuple(_below(path) if self._is_folder(path) else path for path in paths)

    def prefixes(self, elsewhere: str) -> tuple[str, ...]:
        """The folders in the store that hold all that `path` names; `elsewhere` for what lies in another
        container, or in a database.
        """
        found = (
            elsewhere if place else parse_pattern(text).folder for place, text in map(split_place, self.paths)
        )
        return tuple(dict.fromkeys((*found, *([elsewhere] if self.database else []))))

    def _is_folder(self, path: str) -> bool:
        if self.format == "delta" or not path.strip("/"):
            return False
        text = split_place(path)[1].rstrip("/")
        return path.endswith("/") or (parse_pattern(text).is_plain and not format_of(text, self.format))

    @property
    def every_s(self) -> int:
        """The seconds of one interval of `aggregate`; 0 where nothing is aggregated."""
        return seconds_of(self.aggregate["every"]) if self.aggregate else 0

    def theirs(self, ours: str) -> str:
        """What the files call our column."""
        return self.columns.get(ours, ours)

    @property
    def is_plain(self) -> bool:
        """Whether no line says how files are read; lines on where and when they are may be there."""
        plain = DataSettings()
        names = DataSettings.__dataclass_fields__.keys() - _PLACE
        return self.timezone in ("", "UTC") and all(getattr(self, n) == getattr(plain, n) for n in names)

    def with_defaults(self, path: str, timezone: str) -> Self:
        """The same settings with `path` and `timezone` where the table has none."""
        paths = self.paths or ((path,) if path and not self.database else ())
        return replace(self, path=paths, timezone=self.timezone or timezone)


_PLACE = {"path", "path_timezone", "late_s", "ready", "read_limit_s", "read_limit_mb", "timezone"}


def read_data_settings(table: Mapping[str, Any], where: str) -> DataSettings:
    """The settings of a parsed `[data]` table; SettingsError names `where` it stands and the line at
    fault.
    """
    known = DataSettings.__dataclass_fields__
    for name in table:
        if name not in known:
            raise SettingsError(
                f"{where}: there is no setting {name!r}.", fix=f"Known: {', '.join(known)}.", field=name
            )
    try:
        if table.get("path") == []:
            raise ValueError("path is an empty list; name files, or leave the line out")
        return convert_value(table, DataSettings)
    except (msgspec.ValidationError, ValueError) as error:
        raise SettingsError(
            f"{where}: {error}.", fix="See docs/howto/bring-your-data.md.", field=where
        ) from error


def _below(folder: str) -> str:
    return f"{folder.rstrip('/')}/**"


def seconds_of(every: str) -> int:
    """The seconds of an interval such as 30s, 1min, 2h or 1d; ValueError for anything else.

    >>> seconds_of("15min")
    900
    """
    match = _EVERY.fullmatch(every)
    if match is None or int(match[1]) == 0:
        raise ValueError(f"aggregate.every is {every!r}; it must be like 30s, 1min, 2h or 1d")
    return int(match[1]) * _UNIT_S[match[2]]


def _check_paths(settings: DataSettings) -> None:
    for path in settings.paths:
        parse_pattern(split_place(path)[1])
    _zone("path_timezone", settings.path_timezone)
    _range("late_s", settings.late_s, 0.0, _YEAR_S)


def _check_text(settings: DataSettings) -> None:
    if len(settings.separator) > 1 or settings.separator in ('"', "\n", "\r"):
        raise ValueError(
            f"separator is {settings.separator!r}; it must be one character, and no quote or line end"
        )
    if settings.separator and settings.separator == settings.decimal:
        raise ValueError(f"separator and decimal are both {settings.decimal!r}; they must differ")
    try:
        "a\n".encode(settings.encoding).decode(settings.encoding)
    except (LookupError, UnicodeError) as error:
        raise ValueError(
            f"encoding is {settings.encoding!r}; it must be like utf-8, cp1252 or utf-16"
        ) from error
    _range("read_limit_s", settings.read_limit_s, 1.0, 86400.0)
    _range("read_limit_mb", settings.read_limit_mb, 1.0, 1e6)


def _check_times(settings: DataSettings) -> None:
    if settings.timezone:
        _zone("timezone", settings.timezone)
    form = settings.time_format
    if form and form not in EPOCHS and "%" not in form:
        raise ValueError(f"time_format is {form!r}; it must be {', '.join(EPOCHS)} or like %d.%m.%Y %H:%M:%S")
    if form and form not in EPOCHS and not _tells_years(form):
        raise ValueError(
            f"time_format is {form!r}; it must name the year, in parts that strptime has, as %d.%m.%Y %H:%M:%S does"
        )


def _tells_years(form: str) -> bool:
    """Whether times that are written so are read in the year that they are of: without one they are of
    1900.
    """
    try:
        return datetime.strptime(_SOME_TIME.strftime(form), form).year == _SOME_TIME.year  # noqa: DTZ007 # a year alone
    except (ValueError, re.error):
        return False


def _check_columns(settings: DataSettings) -> None:
    for ours, theirs in settings.columns.items():
        if not ours or not theirs:
            raise ValueError(f"columns has {ours!r} = {theirs!r}; neither name may be empty")
    if settings.melt and {settings.melt.names, settings.melt.values} & settings.columns.keys():
        raise ValueError("columns names what melt makes; melt.names and melt.values are our names already")


def _check_aggregate(settings: DataSettings) -> None:
    if not settings.aggregate:
        return
    if "every" not in settings.aggregate or len(settings.aggregate) < 2:
        raise ValueError('aggregate must be like {every = "1min", value = "mean"}')
    seconds_of(settings.aggregate["every"])
    for column, statistic in settings.aggregate.items():
        if column != "every" and statistic not in STATISTICS:
            raise ValueError(
                f"aggregate.{column} is {statistic!r}; it must be one of {', '.join(STATISTICS)}"
            )


def _check_ready(settings: DataSettings) -> None:
    if settings.ready is None:
        return
    if settings.ready.share and settings.database:
        raise ValueError("ready.share counts rows of files; with a database give ready.marker, or no ready")
    if settings.ready.delta and (settings.format != "delta" or not settings.time):
        raise ValueError('ready.delta needs format = "delta", and `time` to name the column of the times')


def _check_database(settings: DataSettings) -> None:
    if bool(settings.database) != bool(settings.query):
        raise ValueError("database and query belong together; one of them is missing")
    if not settings.database:
        return
    if not re.fullmatch(DATABASE_PREFIX + r"[A-Z0-9_]{1,60}", settings.database):
        raise ValueError(
            f"database is {settings.database!r}; it must be the name of an environment variable that begins with "
            f"{DATABASE_PREFIX}, never the connection itself"
        )
    if settings.paths:
        raise ValueError("path and database are both given; a workload reads from one of them")
    for name in NAMES:
        if name not in bound_names(settings.query):
            raise ValueError(f"query lacks :{name}; it must select the rows of [:start, :end)")


def _zone(name: str, text: str) -> None:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(
            f"{name} is {text!r}; it must be a time zone such as Europe/Berlin or UTC"
        ) from error


def _range(name: str, value: float, least: float, limit: float) -> None:
    if not least <= value <= limit:
        raise ValueError(f"{name} is {value}; it must be between {least:g} and {limit:g}")
