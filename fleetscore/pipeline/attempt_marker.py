"""In-progress markers: which partitions an attempt scores, and in which process, so that a crashed attempt
is recognised.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

_NO_PROCESS = 0
_ME = uuid.uuid4().hex[:12]
"""This process: a later one may get its pid."""


@dataclass(frozen=True, slots=True)
class AttemptMarker:
    """The partitions about to be scored, and the process that is about to."""

    partitions: tuple[str, ...]
    host: str
    pid: int
    process: str
    schema: int = 1


def make_marker(partitions: Sequence[str]) -> AttemptMarker:
    """The marker of this process."""
    return AttemptMarker(tuple(partitions), socket.gethostname(), os.getpid(), _ME)


def ended_marker(partitions: Sequence[str]) -> AttemptMarker:
    """The marker of an attempt that is over, though its process lives on."""
    return AttemptMarker(tuple(partitions), socket.gethostname(), _NO_PROCESS, _ME)


def is_alive(marker: AttemptMarker) -> bool:
    """Whether the marker's process lives on this host. One of another host counts as dead: Batch restarts a
    task when its node is gone.
    """
    if marker.host != socket.gethostname() or marker.pid == _NO_PROCESS:
        return False
    if marker.pid == os.getpid():
        return marker.process == _ME
    try:
        os.kill(marker.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's process: the pid was given away
        return False
    return True
