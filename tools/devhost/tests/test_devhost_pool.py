"""Calls of workers: what a call does when the host ends while its answer arrives."""

import asyncio
from typing import Any, cast

import pytest

from devhost.pool import WorkerGroup
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
