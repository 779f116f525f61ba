"""Follow a run or a backfill to its end: show how far it is, and say how to resume."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from fleetscore.cli.progress import Progress, progress_of
from fleetscore.cli.text import say

if TYPE_CHECKING:
    from fleetscore.fleet import FleetBase
    from fleetscore.fleet.answers import BackfillStatus
    from fleetscore.runs.status_answer import RunStatus


class Interrupted(click.ClickException):
    """Ctrl-C while following; the message says what becomes of the work and how to resume."""

    exit_code = 130

    def show(self, file: object = None) -> None:
        """Print the message to standard error."""
        del file
        say(self.message, err=True)


def follow_run(fleet: FleetBase, run: str, resume: str) -> RunStatus:
    """Wait until the run has ended and give its last status; `resume` is the command that continues after
    Ctrl-C.
    """
    with _resumable(run, resume), progress_of(run) as progress:
        return fleet.wait(run, lambda status: _show_run(progress, status))


def follow_backfill(fleet: FleetBase, backfill: str, label: str, resume: str) -> BackfillStatus:
    """Wait until the backfill has ended and give its last status."""
    started = time.monotonic()
    with _resumable(label, resume), progress_of(label) as progress:
        return fleet.wait_backfill(
            backfill,
            lambda status: progress.show(
                "windows", status.done, status.total, _eta_s(started, status.done, status.total)
            ),
        )


def _show_run(progress: Progress, status: RunStatus) -> None:
    progress.show(_phase(status), status.partitions_done, status.record.partitions, status.eta_s)


def _phase(status: RunStatus) -> str:
    """The state as people call it: a training has no scoring phase."""
    is_training = status.record.request.purpose == "train" and status.state == "scoring"
    return "training" if is_training else str(status.state)


@contextmanager
def _resumable(what: str, resume: str) -> Iterator[None]:
    """Turn Ctrl-C into a message that says how to resume."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(
            f"Stopped following {what}. Nothing is lost: what is done stays done.\nContinue: {resume}"
        ) from None


def _eta_s(started: float, done: int, total: int) -> float | None:
    return (time.monotonic() - started) / done * (total - done) if done else None
