"""An import process that tests of models share."""

import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from fleetscore.models.importers.process import ImportProcess


class _SharedImportProcess(ImportProcess):
    """An import process that outlives the imports that use it, and takes one request at a time."""

    def __init__(self) -> None:
        super().__init__()
        self._turn = threading.Lock()

    def ask(self, request: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
        with self._turn:
            return super().ask(request)

    def __exit__(self, *_: object) -> None:
        """Stay for the next import."""


@pytest.fixture(scope="session")
def _import_process() -> Iterator[ImportProcess]:
    process = _SharedImportProcess()
    yield process
    process.close()


@pytest.fixture
def shared_import_process(_import_process: ImportProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Import models through one process for the session: starting one, with its libraries, takes seconds."""
    monkeypatch.setattr("fleetscore.models.importers.folder.ImportProcess", lambda: _import_process)
