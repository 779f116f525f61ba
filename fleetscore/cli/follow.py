"""Follow a run or a backfill to its end: ask often at first and seldom later, show how far it is, say how to resume."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import click

from fleetscore.cli.connection import Connection
from fleetscore.cli.progress import Progress, progress_of

if TYPE_CHECKING:
    from fleetscore.cli.client import BackfillStatus
    from fleetscore.runs.status_answer import RunStatus

Status = TypeVar("Status")
_LEAST_WAIT_S = 0.05  # an answer takes 2 ms of the cores that score, the command's share included
_MOST_WAIT_S = 1.0
_SHARE = 0.005  # of the time that has passed: so much later than it happens is news told at most, once 0.05 s are less


class Interrupted(click.ClickException):
    """Ctrl-C while following; the message says what becomes of the work and how to resume."""

    exit_code = 130

    def show(self, file: object = None) -> None:
        """Print the message to standard error."""
        del file
        click.echo(self.message, err=True)


def follow_run(connection: Connection, run: str, resume: str) -> RunStatus:
    """Wait until the run has ended and give its last status; `resume` is the command that continues after Ctrl-C."""
    with _resumable(run, resume), progress_of(run) as progress:
        for status in _poll(lambda: connection.ask(lambda host: host.describe_run(run))):
            _show_run(progress, status)
            if status.verdict:
                return status
    raise AssertionError("polling ends only with a verdict")


def follow_backfill(connection: Connection, backfill: str, label: str, resume: str) -> BackfillStatus:
    """Wait until the backfill has ended and give its last status."""
    started = time.monotonic()
    with _resumable(label, resume), progress_of(label) as progress:
        for status in _poll(lambda: connection.ask(lambda host: host.describe_backfill(backfill))):
            progress.show("windows", status.done, status.total, _eta_s(started, status.done, status.total))
            if status.has_ended:
                return status
    raise AssertionError("polling ends only when the backfill has ended")


def _show_run(progress: Progress, status: RunStatus) -> None:
    progress.show(str(status.state), status.partitions_done, status.record.partitions, status.eta_s)


def _poll(ask: Callable[[], Status]) -> Iterator[Status]:
    """Ask for ever, with waits of 50 ms that grow to a second."""
    started = time.monotonic()
    while True:
        yield ask()
        time.sleep(wait_s(time.monotonic() - started))


def wait_s(passed_s: float) -> float:
    """How long to wait for news of what began so long ago.

    >>> wait_s(0.3), wait_s(60), wait_s(3600)
    (0.05, 0.3, 1.0)
    """
    return min(max(_SHARE * passed_s, _LEAST_WAIT_S), _MOST_WAIT_S)


@contextmanager
def _resumable(what: str, resume: str) -> Iterator[None]:
    """Turn Ctrl-C into a message that says how to resume."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(
            f"Stopped following {what}. Nothing is lost: what is scored stays scored.\nContinue: {resume}"
        ) from None


def _eta_s(started: float, done: int, total: int) -> float | None:
    return (time.monotonic() - started) / done * (total - done) if done else None
