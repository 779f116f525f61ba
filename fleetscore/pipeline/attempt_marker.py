"""Crumbs: what an attempt is about to score and which process does it, so that a later attempt can tell death from company."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

_ME = uuid.uuid4().hex[:12]
"""This process: a later one may get its pid."""


@dataclass(frozen=True, slots=True)
class Crumb:
    """The partitions about to be scored, and the process that is about to."""

    partitions: tuple[str, ...]
    host: str
    pid: int
    process: str
    schema: int = 1


def leave_crumb(partitions: Sequence[str]) -> Crumb:
    """The crumb of this process."""
    return Crumb(tuple(partitions), socket.gethostname(), os.getpid(), _ME)


def is_alive(crumb: Crumb) -> bool:
    """Whether the crumb's process lives on this host. One of another host counts as dead: Batch restarts a task when its node is gone."""
    if crumb.host != socket.gethostname():
        return False
    if crumb.pid == os.getpid():
        return crumb.process == _ME
    try:
        os.kill(crumb.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's: the pid was given away
        return False
    return True
