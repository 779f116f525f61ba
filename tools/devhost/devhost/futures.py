"""Promises that run their continuations at once, as the framework's replay needs them: order is everything
here.
"""

from collections.abc import Callable, Generator


class Future:
    """A promise whose continuations run at once, in order, when it settles."""

    __slots__ = ("_waiting", "done", "failed")

    def __init__(self) -> None:
        self.done = False
        self.failed = False
        self._waiting: list[Callable[[], None]] = []

    def then(self, continuation: Callable[[], None]) -> None:
        """Run the continuation when settled, which may be now."""
        if self.done:
            continuation()
        else:
            self._waiting.append(continuation)

    def settle(self, failed: bool = False) -> None:
        """Settle once; later calls change nothing."""
        if self.done:
            return
        self.done, self.failed = True, failed
        waiting, self._waiting = self._waiting, []
        for continuation in waiting:
            continuation()


Steps = Generator[Future, None, None]


def run(steps: Steps, end: Callable[[bool], None]) -> None:
    """Drive a generator of futures; `end` gets whether it failed."""
    while True:
        try:
            awaited = next(steps)
        except StopIteration:
            end(False)
            return
        except StepsFailedError:
            end(True)
            return
        if not awaited.done:
            awaited.then(lambda: run(steps, end))
            return


class StepsFailedError(Exception):
    """Raised inside of steps: they end, and have failed."""


def all_of(children: list[Future]) -> Future:
    """Settle when every child has, however it ended: .NET waits for all, even after a failure."""
    whole = Future()
    left = len(children)

    def one_less() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            whole.settle(any(child.failed for child in children))

    for child in children:
        child.then(one_less)
    if not children:
        whole.settle()
    return whole


def any_of(children: list[Future]) -> Future:
    """Settle with the first child that does."""
    whole = Future()
    for child in children:
        child.then(whole.settle)
    return whole
