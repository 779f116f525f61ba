"""Reading many things of a store in the time of few: a container far away answers each request after some
milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Submission = TypeVar("Submission")
Found = TypeVar("Found")
_THREADS = 16


def side_by_side(
    read: Callable[[Submission], Found], submissions: Sequence[Submission], at_once: int = _THREADS
) -> list[Found]:
    """What `read` gives for each, in their order, so many at once; the first error in that order is raised.

    >>> side_by_side(len, ["a", "", "abc"])
    [1, 0, 3]
    """
    if len(submissions) < 2:
        return [read(one) for one in submissions]
    with ThreadPoolExecutor(min(len(submissions), at_once)) as pool:
        return list(pool.map(read, submissions))
