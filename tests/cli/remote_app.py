"""An app that runs elsewhere and asks for keys, as commands with --host meet it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from said import Said

from fleetscore.cli.__main__ import run_command
from fleetscore.stores import open_store
from fleetscore.stores.base import Store

ROOT = Path(__file__).resolve().parents[2]
SPINE = ROOT / "tests" / "spine"


@dataclass(frozen=True)
class Remote:
    """An app that asks for keys, its store, and a key that opens it."""

    url: str
    key: str
    store: Store


@contextmanager
def serving(folder: Path, workload: str = "toy_workload:Toy") -> Iterator[Remote]:
    """The app on a host that demands keys, over the store in `folder`, with `workload` as its toy."""
    paths = [str(SPINE), str(ROOT / "tests" / "operate")]
    environment = os.environ | {
        "FLEETSCORE_STORE": (folder / "store").as_uri(),
        "FLEETSCORE_WORKLOADS": f"toy={workload}",
        "PYTHONPATH": os.pathsep.join(paths),
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
    ]
    with (folder / "host.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--enable-auth"], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
    try:
        address = folder / "host" / "address.json"
        deadline = time.monotonic() + 30
        while not address.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        keys = json.loads((folder / "host" / "keys.json").read_text())
        url = json.loads(address.read_text())["url"]
        yield Remote(url, keys["host"]["default"], open_store(str(folder / "store")))
    finally:
        process.terminate()
        process.wait()


def say(remote: Remote, capsys: pytest.CaptureFixture[str], *arguments: str) -> Said:
    """Run a command against the remote app."""
    capsys.readouterr()
    code = run_command([*arguments, "--host", remote.url, "--key", remote.key])
    said = capsys.readouterr()
    return Said(code, said.out, said.err)
