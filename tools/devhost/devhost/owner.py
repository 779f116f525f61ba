"""Waiting for the end of the process for which a host runs."""

import asyncio
import logging
import os

_log = logging.getLogger("devhost")
_LOOK_EVERY_S = 0.5


async def owner_ended(pid: int) -> None:
    """Return when the process has ended; it need not be the parent of this one."""
    try:
        if hasattr(os, "pidfd_open"):
            await _readable(os.pidfd_open(pid))
        else:
            while _exists(pid):
                await asyncio.sleep(_LOOK_EVERY_S)
    except ProcessLookupError:
        pass  # ended before it was looked at
    _log.warning("Process %d, for which this host runs, has ended; the host ends as well.", pid)


async def _readable(descriptor: int) -> None:
    """Return when a process's descriptor shows its end."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
