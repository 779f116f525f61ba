"""What the operating system refuses of a folder as store, as the errors of a store."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from fleetscore.errors import MissingBlobError, StoreError


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Raise MissingBlobError or StoreError, by its path in the store, for what the block meets while it reads."""
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise MissingBlobError(f"{path} is not in the store.") from error
    except OSError as error:
        raise _failed(path, "read", error) from error


@contextmanager
def writing(path: str) -> Iterator[None]:
    """Raise StoreError, by its path in the store, for what the block meets while it writes."""
    try:
        yield
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise StoreError(
            f"{path} cannot be written: it, or a beginning of it, is both a file and a folder.",
            fix="Choose another name; in a folder as store, no path may continue another one.",
            retry=False,
        ) from error
    except OSError as error:
        raise _failed(path, "written", error) from error


def _failed(path: str, verb: str, error: OSError) -> StoreError:
    if error.errno == errno.ELOOP:
        return StoreError(
            f"{path} is, or lies behind, a symbolic link that leads in a circle.",
            fix="Put the file itself there, or remove the link.",
            retry=False,
        )
    fix = "Check the store folder's disk, free space and permissions."
    if error.errno in (errno.EMFILE, errno.ENFILE):
        fix = "Allow the process more open files (`ulimit -n`)."
    return StoreError(
        f"{path} could not be {verb} ({error.strerror or error}).",
        fix=fix,
        retry=not isinstance(error, PermissionError),
    )
