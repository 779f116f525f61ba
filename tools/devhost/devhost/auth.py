"""Keys and what each of them allows. All is open by default, as under Core Tools; `--enable-auth` demands
keys.
"""

import hmac
import secrets
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from devhost.errors import SettingsError
from devhost.files import write_whole

DURABLE_SYSTEM_KEY = "durabletask_extension"


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one data folder: one master key, and named host, system and function keys."""

    master: str
    host: dict[str, str]
    system: dict[str, str]
    functions: dict[str, dict[str, str]] = field(default_factory=dict)


def load_keys(folder: Path) -> Keys:
    """Read `keys.json`, making it with fresh keys (readable by its owner only) where it is absent.

    Raises SettingsError, with the cure, where it cannot be read or is cut short.
    """
    path = folder / "keys.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Keys)
    except FileNotFoundError:
        made = Keys(_new_key(), {"default": _new_key()}, {DURABLE_SYSTEM_KEY: _new_key()})
        write_whole(path, msgspec.json.format(msgspec.json.encode(made)) + b"\n")
        return made
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{path} cannot be read: {error}; expected master, host, system and functions keys. "
            "Correct it, or delete it: new keys are then made, and the old ones are no longer valid."
        ) from error


def _new_key() -> str:
    return secrets.token_urlsafe(32)


@dataclass(frozen=True, slots=True)
class Gate:
    """Decides whether a key allows a call."""

    keys: Keys
    is_strict: bool

    def opens_function(self, level: str, function: str, given: str) -> bool:
        """Return whether `given` may call an HTTP function with that authorization level."""
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
        """Return whether `given` may use the admin routes."""
        return not self.is_strict or _matches(given, [self.keys.master])

    def opens_durable(self, given: str) -> bool:
        """Return whether `given` may use the public management API."""
        return not self.is_strict or _matches(given, [self.keys.master, self.durable_key])

    @property
    def durable_key(self) -> str:
        """The system key that management URLs carry."""
        return self.keys.system.get(DURABLE_SYSTEM_KEY, "")


def _matches(given: str, allowed: list[str]) -> bool:
    return any(hmac.compare_digest(given.encode(), key.encode()) for key in allowed if key)
