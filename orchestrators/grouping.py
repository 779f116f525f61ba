"""Grouping: how work is dealt to the two levels of a fan-out; pure functions of numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

WIDTH = 100
"""Children of one orchestrator at most: replay cost grows with the square of it (10,000 flat take minutes,
100 x 100 seconds).
"""

TEXTS_BYTES = 100_000
"""Of the reasons in one payload: far below the 256 KB that some storage backends take, beside whatever else
is in it.
"""
_BYTES_AROUND, _SHORTEST_BYTES = 14, 24  # a shard's number with its punctuation; half a sentence

Item = TypeVar("Item")


def ranges_of(numbers: Iterable[int]) -> list[list[int]]:
    """Ascending numbers as [first, stop) ranges.

    >>> ranges_of([0, 1, 2, 5, 6])
    [[0, 3], [5, 7]]
    """
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number:
            ranges[-1][1] += 1
        else:
            ranges.append([number, number + 1])
    return ranges


def numbers_of(ranges: Iterable[Sequence[int]]) -> list[int]:
    """The numbers of [first, stop) ranges.

    >>> numbers_of([[0, 3], [5, 7]])
    [0, 1, 2, 5, 6]
    """
    return [number for first, stop in ranges for number in range(first, stop)]


def bound_texts(texts: Mapping[str, str], limit_bytes: int = TEXTS_BYTES) -> dict[str, str]:
    """The texts, cut evenly and the last left out where needed, so that they take `limit_bytes` as JSON at
    the most.

    >>> bound_texts({"1": "x" * 100, "2": "y" * 100}, 100)
    {'1': 'xxxxxxxxxxxxxxxxxxxxxxxxx', '2': 'yyyyyyyyyyyyyyyyyyyyyyyyy'}
    """
    share = max(limit_bytes // max(len(texts), 1) - _BYTES_AROUND, _SHORTEST_BYTES)
    found, size_bytes = {}, 0
    for name, text in texts.items():
        short = text
        while len(json.dumps(short)) > share:
            short = short[: len(short) // 2]
        size_bytes += len(json.dumps({name: short}))
        if size_bytes > limit_bytes:
            break
        found[name] = short
    return found


def bound_lines(
    lines: Sequence[dict[str, Any]], is_good: Callable[[dict[str, Any]], bool], limit_bytes: int = TEXTS_BYTES
) -> list[dict[str, Any]]:
    """All lines in order where they take `limit_bytes` as JSON at the most; else as many as do, those that
    are not good before the others.

    >>> bound_lines([{"n": 1}, {"n": 2}, {"n": 3}], lambda line: line["n"] < 3, 20)
    [{'n': 3}, {'n': 1}]
    """
    sizes = [len(json.dumps(line)) + 2 for line in lines]
    if sum(sizes) <= limit_bytes:
        return list(lines)
    found, size_bytes = [], 0
    for number in sorted(range(len(lines)), key=lambda number: is_good(lines[number])):
        size_bytes += sizes[number]
        if size_bytes > limit_bytes:
            break
        found.append(lines[number])
    return found


def split_evenly(items: Sequence[Item], width: int = WIDTH) -> list[list[Item]]:
    """The items in at most `width` groups of at most `width` where that is possible, of nearly equal size,
    in order.

    >>> [len(group) for group in split_evenly(range(250))]
    [84, 83, 83]
    """
    count = max(-(-len(items) // width), 1) if items else 0
    size, extra = divmod(len(items), count) if count else (0, 0)
    groups, start = [], 0
    for number in range(count):
        stop = start + size + (number < extra)
        groups.append(list(items[start:stop]))
        start = stop
    return groups
