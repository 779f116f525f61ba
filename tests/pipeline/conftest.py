"""Fixtures of the pipeline's tests: a fresh folder store, and the toy workload registered as a user's own would be."""

import os
import sys
from pathlib import Path

import pytest

from fleetscore.registry import EXTRA_WORKLOADS
from fleetscore.runs import delta_log
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


@pytest.fixture(autouse=True)
def forgetful() -> None:
    """No test profits from what another one has read of a table."""
    delta_log._known.clear()


@pytest.fixture
def published(store: Store) -> Store:
    """Four windows of six partitions of the toy workload."""
    from published_tables import publish_windows  # imports engines that few tests need

    publish_windows(store)
    return store
