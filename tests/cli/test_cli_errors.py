"""Errors: one line what, one line what to do, and an exit code that says whose fault it is."""

import sys

import pytest
from said import Command

from fleetscore.cli.__main__ import run_command
from fleetscore.store.base import Store


@pytest.mark.parametrize(
    ("arguments", "what", "then"),
    [
        (("samples", "nope"), "There is no workload 'nope'.", "Known: "),
        (
            ("plan", "toy", "--window", "noon"),
            "Window 'noon' is not an hour.",
            "Write it like 2018-08-28T23.",
        ),
        (
            ("show", "toy-2026-01-01T00"),
            "There is no run 'toy-2026-01-01T00'.",
            "`fleetscore runs` lists them.",
        ),
        (("explain", "none", "p"), "There is no run 'none'.", "`fleetscore runs` lists them."),
        (("cancel", "none"), "There is no run 'none'.", "`fleetscore runs` lists them."),
        (("models", "pin", "toy", "v9"), "toy has no model set 'v9'.", "Known versions: none yet."),
        (("models", "show", "toy"), "toy has no current model set.", "List them"),
        (("models", "rollback", "toy"), "toy had no other current model set before.", "Pin one"),
        (("models", "promote", "toy"), "toy has no model set.", "Make one"),
        (("draw", "sensor_anomaly"), "sensor_anomaly has published nothing", "Run a window"),
        (("backtest", "toy"), "toy has no backtest.", ""),
    ],
)
def test_wrong_input_is_told_in_two_lines(
    command: Command, arguments: tuple[str, ...], what: str, then: str
) -> None:
    """Exit code 2; what happened on the first line, what to do on the second; no traceback and nothing on standard output."""
    said = command(*arguments)
    lines = said.err.strip().splitlines()
    assert said.code == 2
    assert said.out == ""
    assert lines[0].startswith(f"Error: {what}")
    assert len(lines) <= 2
    assert not then or lines[1].startswith(then)


@pytest.mark.parametrize(
    "arguments",
    [
        ("rnu",),
        ("run", "toy"),
        ("run", "--window", "1"),
        ("runs", "--limit", "many"),
        ("runs", "--colour", "red"),
    ],
)
def test_wrong_usage_exits_with_2(command: Command, arguments: tuple[str, ...]) -> None:
    """A wrong command, a missing or unknown option, a value of the wrong type: click's own words, exit code 2."""
    said = command(*arguments)
    assert said.code == 2
    assert "Error: " in said.err


def test_an_extra_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The local cloud needs an extra of the wheel: exit code 2 with the command that installs it, before any work."""
    monkeypatch.setitem(sys.modules, "cryptography", None)
    assert run_command(["cloud"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "Error: cryptography is not installed.",
        "Install it: pip install 'fleetscore[cloud]'",
    ]


def test_an_unknown_command_gets_the_nearest_known_one(command: Command) -> None:
    """A slip of the finger costs one look."""
    assert "Did you mean explain" in command("explian").err


def test_something_unexpected_shows_its_traceback_only_when_asked(
    command: Command, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1 and how to see more; with --debug the traceback."""

    def fail(*_arguments: object) -> None:
        raise RuntimeError("the disk is on fire")

    monkeypatch.setattr("fleetscore.runs.index.list_runs", fail)
    said = command("runs")
    assert (said.code, said.err.splitlines()[0]) == (1, "Error: RuntimeError: the disk is on fire")
    assert "fleetscore --debug runs" in said.err
    assert "Traceback" not in said.err
    assert "Traceback" in command("--debug", "runs").err
