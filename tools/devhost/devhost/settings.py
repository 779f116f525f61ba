"""The settings of the host: host.json, local.settings.json and the environment."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devhost.errors import SettingsError

_log = logging.getLogger(__name__)
_OVERRIDE = "AzureFunctionsJobHost__"
_HUB_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{2,49}")
_STRINGS_AND_COMMENTS = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_SPAN = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d{1,7}))?)?")


_DURABLE_KEYS = (
    "hubName",
    "maxConcurrentActivityFunctions",
    "maxConcurrentOrchestratorFunctions",
    "overridableExistingInstanceStates",
    "storageProvider.partitionCount",
    "storeInputsInOrchestrationHistory",
    "defaultVersion",
    "versionMatchStrategy",
    "versionFailureStrategy",
)
_QUEUE_KEYS = (
    "batchSize",
    "newBatchThreshold",
    "maxDequeueCount",
    "maxPollingInterval",
    "visibilityTimeout",
    "messageEncoding",
)
_CARRIED_OUT = {
    "version",
    "functiontimeout",
    "extensions.http.routeprefix",
    *(f"extensions.durabletask.{key}".lower() for key in _DURABLE_KEYS),
    *(f"extensions.queues.{key}".lower() for key in _QUEUE_KEYS),
}


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """host.json `extensions.queues`; times in seconds."""

    batch_size: int = 16
    new_batch_threshold: int = 8
    max_dequeue_count: int = 5
    max_polling_interval_s: float = 2.0
    visibility_timeout_s: float = 0.0
    base64: bool = True


@dataclass(frozen=True, slots=True)
class HostSettings:
    """Everything of host.json that this host carries out, with Azure's defaults; `ignored` names its other
    keys.
    """

    hub_name: str = "TestHubName"
    max_activities: int = 10
    max_orchestrators: int = 10
    partition_count: int = 4
    may_overwrite_running: bool = False
    stores_inputs: bool = False
    default_version: str | None = None
    version_match: str = "CurrentOrOlder"
    version_failure: str = "Reject"
    route_prefix: str = "api"
    function_timeout_s: float | None = 1800.0
    queues: QueueSettings = field(default_factory=QueueSettings)
    ignored: tuple[str, ...] = ()


def read_host_settings(root: Path, environment: Mapping[str, str]) -> HostSettings:
    """Read `host.json` (comments allowed) with `AzureFunctionsJobHost__a__b` overrides from the environment.

    Raises SettingsError naming the file, the key, the value and what was expected.
    """
    document = _read_object(root / "host.json")
    for key, value in environment.items():
        if key.lower().startswith(_OVERRIDE.lower()):
            _override(document, key[len(_OVERRIDE) :].split("__"), value)
    cores = os.cpu_count() or 1
    durable = _Section(document, "extensions", "durableTask")
    storage = _Section(document, "extensions", "durableTask", "storageProvider")
    http = _Section(document, "extensions", "http")
    hub = expand(durable.text("hubName", environment.get("WEBSITE_SITE_NAME") or "TestHubName"), environment)
    if not _HUB_NAME.fullmatch(hub):
        raise SettingsError(
            f"host.json: extensions.durableTask.hubName is {hub!r}; expected 3 to 50 letters and digits, "
            "a letter first"
        )
    states = durable.choice(
        "overridableExistingInstanceStates", "NonRunningStates", ("NonRunningStates", "AnyState")
    )
    return HostSettings(
        hub_name=hub,
        max_activities=durable.integer("maxConcurrentActivityFunctions", 10 * cores, 1, 100_000),
        max_orchestrators=durable.integer("maxConcurrentOrchestratorFunctions", 10 * cores, 1, 100_000),
        partition_count=storage.integer("partitionCount", 4, 1, 16),
        may_overwrite_running=states == "AnyState",
        stores_inputs=durable.boolean("storeInputsInOrchestrationHistory", False),
        default_version=durable.text("defaultVersion", "") or None,
        version_match=durable.choice(
            "versionMatchStrategy", "CurrentOrOlder", ("None", "Strict", "CurrentOrOlder")
        ),
        version_failure=durable.choice("versionFailureStrategy", "Reject", ("Reject", "Fail")),
        route_prefix=http.text("routePrefix", "api").strip("/"),
        function_timeout_s=_Section(document).span("functionTimeout", 1800.0, unlimited=True),
        queues=_read_queues(_Section(document, "extensions", "queues"), cores),
        ignored=tuple(_ignored(document)),
    )


def _read_queues(queues: _Section, cores: int) -> QueueSettings:
    batch_size = queues.integer("batchSize", 16, 1, 32)
    return QueueSettings(
        batch_size=batch_size,
        new_batch_threshold=queues.integer("newBatchThreshold", max(1, batch_size // 2 * cores), 0, 10_000),
        max_dequeue_count=queues.integer("maxDequeueCount", 5, 1, 1_000_000),
        max_polling_interval_s=queues.span("maxPollingInterval", 2.0, shortest_s=0.1) or 2.0,
        visibility_timeout_s=queues.span("visibilityTimeout", 0.0) or 0.0,
        base64=queues.choice("messageEncoding", "base64", ("base64", "none")).lower() == "base64",
    )


def _ignored(document: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the paths of the keys that this host does not carry out, as short as they can be."""
    for key, value in document.items():
        path = f"{prefix}{key}"
        if path.lower() in _CARRIED_OUT:
            continue
        if isinstance(value, dict) and any(known.startswith(f"{path.lower()}.") for known in _CARRIED_OUT):
            yield from _ignored(value, f"{path}.")
        else:
            yield path


def read_local_settings(root: Path) -> dict[str, Any]:
    """Read `local.settings.json`; an absent file is an empty one. Raises SettingsError when it cannot be
    used.
    """
    path = root / "local.settings.json"
    document = _read_object(path)
    if path.exists() and document.get("IsEncrypted", True):
        raise SettingsError(f'{path.name}: encrypted settings are not supported; set "IsEncrypted": false')
    values = document.get("Values", {})
    if not isinstance(values, dict):
        raise SettingsError(f"{path.name}: Values is {type(values).__name__}; expected an object of texts")
    for key, value in values.items():
        if value is not None and not isinstance(value, str):
            raise SettingsError(
                f"{path.name}: Values.{key} is {json.dumps(value)}; expected a text, in quotes"
            )
    return document


def local_port(local: dict[str, Any]) -> int:
    """Return `Host.LocalHttpPort` of the local settings, or 7071."""
    section = local.get("Host") or {}
    port = section.get("LocalHttpPort", 7071) if isinstance(section, dict) else None
    if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port <= 65535:
        raise SettingsError("local.settings.json: Host.LocalHttpPort is not a port; expected 0 to 65535")
    return port


def make_environment(
    local: dict[str, Any], environment: Mapping[str, str], root: Path, port: int
) -> dict[str, str]:
    """Return the environment for the app: local values only where the variable is not already set.

    Connection strings become `ConnectionStrings:NAME`. Logs a warning for every value that is skipped.
    """
    made = dict(environment)
    for key, value in (local.get("Values") or {}).items():
        if value is None:
            continue
        if made.get(key):
            _log.warning(
                "Skipping '%s' from local settings as it's already defined in current environment variables.",
                key,
            )
        else:
            made[key] = value
    for key, value in (local.get("ConnectionStrings") or {}).items():
        text = value.get("ConnectionString", "") if isinstance(value, dict) else str(value)
        made.setdefault(f"ConnectionStrings:{key}", text)
    made |= {
        "WEBSITE_HOSTNAME": f"localhost:{port}",
        "AZURE_FUNCTIONS_ENVIRONMENT": "Development",
        "AzureWebJobsScriptRoot": str(root),
        "FUNCTIONS_WORKER_RUNTIME": "python",
    }
    return made


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Replace every `%NAME%` by that app setting; raises SettingsError for one that is not set."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in environment:
            raise SettingsError(
                f"'{text}': the app setting '{match[1]}' is not set; '%{match[1]}%' does not resolve"
            )
        return environment[match[1]]

    return re.sub(r"%([^%\s]+)%", value, text)


def parse_span(text: str) -> float | None:
    """Return the seconds of a .NET time span `[d.]hh:mm[:ss[.fffffff]]`, or None if it is none."""
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        return None
    days, hours, minutes, seconds, fraction = (match[i] or "0" for i in range(1, 6))
    if int(hours) > 23 or int(minutes) > 59 or int(seconds) > 59:
        return None
    return int(days) * 86400 + int(hours) * 3600 + int(minutes) * 60 + int(seconds) + float(f"0.{fraction}")


def _read_object(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}; expected a file of JSON in UTF-8") from error
    bare = _STRINGS_AND_COMMENTS.sub(lambda match: match[0] if match[0].startswith('"') else " ", text)
    try:
        document = json.loads(bare)
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path.name} is not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise SettingsError(f"{path.name} holds {type(document).__name__}; expected an object")
    return document


def _override(document: dict[str, Any], keys: list[str], value: str) -> None:
    for key in keys[:-1]:
        child = document.get(_existing(document, key))
        if not isinstance(child, dict):
            child = document[_existing(document, key)] = {}
        document = child
    document[_existing(document, keys[-1])] = value


def _existing(document: dict[str, Any], key: str) -> str:
    return next((each for each in document if each.lower() == key.lower()), key)


class _Section:
    """One object of host.json, whose values may be texts when they come from the environment."""

    def __init__(self, document: dict[str, Any], *path: str) -> None:
        self._path = path
        for key in path:
            document = document.get(_existing(document, key)) or {}
            if not isinstance(document, dict):
                raise SettingsError(
                    f"host.json: {'.'.join(path)} is {json.dumps(document)}; expected an object"
                )
        self._values = document

    def _value(self, key: str) -> Any:
        return self._values.get(_existing(self._values, key))

    def _error(self, key: str, value: Any, expected: str) -> SettingsError:
        return SettingsError(
            f"host.json: {'.'.join((*self._path, key))} is {json.dumps(value)}; expected {expected}"
        )

    def text(self, key: str, default: str) -> str:
        value = self._value(key)
        if value is not None and not isinstance(value, str):
            raise self._error(key, value, "a text")
        return default if value is None else value

    def choice(self, key: str, default: str, allowed: tuple[str, ...]) -> str:
        value = self.text(key, default)
        found = next((each for each in allowed if each.lower() == value.lower()), None)
        if found is None:
            raise self._error(key, value, f"one of {', '.join(allowed)}")
        return found

    def integer(self, key: str, default: int, lowest: int, highest: int) -> int:
        value = self._value(key)
        if value is None:
            return default
        if isinstance(value, str) and value.strip().lstrip("-").isdigit():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
            raise self._error(key, value, f"a whole number from {lowest} to {highest}")
        return value

    def boolean(self, key: str, default: bool) -> bool:
        value = self._value(key)
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        if value is not None and not isinstance(value, bool):
            raise self._error(key, value, "true or false")
        return default if value is None else value

    def span(
        self, key: str, default: float, shortest_s: float = 0.0, unlimited: bool = False
    ) -> float | None:
        value = self._value(key)
        if value is None:
            return default
        if unlimited and value == "-1":
            return None
        seconds = parse_span(value) if isinstance(value, str) else None
        if seconds is None or seconds < shortest_s:
            raise self._error(
                key, value, 'a time span "hh:mm:ss"' + (f" of at least {shortest_s} s" if shortest_s else "")
            )
        return seconds
