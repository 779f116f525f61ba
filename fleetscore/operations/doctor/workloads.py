"""What the doctor finds about workloads: settings, trust, input, tables, models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from fleetscore.errors import FleetscoreError, SettingsError
from fleetscore.models.model_sets import read_listed_set
from fleetscore.models.pins import read_pins
from fleetscore.models.trust import TRUSTED, trusted_names
from fleetscore.operations.advice import ways_to_models
from fleetscore.operations.doctor.findings import Finding, run_check
from fleetscore.operations.due.windows import has_input
from fleetscore.operations.result_sink import windows_behind
from fleetscore.operations.table_sync import lost_windows, missing_windows, windows_without_events
from fleetscore.operations.unread_input import describe_unread
from fleetscore.operations.watchdog import gather_overdue, trouble_of
from fleetscore.registry import KnownWorkload
from fleetscore.runs.manifests import find_manifest
from fleetscore.settings import read_settings_file
from fleetscore.store.base import Store
from fleetscore.store.parallel_reads import side_by_side
from fleetscore.store.paths import events_table, table_root


def judge_settings(store: Store, known: KnownWorkload) -> Finding:
    """Whether the workload's settings can be read; what stands at their path and is no file is not listed."""
    if not known.reason:
        try:
            read_settings_file(store, known.name)
        except SettingsError as error:
            return Finding("settings", "wrong", f"{known.name}: {error.message}", error.fix)
    if known.reason:
        check = "schedules" if "schedule" in known.field.lower() else "settings"
        return Finding(check, "wrong", f"{known.name}: {known.reason}", known.fix)
    return Finding("settings", "ok", f"{known.name}: can be read.")


def find_trust(known: Sequence[KnownWorkload]) -> Iterator[Finding]:
    """Whether code of the user's may run here, for each workload that names some, and names that no
    workload has.
    """
    for each in known:
        distrust = each.workload.code_distrust() if each.workload is not None and not each.reason else None
        if distrust:
            sentence, _, fix = distrust.partition(". ")
            yield Finding("settings", "wrong", f"{each.name}: {sentence}.", fix)
        elif distrust is not None:
            yield Finding(
                "settings", "ok", f"{each.name}: its own code may run, by its settings and {TRUSTED}."
            )
    for name in sorted(trusted_names() - {each.name for each in known}):
        yield Finding(
            "settings",
            "warning",
            f"{TRUSTED} names {name}, which is no workload here.",
            f"Take it out of {TRUSTED}.",
        )


def find_unread_input(store: Store, known: KnownWorkload) -> Iterator[Finding]:
    """Whether files of the workload's folders are not read although they look like data."""
    unread = describe_unread(store, known)
    if unread:
        fix = "Correct `path` or `format` of [data] in its settings, write the files otherwise, or move them away."
        yield Finding("input", "warning", unread, fix)
    else:
        yield Finding("input", "ok", f"{known.name}: every file of its input that looks like data is read.")


def find_trouble_of_runs(store: Store, known: KnownWorkload, now: datetime) -> Iterator[Finding]:
    """What is wrong with the workload's model sets and runs."""
    with ThreadPoolExecutor(2) as pool:
        models = pool.submit(run_check, "models", lambda: _models(store, known))
        trouble = pool.submit(trouble_of, store, known, now)
    yield from models.result()
    for notice in gather_overdue(trouble.result()):
        if notice.kind != "workload_broken":  # a finding of its own
            yield Finding("runs", "warning", notice.message, notice.links.get("command", ""))


def find_missing_tables(store: Store, known: KnownWorkload) -> Iterator[Finding]:
    """How many published windows the workload's tables of results and events lack, and whose files are gone;
    nothing where all are there.
    """
    tables = ((known.name, missing_windows), (events_table(known.name), windows_without_events))
    for table, find_missing in tables:
        if missing := find_missing(store, known.name):
            detail = f"{table_root(table)} lacks {len(missing)} published windows, {missing[0]} first."
            yield Finding("tables", "warning", detail, "fleetscore repair --tables")
    for window, count in lost_windows(store, known.name).items():
        manifest = find_manifest(store, known.name, window)
        files = "1 file" if count == 1 else f"{count} files"
        detail = f"{files} of {window} in {table_root(known.name)} are gone, so that it cannot be read."
        run = manifest.run if manifest else "RUN"
        yield Finding("tables", "wrong", detail, f"fleetscore retry {run} --only all")


def find_unwritten_results(store: Store, known: KnownWorkload, now: datetime) -> Iterator[Finding]:
    """How many windows the workload's database of results lacks; nothing where it lacks none, or has none."""
    behind = windows_behind(store, known.name, now)
    if behind:
        detail = f"The database of {known.name} lacks {len(behind)} published windows, {behind[0]} first."
        yield Finding(
            "results", "warning", detail, "The watchdog tries again; sink_behind in the log says why."
        )


def _models(store: Store, known: KnownWorkload) -> Iterator[Finding]:
    workload = known.name
    if known.workload is None or not has_input(store, known.workload):
        yield Finding("models", "not checked", f"{workload} has no data.")
        return
    pins = read_pins(store, workload)
    if not pins.current:
        fix = " or ".join(
            filter(None, [ways_to_models(store, workload), f"fleetscore models promote {workload}"])
        )
        yield Finding("models", "warning", f"{workload} has data, but no model set is pinned.", fix)
    versions = sorted({pins.current, pins.challenger, *pins.partitions.values(), *pins.keys.values()} - {""})
    yield from side_by_side(lambda version: _model(store, workload, version), versions)


def _model(store: Store, name: str, version: str) -> Finding:
    fix = f"Pin another: fleetscore models list {name}; fleetscore models pin {name} VERSION"
    folder = f"models/{name}/{version}/"
    entries = {entry.path[len(folder) :]: entry for entry in store.list(folder)}
    try:
        model_set = read_listed_set(store, name, version, entries.get("set.json"))
    except FleetscoreError as error:
        return Finding("models", "wrong", f"{name}: {error.message}", fix)
    there = {file: entry.size_bytes for file, entry in entries.items()}
    for file, expected in model_set.files.items():
        size_bytes = there.get(file)
        if size_bytes != expected.size_bytes:
            found = (
                "missing" if size_bytes is None else f"{size_bytes} bytes instead of {expected.size_bytes}"
            )
            return Finding("models", "wrong", f"{name} {version}: {file} is {found}.", fix)
    return Finding(
        "models",
        "ok",
        f"{name}: {version} has all its files, each as long as it was written ({len(model_set.files)}).",
    )
