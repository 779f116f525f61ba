"""What one import may use, and how a process is held to it."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ImportLimits:
    """Limits on the import of one model: bytes on top of the libraries', seconds of processor time, seconds
    in which it computes nothing, open files, bytes of a file written.
    """

    memory_bytes: int = 4 << 30
    cpu_s: int = 120
    idle_s: float = 240.0
    open_files: int = 64
    file_size_bytes: int = 1 << 30


def apply_limits(limits: ImportLimits) -> None:
    """Hold this process to the limits on memory and files; time is counted by file (`extend_cpu_limit`)."""
    used_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    _set(resource.RLIMIT_AS, used_bytes + limits.memory_bytes)
    _set(resource.RLIMIT_NOFILE, limits.open_files)
    _set(resource.RLIMIT_FSIZE, limits.file_size_bytes)
    _set(resource.RLIMIT_CORE, 0)


def extend_cpu_limit(limits: ImportLimits) -> None:
    """Give this process the limit's seconds of processor time from now on; a second later the system ends
    it.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + limits.cpu_s + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def read_cpu_s(pid: int) -> float:
    """The seconds of processor time that a running process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def end_with_parent() -> None:
    """Let the system end this process when its parent ends, so that none is left behind (Linux)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1: PR_SET_PDEATHSIG


def _set(kind: int, limit: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(kind, (limit, limit))
