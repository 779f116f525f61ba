"""Errors: one line what, one line what to do, and an exit code that says whose fault it is."""

import sys
from pathlib import Path

import pytest
from said import Command

from fleetscore.cli.__main__ import run_command
from fleetscore.store import open_store
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


@pytest.mark.parametrize("name", ["explain", "replay"])
def test_a_workload_and_a_window_without_a_partition_are_told_how_to_go_on(
    command: Command, name: str
) -> None:
    """The error names what is missing and the whole spelling; a word that is no window is taken as a partition."""
    said = command(name, "vans", "2026-11-21")
    assert said.code == 2
    assert "the partition is missing" in said.err
    assert f"{name} vans 2026-11-21 PARTITION" in said.err
    for words in (
        ("toy-108", "17"),
        ("toy-2026-W47-r2", "2026-11-21"),
        ("vans", "van-1"),
        ("vans", "2026-13-41"),
    ):
        assert f"There is no run {words[0]!r}" in command(name, *words).err


def test_samples_that_are_refused_announce_no_store(
    tmp_path: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """A new store is said only where it was created."""
    missing = open_store(str(tmp_path / "new"))
    refused = command("samples", "store_sales", "--as", "capture", store=missing)
    assert (refused.code, "There was no store" in refused.err, missing.exists()) == (2, False, False)
    made = command("samples", "sensor_anomaly", "--scale", "0.01", store=missing)
    assert made.code == 0
    assert f"There was no store at {missing.url}: it was created." in made.err
    assert (
        "There was no store" not in command("samples", "sensor_anomaly", "--scale", "0.01", store=missing).err
    )


def test_an_unexpected_error_repeats_no_key_and_no_password(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command that shows more has *** for what was secret, and the rest as it was typed."""

    def fail(*_arguments: object) -> None:
        raise RuntimeError("the disk is on fire")

    monkeypatch.setattr("fleetscore.fleet.remote.RemoteFleet.runs", fail)
    for host in (["--host", "http://ann:s3cret@h/api"], ["--host=http://ann:s3cret@h/api"]):
        for key in (["--key", "s3cret"], ["--token=s3cret"]):
            assert run_command(["runs", *host, *key, "--limit", "3"]) == 1
            told = capsys.readouterr().err
            assert "s3cret" not in told
            assert "http://***@h/api" in told and "--limit 3" in told


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
