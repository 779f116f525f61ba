"""One listing of input files for every kind: what a window reads, and what is passed over, with the
reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from fleetscore.errors import StoreError
from fleetscore.records import InputFile
from fleetscore.sources.copies import without_copies
from fleetscore.sources.delta_tables import find_tables, pin_tables
from fleetscore.sources.formats import FileFormat, format_of, is_hidden, looks_like_data
from fleetscore.sources.narrowing import prefixes_of
from fleetscore.sources.patterns import Pattern, Span, parse_pattern
from fleetscore.sources.places import explain_refusal, split_place, store_of
from fleetscore.sources.records import Listing, PassedOver
from fleetscore.sources.settings import DataSettings
from fleetscore.store import Entry, Store
from fleetscore.store.base import is_path

Found = TypeVar("Found", InputFile, PassedOver, InputFile | PassedOver)


def list_inputs(store: Store, settings: DataSettings, window: Span | None, other: str = "") -> Listing:
    """The files that a window may have rows in, listing only the window's prefixes; without a window,
    everything.

    `other` is the format of files whose suffix names none; without it they are passed over. Without a
    window the whole folder of each pattern is listed, so that nothing beside the pattern stays unseen. One
    odd file never stops the others: it is passed over by name. Raises StoreError where a place cannot be
    listed.
    """
    files: dict[str, InputFile] = {}
    passed: dict[str, PassedOver] = {}
    listed = 0
    for path in settings.paths:
        container, text = split_place(path)
        one = _list_pattern(store_of(store, path)[0], container, parse_pattern(text), settings, window, other)
        listed += one.listed
        files |= {f.path: f for f in one.files if f.path not in files}
        for passed_over in one.passed_over:
            # another reason says more
            if passed_over.path not in passed or passed[passed_over.path].cause == "not_matched":
                passed[passed_over.path] = passed_over
    read, copies = without_copies(store, sorted(files.values(), key=lambda f: f.path))
    ignored = [p for p in passed.values() if p.path not in files] + copies  # another pattern may take it
    return Listing(tuple(read), tuple(sorted(ignored, key=lambda p: p.path)), listed)


def is_matched(path: str, pattern: str) -> bool:
    """Whether a listed file, or table, is one that the pattern of `path` asks for."""
    (container, text), (place, inside) = split_place(pattern), split_place(path)
    return container == place and parse_pattern(text).match(inside) is not None


def _list_pattern(
    store: Store, container: str, pattern: Pattern, settings: DataSettings, window: Span | None, other: str
) -> Listing:
    entries = _entries(store, container, pattern, settings, window)
    zone = ZoneInfo(settings.path_timezone)
    stamps = pattern.stamps(pattern.moments(window, zone, settings.late_s)) if window else None
    tables = find_tables(store, pattern, entries, settings)
    judged = [judge(entry, pattern, stamps, tables, settings, other) for entry in entries]
    files = [_placed(found, container) for found in judged if isinstance(found, InputFile)]
    passed = [_placed(found, container) for found in judged if isinstance(found, PassedOver)]
    pinned = [_placed(found, container) for found in pin_tables(store, tables, pattern, entries, settings)]
    files += [found for found in pinned if isinstance(found, InputFile)]
    passed += [found for found in pinned if isinstance(found, PassedOver)]
    return Listing(tuple(files), tuple(passed), len(entries))


def _entries(
    store: Store, container: str, pattern: Pattern, settings: DataSettings, window: Span | None
) -> list[Entry]:
    prefixes: Iterable[str] = [pattern.folder]
    if settings.format == "delta" and pattern.is_plain:
        prefixes = []  # a table is found by its log
    elif window is not None:
        moments = pattern.moments(window, ZoneInfo(settings.path_timezone), settings.late_s)
        prefixes = prefixes_of(store, pattern, moments)
    try:
        return [entry for prefix in prefixes for entry in store.list(prefix)]
    except StoreError as error:
        raise (explain_refusal(error, container) if container else error) from error


def judge(
    entry: Entry,
    pattern: Pattern,
    stamps: set[tuple[str, ...]] | None,
    tables: Sequence[str],
    settings: DataSettings,
    other: str = "",
) -> InputFile | PassedOver | None:
    """What becomes of a listed file; None for one of another window, and for the files of a Delta table."""
    path = entry.path
    if any(path.startswith(root) for root in tables):
        return None
    if not is_path(path):
        return PassedOver(
            _visible(path), "bad_name", "Its name cannot be kept by every store; rename it.", True
        )
    if is_hidden(path, pattern.folder):
        return PassedOver(
            path, "hidden", "Its name, or a folder's, begins with a dot or an underscore.", False
        )
    matched = pattern.match(path)
    if matched is None:
        return _other_layout(path, pattern)
    columns, stamp = matched
    if stamps is not None and stamp not in stamps:
        return None
    return _usable(entry, {**_hive_columns(path, pattern.folder), **columns}, settings, other)


def _visible(name: str) -> str:
    """The name with control characters and bytes that are no UTF-8 written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def _usable(
    entry: Entry, columns: Mapping[str, str], settings: DataSettings, other: str
) -> InputFile | PassedOver:
    found = format_of(entry.path, settings.format) or (FileFormat(other) if other else None)
    if found is None:
        detail = (
            "Its suffix names no format that is read (csv, tsv, jsonl, each also .gz or .zst; parquet; avro)."
        )
        return PassedOver(entry.path, "unknown_format", detail, looks_like_data(entry.path))
    if entry.size_bytes == 0:
        return PassedOver(entry.path, "empty_file", "It has no byte; write it again, or delete it.", True)
    return InputFile(entry.path, entry.etag, entry.size_bytes, found.name, columns)


def _other_layout(path: str, pattern: Pattern) -> PassedOver:
    detail = f"The pattern {pattern.text} does not match it."
    return PassedOver(path, "not_matched", detail, looks_like_data(path))


def _hive_columns(path: str, folder: str) -> dict[str, str]:
    """The columns of folders named `k=v` below the pattern's own."""
    parts = [part.partition("=") for part in path.removeprefix(folder).split("/")[:-1]]
    return {name: _unescaped(value) for name, equals, value in parts if equals and name}


def _unescaped(value: str) -> str:
    """The value that a folder's name stands for; the name itself where its escapes are no UTF-8, so that two
    folders never become one.
    """
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError:
        return value


def _placed(found: Found, container: str) -> Found:
    return replace(found, path=f"{container}/{found.path}") if container else found
