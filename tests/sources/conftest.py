"""Stores to read from."""

import re
import uuid
from pathlib import Path

import pytest

from fleetscore.store import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty folder as a store."""
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def blob_url(azurite: str) -> str:
    """The URL of a container that nobody has used."""
    endpoint = re.search(r"BlobEndpoint=([^;]+)", azurite)
    assert endpoint
    return f"{endpoint[1]}/test-{uuid.uuid4().hex}"
