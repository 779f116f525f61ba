"""Progress: plain lines where nobody watches a terminal, never more of them than there is news."""

import io
import sys

import pytest
from rich.console import Console

from fleetscore.cli.progress import Bar, Lines, progress_of


def test_lines_tell_news_and_only_news(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new phase is told at once; the same figures never again; moving figures every five seconds."""
    now = [100.0]
    monkeypatch.setattr("fleetscore.cli.progress.time.monotonic", lambda: now[0])
    lines = Lines("r")
    lines.show("requested", 0, 0)
    lines.show("requested", 0, 0)
    lines.show("scoring", 0, 1000)
    lines.show("scoring", 10, 1000, 9.0)
    now[0] += 6
    lines.show("scoring", 500, 1000, 65.0)
    lines.show("published", 1000, 1000)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "r: requested",
        "r: scoring 0 of 1,000",
        "r: scoring 500 of 1,000, 1 min 5 s left",
        "r: published 1,000 of 1,000",
    ]


def test_a_bar_shows_count_phase_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal: label, phase, how many of how many, and how long still."""
    screen = io.StringIO()
    monkeypatch.setattr(
        "rich.console.Console", lambda **_: Console(file=screen, force_terminal=True, width=120)
    )
    with Bar("r") as bar:
        bar.show("scoring", 250, 1000, 30.0)
    assert all(word in screen.getvalue() for word in ("scoring", "250/1,000", "30 s left"))


def test_a_terminal_gets_a_bar_and_everything_else_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard error decides."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    assert isinstance(progress_of("r"), Lines)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert isinstance(progress_of("r"), Bar)
