"""Path patterns: globs, `{window:%Y/%m/%d}` and `{column}`; which paths they match, and which prefixes a
window needs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cached_property
from typing import Protocol

PREFIX_LIMIT = 512
"""As many prefixes are listed for a window at the most; beyond that, coarser ones."""

_DIRECTIVES = {
    "Y": r"\d{4}", "y": r"\d\d", "m": r"\d\d", "d": r"\d\d", "H": r"\d\d", "M": r"\d\d", "S": r"\d\d", "j": r"\d{3}",
    "G": r"\d{4}", "V": r"\d\d", "u": r"\d", "b": r"[A-Za-z]{3}", "B": r"[A-Za-z]+", "I": r"\d\d", "p": r"[AP]M",
}  # fmt: skip
_STEPS_S = ((set("S"), 1), (set("M"), 60), (set("HIp"), 900))  # zones differ by quarters of an hour
_DAY_S = 86400
_TOKEN = re.compile(
    r"\{window:([^{}]+)\}|\{([^{}:]*)\}|(\*\*/?)|(\*)|(\?)|(\[[^\]/]+\])|([^{}*?\[]+)|(.)", re.DOTALL
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
_INSTANTS_LIMIT = 2_000_000


class Span(Protocol):
    """Something with a start and an end (exclusive), both aware: a window, or a span of them."""

    @property
    def start(self) -> datetime:
        """The first instant."""
        ...

    @property
    def end(self) -> datetime:
        """The first instant after."""
        ...


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A span of time: aware `start`, and aware `end` (exclusive)."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a pattern: fixed text, a strftime directive, a column or a wildcard; `regex` is what it
    matches.
    """

    kind: str  # text, stamp, column, glob
    text: str
    regex: str


@dataclass(frozen=True)
class Pattern:
    """A parsed path pattern, segment by segment."""

    text: str
    segments: tuple[tuple[Token, ...], ...]

    @property
    def is_windowed(self) -> bool:
        """Whether the pattern narrows by the window."""
        return bool(self._directives)

    @property
    def is_plain(self) -> bool:
        """Whether the pattern is one path, without wildcards, columns or times."""
        return all(token.kind == "text" for segment in self.segments for token in segment)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the path gives, in order."""
        return tuple(t.text for segment in self.segments for t in segment if t.kind == "column")

    @property
    def folder(self) -> str:
        """The folder below which everything lies that the pattern can match; "" or ending with "/"."""
        fixed = 0
        while fixed < len(self.segments) - 1 and all(t.kind == "text" for t in self.segments[fixed]):
            fixed += 1
        return "".join("".join(t.text for t in segment) + "/" for segment in self.segments[:fixed])

    @cached_property
    def _directives(self) -> tuple[str, ...]:
        return tuple(t.text for segment in self.segments for t in segment if t.kind == "stamp")

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        return re.compile(
            "/".join(_regex_of(segment) for segment in self.segments).replace("(?:.*/)?/", "(?:.*/)?")
        )

    def match(self, path: str) -> tuple[Mapping[str, str], tuple[str, ...]] | None:
        """The columns and the time stamps that `path` carries; None where the pattern does not match.

        >>> parse_pattern("d/{device}/{window:%Y/%m}/*.csv").match("d/p1/2026/03/a.csv")
        ({'device': 'p1'}, ('2026', '03'))
        """
        found = self._regex.fullmatch(path)
        if found is None:
            return None
        columns: dict[str, str] = {}
        for name, value in zip(
            self.columns, [v for k, v in found.groupdict().items() if k[0] == "c"], strict=True
        ):
            if columns.setdefault(name, value) != value:
                return None  # a column that stands twice has one value
        return columns, tuple(v for k, v in found.groupdict().items() if k[0] == "w")

    def stamps(self, moments: Iterable[datetime]) -> set[tuple[str, ...]]:
        """The time stamps that paths of these moments carry."""
        return {tuple(moment.strftime(d) for d in self._directives) for moment in moments}

    def moments(self, span: Span, zone: tzinfo, late_s: float) -> list[datetime]:
        """A local moment for each distinct stamp in [start, end + late_s), in order; one alone where
        nothing is narrowed.
        """
        found: dict[tuple[str, ...], datetime] = {}
        for moment in _moments(span, zone, late_s, _step_s(self._directives)):
            found.setdefault(tuple(moment.strftime(d) for d in self._directives), moment)
        return list(found.values())


def parse_pattern(text: str) -> Pattern:
    """Parse a path pattern; ValueError says what is wrong with it."""
    if not text or text.startswith("/") or text.endswith("/"):
        raise ValueError(f"path is {text!r}; it must name files, without a slash at its ends")
    if {".", ".."} & set(text.split("/")):
        raise ValueError(f"path is {text!r}; it begins at the top of the store, without '.' and '..'")
    if re.search(r"[?&]sig=", text):
        raise ValueError("path carries a signature; name the place alone, the app's identity reads it")
    segments: list[list[Token]] = [[]]
    for number, match in enumerate(_TOKEN.finditer(text)):
        for token in _tokens(text, match):
            if token.kind != "text":
                named = _named(token, number, len(segments[-1]), len(segments))
                segments[-1].append(named)
                if token.text == "**/":
                    segments.append([])
                continue
            head, *rest = token.text.split("/")
            segments[-1] += [_text(head)] if head else []
            segments.extend([_text(segment)] if segment else [] for segment in rest)
    return Pattern(text, tuple(tuple(segment) for segment in segments))


def segment_matches(segment: Sequence[Token], name: str) -> bool:
    """Whether a folder's name can be this segment of a pattern."""
    return re.fullmatch(_regex_of(segment), name) is not None


def render(segment: Sequence[Token], moment: datetime) -> str:
    """The segment of fixed text and stamps at a moment."""
    return "".join(moment.strftime(t.text) if t.kind == "stamp" else t.text for t in segment)


def _tokens(text: str, match: re.Match[str]) -> Iterator[Token]:
    window, column, deep, star, one, some, fixed, stray = match.groups()
    if window is not None:
        yield from _stamps(window)
    elif column is not None:
        if not _NAME.fullmatch(column) or column.lower() == "window":
            raise ValueError(
                f"path {text!r} has {{{column}}}; write {{name}} of a column, or {{window:%Y/%m/%d}}"
            )
        yield Token("column", column, r"[^/]+")
    elif deep is not None:
        yield Token("glob", deep, r"(?:.*/)?" if deep.endswith("/") else ".*")
    elif star is not None or one is not None:
        yield Token("glob", match[0], r"[^/]*" if star else "[^/]")
    elif some is not None:
        yield Token("glob", some, "[" + some[1:-1].replace("!", "^", 1).replace("\\", "\\\\") + "]")
    elif fixed is not None:
        yield _text(fixed)
    else:
        raise ValueError(f"path {text!r} has a stray {stray!r}")


def _stamps(form: str) -> Iterator[Token]:
    for directive, fixed in re.findall(r"%(.)|([^%]+)", form):
        if fixed:
            yield _text(fixed)
        elif directive in _DIRECTIVES:
            yield Token("stamp", f"%{directive}", _DIRECTIVES[directive])
        else:
            raise ValueError(
                f"path has %{directive} in its window; known: {', '.join('%' + d for d in _DIRECTIVES)}"
            )
    if "%" not in form:
        raise ValueError(
            f"path has {{window:{form}}}, which holds no date; write it like {{window:%Y/%m/%d}}"
        )


def _text(text: str) -> Token:
    return Token("text", text, re.escape(text))


def _named(token: Token, *number: int) -> Token:
    if token.kind == "glob":
        return token
    group = "_".join(map(str, number))
    return Token(token.kind, token.text, f"(?P<{token.kind[0].replace('s', 'w')}{group}>{token.regex})")


def _regex_of(segment: Sequence[Token]) -> str:
    return "".join(token.regex for token in segment)


def _step_s(directives: Sequence[str]) -> int:
    letters = {d[1] for d in directives}
    return next((step for finest, step in _STEPS_S if letters & finest), _DAY_S)


def _moments(span: Span, zone: tzinfo, late_s: float, step_s: int) -> Iterator[datetime]:
    last = span.end + timedelta(seconds=late_s) - timedelta(microseconds=1)
    if (last - span.start).total_seconds() / step_s > _INSTANTS_LIMIT:
        raise ValueError(
            "path narrows by too fine a time for so long a span; narrow it by the hour or the day"
        )
    if step_s == _DAY_S:
        day, end = span.start.astimezone(zone).date(), last.astimezone(zone).date()
        while day <= end:
            yield datetime(day.year, day.month, day.day, tzinfo=zone)
            day += timedelta(days=1)
        return
    moment = span.start.astimezone(UTC)
    moment -= timedelta(seconds=moment.timestamp() % step_s)
    while moment <= last:
        yield moment.astimezone(zone)
        moment += timedelta(seconds=step_s)
