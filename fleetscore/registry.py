"""Which kinds and which workloads there are: kinds by being there as code, workloads by being named in the
store.

Kinds: the folders of `fleetscore/workloads/` that hold a `workload.py`, the modules of the package `fleets`
(copied into app and worker beside Fleetscore), the entry points of installed packages in the group
`fleetscore.kinds`, and the classes that the environment variable FLEETSCORE_WORKLOADS names.

Workloads: each file `settings/<workload>.toml` with a line `kind = "..."`. Each kind that ships, and each
class that FLEETSCORE_WORKLOADS names, has a workload of its own name without a file. What is wrong with one
of them costs only that one.
"""

from __future__ import annotations

import difflib
import inspect
import os
import pkgutil
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fleetscore.errors import FleetscoreError, InputError, SettingsError
from fleetscore.exhaustion import raise_passing
from fleetscore.schedules import Schedule, parse_schedule
from fleetscore.schemas import DRIFTED
from fleetscore.settings import (
    NOTIFY_DEFAULT,
    RunPolicy,
    check_settings,
    has_settings_file,
    own_settings,
    read_settings_file,
    read_zone,
    run_policy,
    workload_settings_path,
)
from fleetscore.settings_tables import naming_lines, parse_settings, place_of
from fleetscore.store.base import Entry, Store
from fleetscore.store.decoded_cache import read_version
from fleetscore.store.parallel_reads import side_by_side
from fleetscore.workload import Workload

EXTRA_WORKLOADS = "FLEETSCORE_WORKLOADS"
"""Environment variable that adds workloads of the user's own: name=module:Class, separated by commas."""

ENTRY_POINTS = "fleetscore.kinds"
SHIPPED = "fleetscore.workloads"
FLEETS = "fleets"
RESERVED = frozenset({"prices", NOTIFY_DEFAULT})
"""Files in settings/ that describe no workload."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_CONVERT = "See docs/howto/add-a-workload.md, section Convert an older kind."


@dataclass(frozen=True, slots=True)
class KnownWorkload:
    """A workload that is named here: ready to use, or broken for a reason.

    `workload` is None where the kind cannot be loaded; where only its settings are at fault it has the
    kind's defaults, which is enough to show what it did before.
    """

    name: str
    kind: str
    workload: Workload | None
    policy: RunPolicy = field(default_factory=RunPolicy)
    schedule: Schedule | None = None  # None: its windows are started on demand only
    reason: str = ""
    fix: str = ""
    field: str = ""  # the setting at fault

    @property
    def expects_windows(self) -> bool:
        """Whether a window that is due and not published is overdue; not so where runs are started on
        demand only.
        """
        return self.schedule is not None or self.name == self.kind

    def ready(self) -> Workload:
        """The workload; SettingsError with the reason when it is broken."""
        if self.workload is None or self.reason:
            raise SettingsError(self.reason, fix=self.fix, field=workload_settings_path(self.name))
        return self.workload


_STEM = 4
"""A name that begins with so many letters of another may mean it."""


def kind_names() -> list[str]:
    """The names of all kinds, sorted; imports none of them."""
    return sorted(_kind_sources())


def shipped_kinds() -> frozenset[str]:
    """The names of the kinds that ship with Fleetscore."""
    return _shipped()


def kinds_with_own_workload() -> list[str]:
    """The kinds that ship and have a workload of their own name without a settings file, sorted."""
    return sorted(name for name in _shipped() if not _needs_settings(name))


def load_kind(name: str) -> type[Workload]:
    """The class of the kind; SettingsError says why there is none or why it cannot be used."""
    sources = _kind_sources()
    if name not in sources:
        raise SettingsError(
            f"There is no kind {name!r}.", fix=f"Known: {', '.join(sorted(sources))}.", field="kind"
        )
    module_name, _, attribute = sources[name].partition(":")
    try:
        module = import_module(module_name)
        found = getattr(module, attribute) if attribute else _only_kind(module)
    except FleetscoreError:
        raise
    except Exception as error:  # whatever the module does when it is imported
        raise SettingsError(
            f"Kind {name} cannot be imported from {module_name}: {type(error).__name__}: {error}",
            fix=_CONVERT if _asks_for_older_seam(error) else f"Correct {module_name}.",
            field="kind",
        ) from error
    _check_kind(name, found)
    kind: type[Workload] = found
    kind.name = kind.name or name
    return kind


def workload_names(store: Store) -> list[str]:
    """The names of all workloads of the store, sorted, broken ones included."""
    return sorted(_without_file() | {entry_name(entry) for entry in _settings_files(store)})


def find_workloads(store: Store) -> list[KnownWorkload]:
    """All workloads of the store, sorted by name; broken ones with the reason. Raises only where the store
    does.
    """
    files = {entry_name(entry): entry for entry in _settings_files(store)}
    names = sorted(_without_file() | files.keys())
    return side_by_side(lambda name: _examine(name, partial(_listed_tables, store, files.get(name))), names)


def find_workload(store: Store, name: str) -> KnownWorkload:
    """The workload of that name, broken or not; InputError lists the known names otherwise."""
    _check_known(store, name)
    return _examine(name, partial(read_settings_file, store, name))


def get_workload(store: Store, name: str) -> Workload:
    """The workload of that name, with its settings; InputError for an unknown name, SettingsError where it
    is broken.
    """
    _check_known(store, name)
    tables = read_settings_file(store, name)
    kind = _kind_in(name, tables)
    return _opened(name, kind, tables)


def read_policy(store: Store, workload: str) -> RunPolicy:
    """The rules of the workload's runs: the [run] table of its settings over its kind's defaults.

    A fault in the workload's own settings does not matter here: a run under way is collected all the same.
    """
    _check_known(store, workload)
    tables = read_settings_file(store, workload)
    return run_policy(
        tables, load_kind(_kind_of(workload, tables)).run_defaults, workload_settings_path(workload)
    )


def check_new_name(store: Store, name: str) -> None:
    """InputError unless a further workload can have the name: one of no kind's own, and of no file."""
    _check_name(name)
    if name in RESERVED or name in _without_file() or name in kind_names():
        raise InputError(
            f"{name!r} is a name of Fleetscore's own in {store.url}.",
            fix="Choose another.",
            field="name",
            code="workload_exists",
        )


def read_warnings(store: Store, workload: str) -> frozenset[str]:
    """The causes of the workload's scored partitions that need attention; a fault in its own settings does
    not matter here.
    """
    _check_known(store, workload)
    return load_kind(_kind_of(workload, read_settings_file(store, workload))).warnings | {DRIFTED}


def entry_name(entry: Entry) -> str:
    """The workload that a settings file names.

    >>> from datetime import UTC, datetime
    >>> entry_name(Entry("settings/vans.toml", "1", 10, datetime.now(UTC)))
    'vans'
    """
    return entry.path.removeprefix("settings/").removesuffix(".toml")


def _check_known(store: Store, name: str) -> None:
    if name in _without_file():
        return
    if not _NAME.fullmatch(name) or name in RESERVED or not has_settings_file(store, name):
        known = workload_names(store)
        begins = [each for each in known if len(name) > _STEM and each.startswith(name[:_STEM])]
        near = difflib.get_close_matches(name, known, 1) or begins[:1]
        mean = f"Did you mean {near[0]}? " if near else ""
        raise InputError(
            f"There is no workload {name!r}.",
            fix=f"{mean}Known: {', '.join(known)}. A file settings/<workload>.toml with a kind adds one.",
            field="workload",
        )


def _examine(name: str, read: Callable[[], Mapping[str, Any]]) -> KnownWorkload:
    """The workload of that name as its settings file and its kind's code have it; raises what passes."""
    path, named = workload_settings_path(name), ""
    try:
        _check_name(name)
        tables = read()
        named = _kind_of(name, tables)
        kind = _kind_in(name, tables)
    except FleetscoreError as error:
        raise_passing(error)
        return KnownWorkload(name, named, None, reason=error.message, fix=error.fix, field=error.field or "")
    try:
        check_settings(tables, kind.settings_type, kind.run_defaults, path)
        workload = _opened(name, kind, tables)
        policy = run_policy(tables, kind.run_defaults, path)
        return KnownWorkload(name, named, workload, policy, _schedule_of(workload, named, tables))
    except FleetscoreError as error:
        policy = run_policy({}, kind.run_defaults, path)
        return KnownWorkload(
            name, named, kind(name), policy, reason=error.message, fix=error.fix, field=error.field or ""
        )


def _opened(name: str, kind: type[Workload], tables: Mapping[str, Any]) -> Workload:
    path = workload_settings_path(name)
    settings: Any = own_settings(tables, kind.settings_type, path)
    with naming_lines(tables, path):
        return kind(name, settings, read_zone(tables, path))


def _kind_in(name: str, tables: Mapping[str, Any]) -> type[Workload]:
    """The class of the kind that the settings name; SettingsError with the line where there is none."""
    with naming_lines(tables, workload_settings_path(name), "kind"):
        return load_kind(_kind_of(name, tables))


def schedule_variable(kind: str) -> str:
    """The app setting that replaces the schedule of the workload of the kind's own name.

    >>> schedule_variable("store_sales")
    'FLEETSCORE_STORE_SALES_SCHEDULE'
    """
    return f"FLEETSCORE_{kind.upper()}_SCHEDULE"


def _schedule_of(workload: Workload, kind: str, tables: Mapping[str, Any]) -> Schedule | None:
    """The line `schedule` in the workload's zone; without it, in UTC, that of the kind where the names are
    the same.
    """
    if "schedule" in tables:
        path, text = workload_settings_path(workload.name), str(tables["schedule"])
        with naming_lines(tables, path, "schedule"):
            return parse_schedule(text, workload.zone, f"{path}: schedule") if text else None
    if workload.name != kind:
        return None
    variable = schedule_variable(kind)
    given = os.environ.get(variable, "")  # by the template the kind's own, which goes by the hour
    text = workload.schedule if given in ("", type(workload).schedule) else given
    return parse_schedule(text, where=variable) if text else None


def _kind_of(name: str, tables: Mapping[str, Any]) -> str:
    kind = tables.get("kind", name if name in _without_file() else "")
    if not isinstance(kind, str) or not kind:
        where = place_of(tables, workload_settings_path(name)).name("kind")
        raise SettingsError(
            f"{where} names no kind.", fix=f"Add a line kind = one of {kind_names()}.", field="kind"
        )
    return kind


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise SettingsError(
            f"{name!r} cannot be the name of a workload.",
            fix="Name the file with a to z, 0 to 9 and _, a letter first, 40 characters at most.",
            field="workload",
        )


def _settings_files(store: Store) -> Sequence[Entry]:
    entries = store.list("settings/")
    return [e for e in entries if e.path.endswith(".toml") and entry_name(e) not in RESERVED]


def _listed_tables(store: Store, entry: Entry | None) -> dict[str, Any]:
    if entry is None:
        return {}
    return read_version(store, entry.path, entry.etag, partial(parse_settings, path=entry.path))


def _without_file() -> set[str]:
    return {*kinds_with_own_workload(), *_named_in_environment()}


def _kind_sources() -> dict[str, str]:
    """Kind -> its module, or module:Class."""
    own = {name: f"{FLEETS}.{name}" for name in _modules_of(FLEETS)}
    shipped = {name: f"{SHIPPED}.{name}.workload" for name in _shipped()}
    return _installed() | own | shipped | _named_in_environment()


@cache
def _installed() -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}


@cache
def _shipped() -> frozenset[str]:
    folders = [Path(folder) for folder in _folders_of(SHIPPED)]
    return frozenset(
        n for n in _modules_of(SHIPPED) if any((f / n / "workload.py").is_file() for f in folders)
    )


@cache
def _needs_settings(kind: str) -> bool:
    """Whether a workload of the shipped kind is nothing without a settings file."""
    return bool(getattr(import_module(f"{SHIPPED}.{kind}"), "NEEDS_SETTINGS", False))


def _modules_of(package: str) -> list[str]:
    return [module.name for module in pkgutil.iter_modules(_folders_of(package))]


def _folders_of(package: str) -> list[str]:
    spec = find_spec(package)
    return [] if spec is None else list(spec.submodule_search_locations or [])


def _named_in_environment() -> dict[str, str]:
    items = (item.partition("=") for item in os.environ.get(EXTRA_WORKLOADS, "").split(",") if item.strip())
    return {name.strip(): place.strip() for name, _, place in items}


def _only_kind(module: Any) -> Any:
    """The one kind that the module defines; SettingsError when there is none or more than one."""
    classes = [c for _, c in inspect.getmembers(module, inspect.isclass) if c.__module__ == module.__name__]
    kinds = [c for c in classes if issubclass(c, Workload)]
    if len(kinds) != 1:
        named = ", ".join(c.__name__ for c in kinds) or "none"
        raise SettingsError(
            f"{module.__name__} has to define one class derived from fleetscore.workload.Workload; it has {named}.",
            fix=_CONVERT if not kinds else "Put each kind into a module of its own.",
            field="kind",
        )
    return kinds[0]


def _check_kind(name: str, found: Any) -> None:
    """SettingsError unless the class implements the seam."""
    problem = ""
    if not (inspect.isclass(found) and issubclass(found, Workload)):
        problem = "is not derived from fleetscore.workload.Workload"
    elif not _takes(found.discover, 2):  # self and run
        problem = "is written for an older form of Workload: discover takes one argument, the run"
    elif inspect.isabstract(found):
        problem = f"does not implement {', '.join(sorted(found.__abstractmethods__))}"
    else:
        missing = [item for item in ("cadences", "result_schema") if not hasattr(found, item)]
        problem = f"lacks {' and '.join(missing)}" if missing else ""
    if problem:
        raise SettingsError(f"Kind {name}: {found!r} {problem}.", fix=_CONVERT, field="kind")


def _takes(function: Callable[..., Any], count: int) -> bool:
    """Whether the function can be called with so many arguments."""
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    return True


def _asks_for_older_seam(error: Exception) -> bool:
    return isinstance(error, ImportError) and (error.name or "").startswith("fleetscore")
