"""A settings file as parsed tables with their text, and the conversion into typed settings: errors name file,
key and line.
"""

from __future__ import annotations

import codecs
import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from fleetscore.errors import FleetscoreError, InputError, SettingsError
from fleetscore.settings_lines import Key, find_line, key_lines
from fleetscore.typed_json import convert_value

Settings = TypeVar("Settings")
AnyError = TypeVar("AnyError", bound=FleetscoreError)

CHOICES = "choices"
"""The metadata of a field that takes only some values of its enum: those that it takes."""

_WHERE = re.compile(r" - at `\$(?P<path>[^`]*)`$")
_STEP = re.compile(r"\.(?P<name>[^.\[\]]+)|\[(?P<number>\d+|\.\.\.)\]")
_WORD = re.compile(r"[\w-]+(?:\.[\w-]+)*")


class SettingsTables(dict[str, Any]):
    """The lines and tables of a settings file, with the text that they were parsed from."""

    def __init__(self, tables: Mapping[str, Any], text: str = "") -> None:
        """Hold the tables; without a text errors name no line."""
        super().__init__(tables)
        self.text = text


@dataclass(frozen=True, slots=True)
class Place:
    """Where a table stands: its file, the file's text, and the keys that lead to it."""

    path: str
    text: str = ""
    keys: tuple[Key, ...] = ()

    def below(self, *keys: Key) -> Place:
        """The place of a table or key in this one."""
        return Place(self.path, self.text, (*self.keys, *keys))

    def name(self, *keys: Key) -> str:
        """The file, the line of the key in this table, and the table, as `settings/x.toml, line 7 [data]`."""
        line = find_line(self.text, (*self.keys, *keys))
        return f"{self.path}{f', line {line}' if line else ''}{self._table}"

    @property
    def label(self) -> str:
        """The file and the table, as `settings/x.toml [data]`."""
        return f"{self.path}{self._table}"

    @property
    def _table(self) -> str:
        table = ".".join(key for key in self.keys if isinstance(key, str))
        number = "".join(f" {key + 1}" for key in self.keys if isinstance(key, int))
        return f"{f' [{table}]' if table else ''}{number}"


def parse_settings(data: bytes, path: str) -> SettingsTables:
    """The lines and tables of a settings file; SettingsError names the line where it is not TOML."""
    try:
        text = data.removeprefix(codecs.BOM_UTF8).decode()
        return SettingsTables(tomllib.loads(text), text)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SettingsError(
            f"{path}, line {line}, is not TOML: {error}.", fix="Save the file as UTF-8.", field=path
        ) from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError(f"{path} is not TOML: {error}.", fix="Correct that line.", field=path) from error


def place_of(tables: Mapping[str, Any], path: str, *keys: Key) -> Place:
    """The place of the keys in a settings file."""
    return Place(path, getattr(tables, "text", ""), keys)


def add_line(error: AnyError, tables: Mapping[str, Any], path: str, *keys: Key) -> AnyError:
    """The error with file and line of the keys, by default those that its `field` names, in its message."""
    place = place_of(tables, path)
    named = keys or tuple(error.field.split("."))
    line = find_line(place.text, named)
    if line is None or f"{path}, line" in error.message or "(at line" in error.message:
        return error
    where = f"{path}, line {line}"
    told = error.message.replace(path, where, 1) if path in error.message else f"{where}: {error.message}"
    return type(error)(told, fix=error.fix, field=error.field, code=error.code, retry=error.retry)


@contextmanager
def naming_lines(tables: Mapping[str, Any], path: str, *keys: Key) -> Iterator[None]:
    """Give an InputError of the block file and line, as `add_line` does."""
    try:
        yield
    except InputError as error:
        raise add_line(error, tables, path, *keys) from error


def convert_table(table: Mapping[str, Any], kind: type[Settings], place: Place) -> Settings:
    """The table as `kind`, defaults where a line is missing; SettingsError names the first key at fault, also
    one that `kind` does not have.
    """
    _check_names(table, kind, place)
    return convert_values(table, kind, place, fix="See docs/reference/settings.md.")


def convert_values(
    table: Mapping[str, Any], kind: type[Settings], place: Place, *, fix: str, strict: bool = True
) -> Settings:
    """The same without a look at keys that `kind` does not have; not `strict`: numbers may be text."""
    try:
        return convert_value(table, kind, strict=strict)
    except msgspec.ValidationError as error:
        keys, text = _at_fault(_with_choices(str(error), kind), table)
        raise SettingsError(f"{place.name(*keys)}: {text}.", fix=fix, field=place.label) from error
    except SettingsError as error:
        keys = _keys_named(error.field, place)
        raise SettingsError(
            f"{place.name(*keys)}: {error.message}", fix=error.fix, field=error.field
        ) from error


def _with_choices(message: str, kind: Any) -> str:
    """The message with the values that there are, where it is about a value that is none of them."""
    found = _WHERE.search(message)
    if not message.startswith("Invalid enum value") or found is None:
        return message
    only: Sequence[str] = ()
    for step in _STEP.finditer(found["path"]):
        limited = {one.name: one.metadata.get(CHOICES, ()) for one in fields(kind)} if step["name"] else {}
        only = limited.get(step["name"], ())
        kind = (
            get_type_hints(kind)[step["name"]]
            if step["name"]
            else get_args(kind)[-1 if step["number"] == "..." else 0]
        )
    choices = get_args(kind) if get_origin(kind) is Literal else [str(one) for one in only or kind]
    return f"{message[: found.start()]}; it must be one of {', '.join(choices)}{found[0]}"


def _at_fault(message: str, table: Mapping[str, Any]) -> tuple[tuple[Key, ...], str]:
    """The keys of what a validation error is about, and its text."""
    found = _WHERE.search(message)
    keys = _follow(found["path"] if found else "", table)
    inner: Any = table
    for key in keys:
        inner = inner[key]
    return keys + (_first_named(message, inner) if isinstance(inner, Mapping) else ()), message


def _follow(path: str, table: Any) -> tuple[Key, ...]:
    """The keys of `.data.columns[0]`, as far as they are known: `[...]` is any key of a mapping."""
    keys: tuple[Key, ...] = ()
    for step in _STEP.finditer(path):
        key: Key = int(step["number"]) if step["number"] not in (None, "...") else step["name"] or ""
        if step["number"] == "...":
            key = next(iter(table)) if isinstance(table, Mapping) and len(table) == 1 else ""
        try:
            table = table[key]
        except (KeyError, IndexError, TypeError):
            return keys
        keys = (*keys, key)
    return keys


def _first_named(message: str, table: Mapping[str, Any]) -> tuple[Key, ...]:
    """The keys of the first word of a message that is a key of the table, with dots also of tables in it."""
    for word in _WORD.findall(message):
        names = word.split(".")
        for first, name in enumerate(names):
            if name in table:
                return _follow("".join(f".{each}" for each in names[first:]), table)
    return ()


def _keys_named(field: str, place: Place) -> tuple[Key, ...]:
    """The keys below the place that end as the field's name does, where there is one such line."""
    words = (_WORD.findall(field) or [""])[-1].split(".")
    names: tuple[Key, ...] = tuple(int(word) if word.isdigit() else word for word in words)
    depth = len(place.keys)
    within = [path[depth:] for path in key_lines(place.text) if path[:depth] == place.keys]
    found = [path for path in within if path[-len(names) :] == names]
    return found[0] if len(found) == 1 else ()


def _check_names(table: Mapping[str, Any], kind: Any, place: Place) -> None:
    """SettingsError for a line that `kind`, or the dataclass of one of its tables, does not have."""
    types = get_type_hints(kind)
    known = [f.name for f in fields(kind)]
    for name, value in table.items():
        if name not in known:
            raise unknown_setting(name, known, place)
        if isinstance(value, dict):
            _check_nested(value, types[name], place.below(name))
        elif isinstance(value, list):
            _check_listed(value, types[name], place.below(name))


def unknown_setting(name: str, known: Sequence[str], place: Place) -> SettingsError:
    """The error of a key that there is not, with those that there are."""
    near = difflib.get_close_matches(name, known, 1)
    fix = f"{f'Did you mean {near[0]}? ' if near else ''}Known: {', '.join(known)}."
    return SettingsError(f"{place.name(name)}: there is no setting {name!r}.", fix=fix, field=name)


def _check_listed(values: Sequence[Any], kind: Any, place: Place) -> None:
    """The same for a list of tables whose type is a tuple of one dataclass."""
    for one in (each for each in get_args(kind) if is_dataclass(each)):
        for number, table in enumerate(values):
            if isinstance(table, dict):
                _check_names(table, one, place.below(number))


def _check_nested(value: Mapping[str, Any], kind: Any, place: Place) -> None:
    """The same for a table whose type is a dataclass, an optional one, or a mapping from names to
    dataclasses.
    """
    if get_origin(kind) is Mapping:
        below = get_args(kind)[1]
        for key, table in value.items():
            if is_dataclass(below) and isinstance(table, dict):
                _check_names(table, below, place.below(key))
        return
    for one in (kind, *get_args(kind)):
        if is_dataclass(one):
            _check_names(value, one, place)
