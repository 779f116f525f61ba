"""Where the keys of a TOML text stand: the line of each, for messages on settings."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence

Key = str | int
"""A name of a table, or the position in an array."""

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"|' + r"'[^']*'")
_TEXT = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}' + r"|'''.*?'{3,5}" + r'|"(?:\\.|[^"\\])*"' + r"|'[^']*'", re.DOTALL
)
_SCALAR = re.compile(r"\d{4}-\d\d-\d\d \d\d:[^\s,\]}#]*|[^\s,\]}#]+")


def find_line(text: str, keys: Sequence[Key]) -> int | None:
    """The line, from 1, on which the key is set in a TOML text, or the innermost table around it that is
    there; None where there is none, or where the text is no TOML.

    >>> find_line('a = 1\\n[data]\\n"my path" = "x"\\n', ("data", "my path"))
    3
    """
    lines = key_lines(text)
    for count in range(len(keys), 0, -1):
        if tuple(keys[:count]) in lines:
            return lines[tuple(keys[:count])]
    return None


def key_lines(text: str) -> dict[tuple[Key, ...], int]:
    """The line of every table, key and array's element of a TOML text; {} where it is no TOML."""
    scan = _Scan(text)
    try:
        scan.document()
    except (_NoTomlError, RecursionError):
        return {}
    return scan.lines


class _NoTomlError(Exception):
    """The text is not TOML where the scan is."""


class _Scan:
    """One pass over a TOML text; it finds where keys are, and leaves it to tomllib to refuse what is
    wrong.
    """

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.lines: dict[tuple[Key, ...], int] = {}
        self._line, self._counted = 1, 0
        self._arrays: dict[tuple[Key, ...], int] = {}

    def document(self) -> None:
        table: tuple[Key, ...] = ()
        self._skip(_BLANK)
        while self.at < len(self.text):
            if self.text.startswith("[", self.at):
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BLANK)

    def _header(self) -> tuple[Key, ...]:
        """The path of the table that `[a.b]` or `[[a.b]]` begins."""
        is_array = self.text.startswith("[[", self.at)
        self.at += 2 if is_array else 1
        keys = self._keys()
        path: tuple[Key, ...] = ()
        for place, key in enumerate(keys, 1):
            path = (*path, key)
            self._note(path)
            if is_array and place == len(keys):
                self._arrays[path] = self._arrays.get(path, -1) + 1
            if path in self._arrays:
                path = (*path, self._arrays[path])
                self._note(path)
        self._expect("]]" if is_array else "]")
        return path

    def _pair(self, table: tuple[Key, ...]) -> None:
        path = table
        for key in self._keys():
            path = (*path, key)
            self._note(path)
        self._expect("=")
        self._value(path)

    def _keys(self) -> list[str]:
        """A key with its dots: bare and quoted parts."""
        keys = [self._key()]
        while self.text.startswith(".", self.at):
            self.at += 1
            keys.append(self._key())
        return keys

    def _key(self) -> str:
        self._skip_spaces()
        match = _BARE.match(self.text, self.at) or _QUOTED.match(self.text, self.at)
        if match is None:
            raise _NoTomlError
        self.at = match.end()
        self._skip_spaces()
        return _decoded(match[0])

    def _value(self, path: tuple[Key, ...]) -> None:
        self._skip(_BLANK)
        if self.text.startswith("[", self.at):
            self._array(path)
        elif self.text.startswith("{", self.at):
            self._inline_table(path)
        else:
            match = _TEXT.match(self.text, self.at) or _SCALAR.match(self.text, self.at)
            if match is None:
                raise _NoTomlError
            self.at = match.end()

    def _array(self, path: tuple[Key, ...]) -> None:
        number = 0
        while not self._ends("]"):
            self._note((*path, number))
            self._value((*path, number))
            number += 1

    def _inline_table(self, path: tuple[Key, ...]) -> None:
        while not self._ends("}"):
            self._pair(path)

    def _ends(self, bracket: str) -> bool:
        """Go on behind the opening bracket or a comma, and behind the closing bracket where it follows."""
        if self.text[self.at : self.at + 1] in ("[", "{", ","):
            self.at += 1
        self._skip(_BLANK)
        if self.text.startswith(",", self.at):
            return self._ends(bracket)
        if not self.text.startswith(bracket, self.at):
            return False
        self.at += 1
        return True

    def _note(self, path: tuple[Key, ...]) -> None:
        self._line += self.text.count("\n", self._counted, self.at)
        self._counted = self.at
        self.lines.setdefault(path, self._line)

    def _expect(self, mark: str) -> None:
        if not self.text.startswith(mark, self.at):
            raise _NoTomlError
        self.at += len(mark)

    def _skip(self, blank: re.Pattern[str]) -> None:
        match = blank.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def _skip_spaces(self) -> None:
        while self.text[self.at : self.at + 1] in (" ", "\t"):
            self.at += 1


def _decoded(key: str) -> str:
    if key[0] == "'":
        return key[1:-1]
    try:
        return str(tomllib.loads(f"key = {key}")["key"]) if key[0] == '"' else key
    except tomllib.TOMLDecodeError as error:
        raise _NoTomlError from error
