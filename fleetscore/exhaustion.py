"""Exhaustion: memory, threads or file handles that a process lacks for a moment, which says nothing of the
work that it was at.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

from fleetscore.errors import FleetscoreError

EXHAUSTED = "exhausted"
"""The code of an app's answer that met such a lack."""

_NUMBERS = frozenset({errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN})
_NO_THREAD = "can't start new thread"  # a RuntimeError with this text is all that Python says of it
_NO_WORKER = "Failed to launch worker thread"  # Arrow's words for it, in an error of its most general class
_PROBE_BYTES = 64 << 20
_UNLOADED = (  # what glibc's loader says of a library that it found no memory or file handle for
    "failed to map segment from shared object",
    "cannot allocate memory",
    "too many open files",
)


def is_exhausted(error: BaseException) -> bool:
    """Whether the error, or one that it came from, is of memory, threads or file handles that there were
    none of.

    >>> is_exhausted(RuntimeError("can't start new thread")), is_exhausted(OSError(24, "Too many open files")), is_exhausted(ValueError())
    (True, True, False)
    """
    return any(_is_one(each) for each in _chain(error))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error, or one that it came from, is of memory: what is being done may need more than
    there is.
    """
    return any(isinstance(each, MemoryError) for each in _chain(error))


def raise_lack(error: BaseException) -> None:
    """Raise the lack of memory, threads or file handles that the error came from, where the process has it
    still: then nothing is known of what was being read.

    A file or model that asks for more memory than there can be is at fault itself; nothing is raised then.
    """
    for each in _chain(error):
        if _is_one(each) and not (isinstance(each, MemoryError) and _has_memory()):
            raise each from each.__cause__


def raise_passing(error: FleetscoreError) -> None:
    """Raise what says nothing of what was being read: a store that may answer later, and a lack as
    `raise_lack` does.
    """
    raise_lack(error)
    if error.retry:
        raise error


def _has_memory() -> bool:
    try:
        bytearray(_PROBE_BYTES)
    except MemoryError:
        return False
    return True


def _is_one(error: BaseException) -> bool:
    if isinstance(error, ImportError | OSError) and any(text in str(error).lower() for text in _UNLOADED):
        return True
    if isinstance(error, OSError):
        return error.errno in _NUMBERS
    if type(error).__name__ == "ArrowException":  # by name: what follows runs imports no Arrow
        return _NO_WORKER in str(error)
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _NO_THREAD in str(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and those that it came from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
