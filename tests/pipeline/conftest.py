"""Fixtures of the pipeline's tests: a fresh folder store, and the toy workload registered as a user's own would be."""

import os
import sys
from pathlib import Path

import pytest

from fleetscore.registry import EXTRA_WORKLOADS
from fleetscore.store import open_store
from fleetscore.store.base import Store

HERE = Path(__file__).parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the toy workload for this process and those it starts."""
    monkeypatch.setenv(EXTRA_WORKLOADS, "toy=toy_workload:Toy")
    paths = [str(HERE), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A folder store with nothing in it."""
    return open_store(str(tmp_path / "store"))
