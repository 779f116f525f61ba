"""Settings: the app's from its environment, a workload's from settings/<workload>.toml in the store; both typed, with defaults."""

from __future__ import annotations

import tomllib
from typing import Any

import msgspec

from fleetscore.errors import MissingBlobError, SettingsError
from fleetscore.stores.base import Store


def workload_settings_path(workload: str) -> str:
    """Where a workload's settings lie in the store."""
    return f"settings/{workload}.toml"


def read_workload_settings(store: Store, workload: str, settings_type: type) -> Any:
    """The workload's settings as its dataclass, defaults where the file or a line is missing; SettingsError names the line at fault."""
    path = workload_settings_path(workload)
    try:
        text = store.read(path).decode()
    except MissingBlobError:
        return settings_type()
    try:
        return msgspec.convert(tomllib.loads(text), type=settings_type, strict=True)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise SettingsError(f"{path}: {error}.", fix="See docs/reference/settings.md.", field=path) from error
