"""Partitions as a request names them: keys, and patterns of keys."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fleetscore.partition_keys import find_unescaped

_WILDCARDS = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Named:
    """The partitions that were named, and the names that mean none of those that are known, sorted."""

    partitions: frozenset[str]
    unknown: tuple[str, ...]


def match_partitions(names: Sequence[str], known: Iterable[str]) -> Named:
    """The known partitions that the names mean: a key means itself, anything else with `*`, `?` or `[...]`
    all keys that it matches.

    A wildcard matches a slash as well. A name whose slashes and per cent signs are not escaped means the
    only key that reads so.

    >>> named = match_partitions(["p*/temp", "q", "r?"], ["p1/temp", "p2/rpm", "q"])
    >>> sorted(named.partitions), named.unknown
    (['p1/temp', 'q'], ('r?',))
    >>> match_partitions(["depot/3"], ["depot%2F3"]).partitions
    frozenset({'depot%2F3'})
    """
    keys = set(known)
    found = keys & set(names)
    unknown = []
    for name in sorted(set(names) - found):
        matched = _matching(name, keys) if _WILDCARDS & set(name) else set()
        if not matched and (plain := find_unescaped(name, keys)):
            matched = {plain}
        found |= matched
        if not matched:
            unknown.append(name)
    return Named(frozenset(found), tuple(unknown))


def _matching(pattern: str, keys: set[str]) -> set[str]:
    matches = re.compile(fnmatch.translate(pattern)).match
    return {key for key in keys if matches(key)}
