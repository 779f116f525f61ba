"""Windows: the command line works with --host and with a Blob store; what needs a Unix system says WSL in one sentence."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from app_host import Host
from remote_app import serving
from said import Said
from toy_workload import write_lines

from fleetscore.store import open_store

WINDOW = "2026-01-01T00"
_WITHOUT_UNIX = """
import sys
sys.modules["fcntl"] = sys.modules["resource"] = None
from fleetscore.cli.__main__ import main
main()
"""


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """An app elsewhere."""
    with serving(tmp_path_factory.mktemp("remote")) as remote:
        yield remote


def on_windows(*arguments: str) -> Said:
    """Run a command where Python has neither `fcntl` nor `resource`."""
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_UNIX, *arguments], capture_output=True, text=True, env=os.environ, check=False
    )  # fmt: skip
    return Said(done.returncode, done.stdout, done.stderr)


def test_an_app_is_asked_from_windows(remote: Host) -> None:
    """Running, listing, explaining and asking for attention over HTTP."""
    write_lines(remote.store, WINDOW, [("a", 1, "ok"), ("b", 1, "ok")])
    place = ("--host", remote.url, "--key", remote.key)
    run = f"toy-{WINDOW}"
    for arguments in (
        ("run", "toy", "--window", WINDOW), ("runs",), ("show", run), ("explain", run, "a"), ("attention",),
        ("plan", "toy", "--window", WINDOW), ("models", "list", "toy"), ("doctor",), ("costs",), ("replay", run, "a"),
    ):  # fmt: skip
        said = on_windows(*arguments, *place)
        assert said.code in (0, 1, 10), (
            arguments,
            said,
        )  # 1 and 10 are the doctor's findings and attention's
        assert said.out, (arguments, said)


def test_a_blob_store_is_read_from_windows(azurite: str) -> None:
    """Whatever reads a Blob container needs no Unix system."""
    endpoint = re.search(r"BlobEndpoint=([^;]+)", azurite)
    assert endpoint is not None
    store = open_store(f"{endpoint[1]}/windows")
    write_lines(store, WINDOW, [("a", 1, "ok")])
    for arguments in (
        ("runs",),
        ("attention",),
        ("plan", "toy", "--window", WINDOW),
        ("models", "list", "toy"),
    ):
        said = on_windows(*arguments, "--store", store.url)
        assert said.code in (0, 10), (arguments, said)
    said = on_windows("run", "toy", "--window", WINDOW, "--store", store.url)
    assert (said.code, said.err.count("WSL")) == (2, 1)


@pytest.mark.parametrize(
    "arguments", [("runs",), ("run", "toy", "--window", WINDOW), ("samples", "toy"), ("host",), ("cloud",)]
)
def test_the_rest_says_wsl(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """Exit code 2 and one sentence with the cure; no traceback."""
    place = () if arguments == ("cloud",) else ("--store", str(tmp_path))
    said = on_windows(*arguments, *place)
    assert said.code == 2
    assert said.err.count("WSL") == 1
    assert "Traceback" not in said.err
