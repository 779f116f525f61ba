"""Small files of the data folder, written so that a reader finds the old content or the new, never a part."""

import os
from pathlib import Path

from devhost.errors import SettingsError


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, readable by its owner only, and sync it to disk; raises SettingsError naming it."""
    draft = path.with_suffix(".tmp")
    try:
        descriptor = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error}; give another folder with --data") from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
