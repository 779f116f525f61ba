"""Pieces made ahead come in order, bounded, and with their errors."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from fleetscore.workloads.sensor_anomaly.overlap import overlapped


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_pieces_come_in_order_and_never_far_ahead(threads: int) -> None:
    """However long each takes, pieces come in their order, and at most `threads` are made beyond the one in use."""
    made: list[int] = []

    def maker(number: int) -> Callable[[], int]:
        def make() -> int:
            time.sleep(0.002 * (number % 3))
            made.append(number)
            return number

        return make

    taken = []
    for number in overlapped((maker(n) for n in range(20)), threads):
        taken.append(number)
        assert len(made) <= len(taken) + threads
    assert taken == list(range(20))


def test_one_thread_runs_one_maker_at_a_time() -> None:
    """With one thread no two makers overlap, so they may share a file."""
    lock = threading.Lock()

    def make() -> bool:
        free = lock.acquire(blocking=False)
        time.sleep(0.001)
        lock.release()
        return free

    assert all(overlapped([make] * 20))


def test_an_error_comes_where_its_piece_would_have() -> None:
    """Pieces before the one that fails are delivered, then its error is raised."""

    def makers() -> Iterator[Callable[[], int]]:
        yield lambda: 1
        yield lambda: 1 // 0
        yield lambda: 3

    pieces = overlapped(makers(), 2)
    assert next(pieces) == 1
    with pytest.raises(ZeroDivisionError):
        next(pieces)
