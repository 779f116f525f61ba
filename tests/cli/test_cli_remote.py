"""--host: the same commands against an app that runs elsewhere, with its key."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from said import Said
from toy_workload import write_lines

from fleetscore.cli.__main__ import run_command
from fleetscore.cli.client import HostClient, HostUnreachableError
from fleetscore.errors import InputError
from fleetscore.stores import open_store

ROOT = Path(__file__).resolve().parents[2]
SPINE = ROOT / "tests" / "spine"
WINDOW = "2026-01-01T00"


class Remote:
    """An app that asks for keys, its store, and a key that opens it."""

    def __init__(self, url: str, key: str, folder: Path) -> None:
        self.url, self.key, self.store = url, key, open_store(str(folder))


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    """The app on a host that demands keys, as Azure does."""
    folder = tmp_path_factory.mktemp("remote")
    environment = os.environ | {
        "FLEETSCORE_STORE": (folder / "store").as_uri(),
        "FLEETSCORE_WORKLOADS": "toy=toy_workload:Toy",
        "PYTHONPATH": str(SPINE),
    }
    command = [
        sys.executable,
        "-m",
        "devhost",
        "start",
        str(ROOT),
        "--port",
        "0",
        "--data",
        str(folder / "host"),
        "--enable-auth",
    ]
    with (folder / "host.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        address = folder / "host" / "address.json"
        deadline = time.monotonic() + 30
        while not address.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        keys = json.loads((folder / "host" / "keys.json").read_text())
        yield Remote(json.loads(address.read_text())["url"], keys["host"]["default"], folder / "store")
    finally:
        process.terminate()
        process.wait()


def say(remote: Remote, capsys: pytest.CaptureFixture[str], *arguments: str) -> Said:
    """Run a command against the remote app."""
    capsys.readouterr()
    code = run_command([*arguments, "--host", remote.url, "--key", remote.key])
    said = capsys.readouterr()
    return Said(code, said.out, said.err)


def test_a_run_on_a_remote_app_is_followed_listed_and_explained(
    remote: Remote, capsys: pytest.CaptureFixture[str]
) -> None:
    """run, runs, show, explain, cancel: all over HTTP, with the same answers as from the store."""
    write_lines(remote.store, WINDOW, [(f"p{n}", n, "ok") for n in range(12)] + [("a/b%2Fc d", 1, "fail")])
    run = f"toy-{WINDOW}"
    assert say(remote, capsys, "run", "toy", "--window", WINDOW).code == 10
    assert json.loads(say(remote, capsys, "runs", "--json").out)[0]["run"] == run
    shown = json.loads(say(remote, capsys, "show", run, "--json").out)
    assert shown["record"]["counts"] == {"scored": 12, "failed": 1}
    story = json.loads(say(remote, capsys, "explain", run, "a/b%2Fc d", "--json").out)
    assert (story["partition"], story["outcome"], story["cause"]) == ("a/b%2Fc d", "failed", "bad_value")
    assert say(remote, capsys, "cancel", run).code == 0


def test_errors_of_the_app_are_told_as_its_own(remote: Remote, capsys: pytest.CaptureFixture[str]) -> None:
    """What the app says of a wrong window or an unknown run arrives word by word, with exit code 2."""
    wrong = say(remote, capsys, "run", "toy", "--window", "noon")
    assert (wrong.code, wrong.err.splitlines()[0]) == (2, "Error: Window 'noon' is not a hour.")
    unknown = say(remote, capsys, "show", "toy-2031-01-01T00")
    assert (unknown.code, unknown.err.splitlines()[0]) == (2, "Error: There is no run 'toy-2031-01-01T00'.")


def test_a_missing_key_says_where_to_give_it(remote: Remote) -> None:
    """InputError names --key and FLEETSCORE_KEY."""
    with pytest.raises(InputError, match="FLEETSCORE_KEY"):
        HostClient(remote.url).list_runs("", 1)


def test_nobody_at_the_address_is_told_as_that() -> None:
    """HostUnreachableError with the address; never a traceback of the HTTP library."""
    with pytest.raises(HostUnreachableError, match=r"Nobody answers at http://127\.0\.0\.1:9"):
        HostClient("http://127.0.0.1:9").list_runs("", 1)
