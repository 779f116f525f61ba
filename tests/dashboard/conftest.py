"""Fixtures of the dashboard's tests: a store whose toy windows failed in every way that there is."""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

PIPELINE = Path(__file__).parents[1] / "pipeline"
if str(PIPELINE) not in sys.path:
    sys.path.insert(0, str(PIPELINE))
if str(Path(__file__).parent) not in sys.path:
    sys.path.insert(0, str(Path(__file__).parent))

from dashboard_store import fill_store  # noqa: E402  # the path has to be set first

from fleetscore.registry import EXTRA_WORKLOADS  # noqa: E402
from fleetscore.store import open_store  # noqa: E402
from fleetscore.store.base import Store  # noqa: E402


@pytest.fixture(scope="session")
def session_toy() -> None:
    """Register the toy workload for this process and those it starts."""
    os.environ[EXTRA_WORKLOADS] = "toy=toy_workload:Toy"
    paths = [str(PIPELINE), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)


@pytest.fixture(scope="session")
def filled(session_toy: None, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with toy runs of every ending; tests only read it."""
    store = open_store(str(tmp_path_factory.mktemp("dashboard") / "store"))
    fill_store(store)
    return store


@pytest.fixture
def now() -> datetime:
    """The moment of the page."""
    return datetime.now(UTC)
