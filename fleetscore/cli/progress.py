"""Progress: a bar with the time left on a terminal, plain lines elsewhere; always on standard error."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Protocol

from fleetscore.cli.text import say, visible

_LINE_EVERY_S = 5.0


class Progress(Protocol):
    """Shows how far something is; used in a with block."""

    def __enter__(self) -> Progress: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, phase: str, done: int, total: int, eta_s: float | None = None) -> None:
        """`done` of `total` are done in this `phase`; `eta_s` seconds are left, None if unknown."""
        ...


class ImportProgress:
    """Shows the files of an import as they are read, and keeps the refusals: a line for each refused file."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.refusals: list[str] = []

    def report(self, name: str, number: int, total: int, refusal: str) -> None:
        """Take one file; `refusal` is the reason why it was refused, "" where it was not."""
        self._progress.show("importing", number, total)
        if refusal:
            self.refusals.append(f"{name}: {refusal}")


class Lines:
    """A line whenever the phase changes, and every five seconds while something moves."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._phase = ""
        self._done = -1
        self._next_line_at = 0.0

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_exception: object) -> None:
        return None

    def show(self, phase: str, done: int, total: int, eta_s: float | None = None) -> None:
        """Print a line if there is news."""
        now = time.monotonic()
        if phase == self._phase and (done == self._done or now < self._next_line_at):
            return
        self._phase, self._done, self._next_line_at = phase, done, now + _LINE_EVERY_S
        count = f" {done:,} of {total:,}" if total else ""
        left = f", {format_seconds(eta_s)} left" if eta_s else ""
        say(f"{self._label}: {phase}{count}{left}", err=True)


class Bar:
    """One line that moves."""

    def __init__(self, label: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        self._rich = RichProgress(
            TextColumn("{task.description}"), BarColumn(36), TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(), TextColumn("{task.fields[left]}", style="dim"),
            console=Console(stderr=True), refresh_per_second=12,
        )  # fmt: skip
        self._label = visible(label)
        self._task = self._rich.add_task(visible(label), total=None, count="", left="")

    def __enter__(self) -> Bar:
        self._rich.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._rich.stop()

    def show(self, phase: str, done: int, total: int, eta_s: float | None = None) -> None:
        """Move the bar."""
        self._rich.update(
            self._task, description=f"{self._label} [dim]{phase}[/]", completed=done, total=total or None,
            count=f"{done:,}/{total:,}" if total else "", left=f"{format_seconds(eta_s)} left" if eta_s else "",
        )  # fmt: skip


def progress_of(label: str) -> Progress:
    """A bar if standard error is a terminal, else lines."""
    return Bar(label) if sys.stderr.isatty() else Lines(label)


def format_seconds(seconds: float) -> str:
    """A span as people say it.

    >>> format_seconds(0.25), format_seconds(75), format_seconds(7300)
    ('0.2 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left} min" if hours else f"{minutes} min {rest} s"
