"""Keys: who may call what. Open by default, as under Core Tools; strict with `--enable-auth`."""

import hmac
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from devhost.errors import SettingsError

DURABLE_SYSTEM_KEY = "durabletask_extension"


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one data folder: one master key, and named host, system and function keys."""

    master: str
    host: dict[str, str]
    system: dict[str, str]
    functions: dict[str, dict[str, str]] = field(default_factory=dict)


def load_keys(folder: Path) -> Keys:
    """Read `keys.json`, making it with fresh keys (readable by its owner only) where it is absent."""
    path = folder / "keys.json"
    if not path.exists():
        made = Keys(_new_key(), {"default": _new_key()}, {DURABLE_SYSTEM_KEY: _new_key()})
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(made)) + b"\n")
        return made
    try:
        return msgspec.json.decode(path.read_bytes(), type=Keys)
    except msgspec.MsgspecError as error:
        raise SettingsError(f"{path}: {error}; expected master, host, system and functions keys") from error


def _new_key() -> str:
    return secrets.token_urlsafe(32)


@dataclass(frozen=True, slots=True)
class Gate:
    """Decides whether a key opens a door."""

    keys: Keys
    is_strict: bool

    def opens_function(self, level: str, function: str, given: str) -> bool:
        """Say whether `given` may call an HTTP function with that authorization level."""
        if not self.is_strict or level.lower() == "anonymous":
            return True
        allowed = [self.keys.master]
        if level.lower() == "function":
            own = next(
                (keys for name, keys in self.keys.functions.items() if name.lower() == function.lower()), {}
            )
            allowed += [*self.keys.host.values(), *own.values()]
        return _matches(given, allowed)

    def opens_admin(self, given: str) -> bool:
        """Say whether `given` may use the admin routes."""
        return not self.is_strict or _matches(given, [self.keys.master])

    def opens_durable(self, given: str) -> bool:
        """Say whether `given` may use the public management API."""
        return not self.is_strict or _matches(given, [self.keys.master, self.durable_key])

    @property
    def durable_key(self) -> str:
        """The system key that management URLs carry."""
        return self.keys.system.get(DURABLE_SYSTEM_KEY, "")


def _matches(given: str, allowed: list[str]) -> bool:
    return any(hmac.compare_digest(given.encode(), key.encode()) for key in allowed if key)
