"""The process that imports models: it loads the libraries once and forks workers, one after the other.

A worker is held to limits of memory, time and files. A file that crashes or exhausts it costs nothing else:
the next file gets a new worker. The environment holds no credentials. What comes back are JSON and plain
arrays. Run: python -m fleetscore.models.importers.fork_server
"""

from __future__ import annotations

import importlib
import os
import select
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any

from fleetscore.models.importers.frames import read_frame, write_frame
from fleetscore.models.importers.limits import (
    ImportLimits,
    apply_limits,
    end_with_parent,
    extend_cpu_limit,
    read_cpu_s,
)

Job = Callable[[Mapping[str, Any]], tuple[dict[str, Any], bytes]]
"""Turns a request into a header and the bytes of a compiled model."""

_FILES_PER_WORKER = 200  # what a library leaks is given back then
_OUT_OF_MEMORY = 77
_PRELOADED = frozenset(
    "sklearn scipy pandas numba lightgbm xgboost catboost onnx onnxruntime skl2onnx skops joblib".split()  # noqa: SIM905
)
"""Libraries that are loaded here once a worker needed them, so that the next worker has them."""


@dataclass
class Worker:
    """A fork that answers requests in their order until it ends."""

    pid: int
    requests: IO[bytes]
    answers: int
    limits: ImportLimits
    files: int = 0
    stalled: bool = False

    def ask(self, request: Mapping[str, Any]) -> tuple[dict[str, Any], bytes] | None:
        """The answer; None when the worker ended, or computed nothing for so long that it has to be ended
        (`stalled`).
        """
        self.files += 1
        try:
            write_frame(self.requests, request)
            with os.fdopen(os.dup(self.answers), "rb", buffering=0) as raw:
                return read_frame(_Watched(raw, self.pid, self.limits.idle_s))  # type: ignore[arg-type]  # read() only
        except TimeoutError:
            self.stalled = True
            return None
        except (OSError, ValueError):
            return None

    def end(self) -> int:
        """End the worker; its exit code, negative for a signal that ended it before."""
        self.requests.close()
        os.close(self.answers)
        os.kill(self.pid, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


class _Watched:
    """A file that raises TimeoutError when it gives nothing while its writer computes nothing for a time.

    Time on the clock alone says nothing: on a machine with much to do a good model takes minutes.
    """

    def __init__(self, file: IO[bytes], pid: int, idle_s: float) -> None:
        self._file, self._pid, self._idle_s = file, pid, idle_s

    def read(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            self._wait()
            part = self._file.read(min(size - len(parts), 1 << 20))
            if not part:
                break
            parts += part
        return bytes(parts)

    def _wait(self) -> None:
        used_s = read_cpu_s(self._pid)
        while not select.select([self._file], [], [], self._idle_s)[0]:
            before_s, used_s = used_s, read_cpu_s(self._pid)
            if used_s == before_s:
                raise TimeoutError


def serve(requests: IO[bytes], answers: IO[bytes], job: Job, warm: Callable[[bytes], None]) -> None:
    """Answer each request by a worker until the requests end; `warm` may compile here what an answer
    needed.
    """
    worker: Worker | None = None
    while (frame := read_frame(requests)) is not None:
        request, _ = frame
        worker = worker or _fork(ImportLimits(**request["limits"]), job)
        answer = worker.ask(request)
        if answer is None:
            answer = _failure(worker), b""
            worker = None
        header, payload = answer
        write_frame(answers, header, payload)
        news = _preload(header.get("modules", ()))
        if payload:
            warm(payload)
        if worker is not None and (news or worker.files >= _FILES_PER_WORKER):
            worker.end()
            worker = None
    if worker is not None:
        worker.end()


def _fork(limits: ImportLimits, job: Job) -> Worker:
    request_in, request_out = os.pipe()
    answer_in, answer_out = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(request_out)
        os.close(answer_in)
        _work(limits, job, request_in, answer_out)
    os.close(request_in)
    os.close(answer_out)
    return Worker(pid, os.fdopen(request_out, "wb"), answer_in, limits)


def _work(limits: ImportLimits, job: Job, requests: int, answers: int) -> None:
    """Do jobs in this fork until the requests end, and end the process whatever happens."""
    code = 1
    try:
        end_with_parent()
        apply_limits(limits)
        with os.fdopen(requests, "rb") as incoming, os.fdopen(answers, "wb") as outgoing:
            while (frame := read_frame(incoming)) is not None:
                extend_cpu_limit(limits)
                loaded = set(sys.modules)
                header, payload = job(frame[0])
                write_frame(outgoing, header | {"modules": sorted(set(sys.modules) - loaded)}, payload)
        code = 0
    except MemoryError:
        code = _OUT_OF_MEMORY
    finally:
        os._exit(code)


def _failure(worker: Worker) -> dict[str, Any]:
    limits, code = worker.limits, worker.end()
    if worker.stalled:
        return _refusal("import_limit", f"the import computed nothing for {limits.idle_s:g} s")
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return _refusal("import_limit", f"the import took more than {limits.cpu_s} s of processor time")
    if code == _OUT_OF_MEMORY:
        return _refusal("import_limit", f"the import took more than {limits.memory_bytes} bytes of memory")
    return _refusal("unreadable_model", f"reading it ended the import process with code {code}")


def _refusal(code: str, message: str) -> dict[str, Any]:
    return {"code": code, "message": f"The model could not be imported: {message}.", "fix": ""}


def _preload(modules: Any) -> bool:
    """Whether a library was loaded here that a worker had to load."""
    news = False
    for name in modules:
        if name.split(".")[0] in _PRELOADED and name not in sys.modules:
            try:
                importlib.import_module(name)
                news = True
            except Exception as error:
                print(f"{name} is not loaded ahead: {error}", file=sys.stderr)  # noqa: T201 - the log of this process
    return news


def main() -> None:
    """Serve requests of standard input on what was standard output; nothing else can write there."""
    from fleetscore.models.importers.job import import_one, warm_family

    _preload(("joblib", "sklearn.pipeline", "sklearn.linear_model", "sklearn.preprocessing"))
    answers = os.fdopen(os.dup(1), "wb")
    requests = os.fdopen(os.dup(0), "rb")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    serve(requests, answers, import_one, warm_family)


if __name__ == "__main__":
    main()
