"""Fixtures of the demo's tests."""

import pytest


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No environment chooses a store or adds workloads."""
    for name in ("FLEETSCORE_STORE", "FLEETSCORE_KEY", "FLEETSCORE_WORKLOADS"):
        monkeypatch.delenv(name, raising=False)
