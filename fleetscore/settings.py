"""A workload's settings: settings/<workload>.toml in the store, typed, with defaults. The app's own are in
app_settings.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Literal
from zoneinfo import ZoneInfo

from fleetscore.errors import MissingBlobError, SettingsError, StoreError
from fleetscore.notify_settings import NotifyPolicy
from fleetscore.settings_tables import (
    Settings,
    SettingsTables,
    convert_table,
    parse_settings,
    place_of,
    unknown_setting,
)
from fleetscore.store.base import Store
from fleetscore.windows import check_time_of_day

LogPartitions = Literal["all", "bad", "none"]
_VARIABLE = re.compile(r"FLEETSCORE_DATABASE_[A-Z0-9_]+")
_TABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62})?")

TABLES = ("run", "quality", "keep", "results", "notify")
"""Tables of a workload's settings that the pipeline reads."""
NOTIFY_DEFAULT = "notify-default"
NOTIFY_DEFAULT_PATH = f"settings/{NOTIFY_DEFAULT}.toml"
"""The [notify] table of all workloads whose settings have none."""
COMMON_LINES = ("kind", "schedule", "timezone")
"""Lines that every workload's settings may have; all others are lines of the kind's `settings_type`."""


@dataclass(frozen=True, slots=True)
class NoSettings:
    """The settings of a kind that has none of its own."""


_YEAR_S = 366 * 86400.0
_MOST_TAGS = 15
_RUN_RANGES = {
    "error_threshold": (0.0, 1.0),
    "watermark_s": (-_YEAR_S, _YEAR_S),  # negative: due before its end, as a forecast is
    "lookback": (0, 100_000),
    "late_until_s": (0.0, 10 * _YEAR_S),
    "overdue_s": (0.0, _YEAR_S),
    "stalled_s": (0.0, _YEAR_S),
    "budget_usd": (0.0, 1e9),
    "budget_stop_usd": (0.0, 1e9),
    "max_attempts": (1, 100),
    "batch_shard_s": (0.0001, 7 * 86400.0),
    "pool_nodes": (0, 10_000),
    "inline_limit_s": (0.0, 7 * 86400.0),
    "check_s": (0.01, 86400.0),
    "start_limit_s": (0.0, 7 * 86400.0),
    "shard_limit_s": (0.01, 30 * 86400.0),
    "job_limit_s": (0.01, 180 * 86400.0),
}
"""Setting of [run] -> least and largest value."""


def check_range(name: str, value: float, least: float, limit: float) -> None:
    """ValueError unless the value lies within the range; nan lies in none."""
    if not least <= value <= limit:
        raise ValueError(f"{name} is {value:.15g}; it must be from {least:g} to {limit:g}")


def check_tags(tags: Mapping[str, str]) -> None:
    """ValueError for tags that Batch or a cost report could not carry."""
    if len(tags) > _MOST_TAGS:
        raise ValueError(f"tags has {len(tags)} names; it may have {_MOST_TAGS}")
    for name, value in tags.items():
        if not re.fullmatch(r"[a-z][a-z0-9_-]{0,49}", name) or name in ("run", "workload"):
            rule = "must be of a-z, 0-9, _ and -, at most 50 characters, and neither run nor workload"
            raise ValueError(f"the name {name!r} in tags {rule}")
        if not 1 <= len(value) <= 200 or not value.isprintable():
            raise ValueError(f"tags.{name} must have 1 to 200 printable characters")


@dataclass(frozen=True, slots=True)
class RunPolicy:
    """The [run] table of a workload's settings: rules of its runs, whatever the kind."""

    error_threshold: float = 0.1  # most failed or quarantined, as a share, in what is published
    watermark_s: float = 300.0  # how long after its end a window is due
    lookback: int = 24  # how many windows back a timer heals gaps
    late_until_s: float = 86400.0  # how long after its publication a window takes late data
    overdue_s: float = 3600.0  # how long after it is due a window may be unpublished before a notice is sent
    # time of day in the workload's timezone, "06:00", by which a window has to be published; "": none
    deadline: str = ""
    stalled_s: float = 14400.0  # how long a run may go without a commit before a notice is sent
    # which partitions get a line in the app's log: all, bad (without a good outcome), none
    log_partitions: LogPartitions = "bad"
    notice_published: bool = False  # whether a notice says that a window was published, for what starts on it
    budget_usd: float = 0.0  # cost in a month above which a notice is sent; 0: none
    budget_stop_usd: float = 0.0  # cost in a month above which backfills and trainings are refused; 0: none
    tags: Mapping[str, str] = field(default_factory=dict)  # names and values on Batch jobs, costs and notices
    max_attempts: int = 3  # kills by a partition before it is quarantined
    batch_shard_s: float = 600.0  # seconds that a shard on Batch is packed for: what a preemption may cost
    pool_nodes: int = 0  # Spot nodes that a pool without a formula gets for a run, and loses after it; 0: leave the pool alone
    inline_limit_s: float = 900.0  # how long a run may take inline where the pool would be dearer
    check_s: float = 60.0  # how often a run looks after its Batch job when no completion message comes
    start_limit_s: float = 1800.0  # how long a Batch job may wait for its first node
    shard_limit_s: float = 7200.0  # longest wall clock of one try at a shard on Batch
    job_limit_s: float = 43200.0  # longest wall clock of a run's Batch job

    def __post_init__(self) -> None:
        for name, (least, limit) in _RUN_RANGES.items():
            check_range(name, getattr(self, name), least, limit)
        if self.deadline:
            check_time_of_day("deadline", self.deadline)
        check_tags(self.tags)


@dataclass(frozen=True, slots=True)
class QualityPolicy:
    """The [quality] table of a workload's settings: beyond which limits a scored partition gets the warning
    `drifted`.
    """

    shift_limit: float = 4.0  # how many training deviations the mean of the input may be off
    spread_limit: float = 3.0  # logarithm of how many times the deviation may grow or shrink (3: twentyfold)
    # how many of the fleet's deviations a prediction may move since the model's first run
    prediction_limit: float = 6.0
    missing_limit: float = 0.5  # share of the input that may be missing or unusable
    least_n: float = 10.0  # with fewer values input and predictions are not compared

    def __post_init__(self) -> None:
        for name in ("shift_limit", "spread_limit", "prediction_limit", "missing_limit"):
            check_range(name, getattr(self, name), 1e-9, 1e9)
        check_range("least_n", self.least_n, 0.0, 1e12)


@dataclass(frozen=True, slots=True)
class KeepPolicy:
    """The [keep] table of a workload's settings: after how many days housekeeping removes what no results
    refer to.
    """

    # attempts that were not committed, challengers' results, notes of preparation
    attempts_days: float = 30.0
    logs_days: float = 30.0  # logs of Batch tasks
    unpublished_days: float = 90.0  # all but the record of runs that failed, were cancelled, or published nothing; names of backfills
    # prepared input, made again when it is needed again, and landings that a later one replaced
    partials_days: float = 90.0
    notices_days: float = 90.0  # delivered and given-up notices

    def __post_init__(self) -> None:
        for setting in fields(self):
            check_range(setting.name, getattr(self, setting.name), 1.0, 36_500.0)


@dataclass(frozen=True, slots=True)
class ResultsPolicy:
    """The [results] table of a workload's settings: a database that gets the published rows as well."""

    database: str = ""  # environment variable with the connection of a PostgreSQL server, which begins FLEETSCORE_DATABASE_
    table: str = ""  # its table, as NAME or SCHEMA.NAME; made with the first window where it is missing

    def __post_init__(self) -> None:
        if bool(self.database) != bool(self.table):
            raise SettingsError(
                "Only one of database and table is given.", fix="Give both, or neither.", field="database"
            )
        if self.database and not _VARIABLE.fullmatch(self.database):
            raise SettingsError(
                f"database is {self.database!r}.",
                fix="Name an environment variable that begins with FLEETSCORE_DATABASE_.",
                field="database",
            )
        if self.table and not _TABLE_NAME.fullmatch(self.table):
            raise SettingsError(
                f"table is {self.table!r}.",
                fix="Write NAME or SCHEMA.NAME with letters, digits and underscores.",
                field="table",
            )


def workload_settings_path(workload: str) -> str:
    """Where a workload's settings lie in the store."""
    return f"settings/{workload}.toml"


def read_settings_file(store: Store, workload: str) -> SettingsTables:
    """The lines and tables of the workload's settings file, {} without one; SettingsError when it is not
    TOML, or no file.
    """
    path = workload_settings_path(workload)
    data = read_if_there(store, path)
    return SettingsTables({}) if data is None else parse_settings(data, path)


def read_if_there(store: Store, path: str) -> bytes | None:
    """The bytes of a settings file, None where there is none; SettingsError where something else stands at
    its path, or it cannot be read however often one tries.
    """
    try:
        with _naming_file(path):
            return store.read(path)
    except MissingBlobError as error:
        if isinstance(error.__cause__, IsADirectoryError):
            raise SettingsError(
                f"{path} is a folder.", fix="Put the file there, or remove it.", field=path
            ) from error
        return None


def has_settings_file(store: Store, workload: str) -> bool:
    """Whether a file stands at the path of the workload's settings; SettingsError where that cannot be
    found out however often one tries.
    """
    path = workload_settings_path(workload)
    with _naming_file(path):
        return store.stat(path) is not None


@contextmanager
def _naming_file(path: str) -> Iterator[None]:
    """Turn an error of the store that lasts into a SettingsError of the file."""
    try:
        yield
    except MissingBlobError:
        raise
    except StoreError as error:
        if error.retry:
            raise
        raise SettingsError(error.message, fix=error.fix, field=path) from error


def own_settings(tables: Mapping[str, Any], settings_type: type[Settings], path: str) -> Settings:
    """The kind's own lines as its dataclass, defaults where a line is missing; SettingsError names the line
    at fault.
    """
    declared = {f.name for f in fields(settings_type)}  # type: ignore[arg-type]  # settings types are dataclasses
    reserved = {*TABLES, *COMMON_LINES} - declared
    own = {name: value for name, value in tables.items() if name not in reserved}
    return convert_table(own, settings_type, place_of(tables, path))


def read_workload_settings(store: Store, workload: str, settings_type: type[Settings]) -> Settings:
    """The workload's settings as its dataclass, defaults where the file or a line is missing; SettingsError
    names the line at fault.
    """
    return own_settings(read_settings_file(store, workload), settings_type, workload_settings_path(workload))


def read_run_policy(store: Store, workload: str, defaults: Mapping[str, Any]) -> RunPolicy:
    """The [run] table of the workload's settings; where a line is missing the kind's default, else that of
    RunPolicy.
    """
    return run_policy(read_settings_file(store, workload), defaults, workload_settings_path(workload))


def run_policy(tables: Mapping[str, Any], defaults: Mapping[str, Any], path: str) -> RunPolicy:
    """The [run] table of a settings file; where a line is missing the kind's default, else that of
    RunPolicy.
    """
    return _converted(tables, "run", RunPolicy, path, defaults)


def read_quality_policy(store: Store, workload: str) -> QualityPolicy:
    """The [quality] table of the workload's settings, defaults where a line is missing."""
    path = workload_settings_path(workload)
    return _converted(read_settings_file(store, workload), "quality", QualityPolicy, path)


def read_keep_policy(store: Store, workload: str) -> KeepPolicy:
    """The [keep] table of the workload's settings, defaults where a line is missing."""
    path = workload_settings_path(workload)
    return _converted(read_settings_file(store, workload), "keep", KeepPolicy, path)


def read_results_policy(store: Store, workload: str) -> ResultsPolicy:
    """The [results] table of the workload's settings, defaults where a line is missing."""
    path = workload_settings_path(workload)
    return _converted(read_settings_file(store, workload), "results", ResultsPolicy, path)


def read_notify_policy(store: Store, workload: str) -> NotifyPolicy:
    """The [notify] table of the workload's settings; without one that of NOTIFY_DEFAULT_PATH, which holds for
    all workloads.
    """
    path, tables = workload_settings_path(workload), read_settings_file(store, workload)
    if "notify" not in tables:
        path, tables = NOTIFY_DEFAULT_PATH, read_settings_file(store, NOTIFY_DEFAULT)
        _check_only_notify(tables)
    return _converted(tables, "notify", NotifyPolicy, path)


def _check_only_notify(tables: Mapping[str, Any]) -> None:
    for name in tables:
        if name != "notify":
            raise unknown_setting(name, ("notify",), place_of(tables, NOTIFY_DEFAULT_PATH))


_POLICIES: dict[str, type[Any]] = {
    "quality": QualityPolicy, "keep": KeepPolicy, "results": ResultsPolicy, "notify": NotifyPolicy,
}  # fmt: skip


def check_settings(
    tables: Mapping[str, Any], settings_type: type[Any], defaults: Mapping[str, Any], path: str
) -> None:
    """Convert all lines and tables of a settings file; SettingsError names the first line at fault."""
    own_settings(tables, settings_type, path)
    run_policy(tables, defaults, path)
    for name, kind in _POLICIES.items():
        _converted(tables, name, kind, path)


def read_zone(tables: Mapping[str, Any], path: str) -> str:
    """The line `timezone`, UTC without one; SettingsError when there is no such zone."""
    zone = tables.get("timezone", "UTC")
    try:
        return ZoneInfo(zone).key
    except (KeyError, ValueError, OSError, TypeError) as error:
        fix = "Name one such as Europe/Berlin, or UTC."
        where = place_of(tables, path).name("timezone")
        raise SettingsError(
            f"{where}: timezone is {zone!r}, which is no time zone.", fix=fix, field="timezone"
        ) from error


def _table(tables: Mapping[str, Any], name: str, path: str) -> dict[str, Any]:
    table = tables.get(name, {})
    if not isinstance(table, dict):
        raise SettingsError(
            f"{place_of(tables, path).name(name)}: {name} is {table!r}.",
            fix=f"Expected a table: [{name}] on a line of its own.",
            field=name,
        )
    return table


def _converted(
    tables: Mapping[str, Any],
    name: str,
    kind: type[Settings],
    path: str,
    defaults: Mapping[str, Any] = MappingProxyType({}),
) -> Settings:
    """The table of that name, over the defaults, as `kind`."""
    table = {**defaults, **_table(tables, name, path)}
    return convert_table(table, kind, place_of(tables, path, name))
