"""An app that runs elsewhere and asks for keys, as commands with --host meet it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from app_host import Host, running
from said import Said

from fleetscore.cli.__main__ import run_command

ROOT = Path(__file__).resolve().parents[2]
PIPELINE = ROOT / "tests" / "pipeline"


@contextmanager
def serving(folder: Path, workload: str = "toy_workload:Toy") -> Iterator[Host]:
    """The app over the store in `folder`, with `workload` as its toy."""
    paths = os.pathsep.join([str(PIPELINE), str(ROOT / "tests" / "operate")])
    with running(Host(folder, FLEETSCORE_WORKLOADS=f"toy={workload}", PYTHONPATH=paths)) as host:
        yield host


def say(remote: Host, capsys: pytest.CaptureFixture[str], *arguments: str) -> Said:
    """Run a command against the remote app."""
    capsys.readouterr()
    code = run_command([*arguments, "--host", remote.url, "--key", remote.key])
    said = capsys.readouterr()
    return Said(code, said.out, said.err)
