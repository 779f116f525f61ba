"""Which prefixes of a store a window's files can lie under."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import takewhile

from fleetscore.sources.patterns import PREFIX_LIMIT, Pattern, Token, render, segment_matches
from fleetscore.store import Store

Segment = Sequence[Token]


def prefixes_of(store: Store, pattern: Pattern, moments: Sequence[datetime]) -> list[str]:
    """The prefixes to list for these moments; folders are looked up where a wildcard or column comes before
    the time.

    Where more than PREFIX_LIMIT would be needed, coarser ones are given: what they list too much is reported
    apart by its path.
    """
    if not pattern.is_windowed:
        return [pattern.folder]
    return list(dict.fromkeys(_below(store, pattern.segments[: _depth(pattern, moments)], "", moments)))


def _depth(pattern: Pattern, moments: Sequence[datetime]) -> int:
    """How many leading segments are expanded: up to the last with a stamp, as long as the prefixes stay
    few.
    """
    depth = 0
    for number, segment in enumerate(pattern.segments, 1):
        if not any(token.kind == "stamp" for token in segment):
            continue
        stamps = [[t for t in s if t.kind == "stamp"] for s in pattern.segments[:number]]
        if len({tuple(render(s, moment) for s in stamps) for moment in moments}) > PREFIX_LIMIT:
            break
        depth = number
    return depth


def _below(
    store: Store, segments: Sequence[Segment], base: str, moments: Sequence[datetime]
) -> Iterator[str]:
    if not segments:
        yield base
        return
    segment, rest = segments[0], segments[1:]
    head = tuple(takewhile(lambda token: token.kind in ("text", "stamp"), segment))
    if any(token.text.startswith("**") for token in segment if token.kind == "glob"):
        yield base
    elif len(head) == len(segment) and rest:
        for name, group in _grouped(segment, moments):
            yield from _below(store, rest, f"{base}{name}/", group)
    elif any(token.kind == "stamp" for token in segment) or not rest:
        yield from (base + name for name, _ in _grouped(head, moments))
    else:
        for folder in store.list_folders(base):
            if segment_matches(segment, folder.removeprefix(base).rstrip("/")):
                yield from _below(store, rest, folder, moments)


def _grouped(segment: Segment, moments: Iterable[datetime]) -> Iterator[tuple[str, list[datetime]]]:
    """The names that the segment has at these moments, each with its moments."""
    groups: dict[str, list[datetime]] = {}
    for moment in moments:
        groups.setdefault(render(segment, moment), []).append(moment)
    yield from groups.items()
