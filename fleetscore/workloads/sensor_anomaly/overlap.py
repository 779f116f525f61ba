"""Overlap: making the next pieces in threads while one is used; numpy and pyarrow let go of the interpreter
meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Piece = TypeVar("Piece")


def overlapped(makers: Iterable[Callable[[], Piece]], threads: int = 1) -> Iterator[Piece]:
    """What the makers give, in their order, made up to `threads` at once while earlier pieces are in use.

    With one thread no two makers run at the same time. What a maker raises is raised where its piece would
    have come.

    >>> list(overlapped([lambda: 1, lambda: 2]))
    [1, 2]
    """
    coming: deque[Future[Piece]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for maker in makers:
            coming.append(pool.submit(maker))
            if len(coming) > threads:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
