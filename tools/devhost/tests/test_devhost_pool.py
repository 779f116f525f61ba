"""Calls of workers: what a call does when the host ends while its answer arrives, and when its worker dies."""

import asyncio
from typing import Any, cast

import pytest

from devhost.errors import WorkerLostError
from devhost.pool import WorkerGroup, persist
from devhost.template import Template


class Written:
    """Where a worker's frames go; counts them."""

    frames = 0

    def write(self, _frame: bytes) -> None:
        self.frames += 1


@pytest.mark.parametrize("timeout_s", [None, 60.0])
def test_a_call_that_is_answered_while_it_is_cancelled_is_cancelled(timeout_s: float | None) -> None:
    """A loop that calls a function ends when the host ends, also in the moment in which the answer arrives."""

    async def run() -> bool:
        group = WorkerGroup(cast(Template, None), 1, 1)
        worker = await group.reserve()
        worker.writer = cast(Any, Written())
        worker.ready.set()
        calling = asyncio.create_task(group.call("invoke", "tick", {}, timeout_s, worker))
        await asyncio.sleep(0)  # the frame is written, and the call waits
        assert cast(Any, worker.writer).frames == 1
        (answer,) = worker.calls.values()
        answer.set_result((True, None))
        calling.cancel()
        await asyncio.wait([calling])
        return calling.cancelled()

    assert asyncio.run(run())


def test_attempts_that_lost_their_worker_together_are_repeated_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals grow and differ between attempts, so that one that kills its worker does not take the same others again."""
    waits: list[float] = []

    async def note(pause_s: float) -> None:
        waits.append(pause_s)

    monkeypatch.setattr(asyncio, "sleep", note)

    async def lose_three_times() -> None:
        lost = iter(range(3))

        async def attempt() -> None:
            if next(lost, None) is not None:
                raise WorkerLostError("worker process 1 ended before it answered")

        await persist(attempt, "call")

    for _ in range(2):
        asyncio.run(lose_three_times())
    assert len(set(waits)) == 6
    assert all(0.5 * full <= wait <= full for wait, full in zip(waits, [0.2, 0.4, 0.8] * 2, strict=True))
