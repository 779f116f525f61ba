"""The importing process as its parent sees it: started when needed, started again when it died."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fleetscore.errors import ModelError
from fleetscore.models.importers.frames import read_frame, write_frame

_KEPT = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "HOME", "TMPDIR", "NUMBA_CACHE_DIR", "VIRTUAL_ENV")
"""Environment variables that the process gets; credentials are not among them."""

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class ImportProcess:
    """Imports models in a process of its own, in an empty folder, without the parent's environment.

    One thread asks; the block may be left by another, which ends what is being asked.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_left = False
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_left = True
        self.close()

    def close(self) -> None:
        """End the process and remove its folder."""
        with self._lock:
            process, folder = self._process, self._folder
            self._process = self._folder = None
        if process is not None:
            process.terminate()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):  # of a request that the process did not take
                        pipe.close()
        if folder is not None:
            folder.cleanup()

    def ask(self, request: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
        """The header and bytes that the process answers; ModelError `unreadable_model` when it dies of the
        request.
        """
        process = self._started()
        if process.stdin is None or process.stdout is None:
            raise ModelError("The import process has no pipes.", code="unreadable_model")
        try:
            write_frame(process.stdin, request)
            answer = read_frame(process.stdout)
        except (OSError, ValueError) as error:
            self.close()
            raise _died(str(error)) from error
        if answer is None:
            code = process.wait()
            self.close()
            raise _died(f"code {code}")
        return answer

    def _started(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._is_left:
                raise _died("it is not needed any more")
            if self._process is None:
                self._folder = tempfile.TemporaryDirectory(prefix="fleetscore-import-")
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "fleetscore.models.importers.fork_server"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    cwd=self._folder.name,
                    env=_environment(),
                    start_new_session=True,  # Ctrl-C is for the parent, which ends it without a word
                )
            return self._process


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    root = str(Path(__file__).resolve().parents[3])
    path = os.pathsep.join(part for part in (root, kept.get("PYTHONPATH", "")) if part)
    return kept | dict.fromkeys(_THREADS, "1") | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def _died(how: str) -> ModelError:
    return ModelError(
        f"The import process ended unexpectedly: {how}.",
        fix="Import the other models without it.",
        code="unreadable_model",
    )
