"""The app's settings: environment variables with defaults, ranges and a sentence each.
docs/reference/settings.md is made from this.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any

from fleetscore.errors import SettingsError


def _setting(default: Any, env: str, says: str, least: float | None = None, most: float | None = None) -> Any:
    return field(default=default, metadata={"env": env, "says": says, "least": least, "most": most})


@dataclass(frozen=True, slots=True)
class AppSettings:
    """Every setting that the code reads, once."""

    store: str = _setting(
        ".fleetscore/store", "FLEETSCORE_STORE", "URL of the store: a folder or a Blob container."
    )
    identity_client_id: str = _setting(
        "",
        "FLEETSCORE_IDENTITY_CLIENT_ID",
        "Client id of the managed identity that the app uses; empty: the default credential.",
    )
    housekeeping_schedule: str = _setting(
        "0 15 3 * * *",
        "FLEETSCORE_HOUSEKEEPING_SCHEDULE",
        "When old attempts, logs and Durable history are removed (NCRONTAB, UTC).",
    )
    parallelism: int = _setting(
        0, "FLEETSCORE_PARALLELISM", "Inline shards that may run at once; 0: one per core.", 0, 1024
    )
    inline_memory_bytes: int = _setting(
        568_000_000,
        "FLEETSCORE_INLINE_MEMORY_BYTES",
        "Most memory that one inline shard may take.",
        10_000_000,
        64e9,
    )
    inline_shard_s: float = _setting(
        60.0, "FLEETSCORE_INLINE_SHARD_S", "Seconds that one shard is packed for.", 1.0, 1800.0
    )
    batch_endpoint: str = _setting(
        "", "FLEETSCORE_BATCH_ENDPOINT", "Endpoint of the Batch account; empty: every shard is inline."
    )
    batch_pool: str = _setting("fleetscore", "FLEETSCORE_BATCH_POOL", "Pool that runs the worker image.")
    batch_image: str = _setting("", "FLEETSCORE_BATCH_IMAGE", "Worker image, with its digest.")
    batch_placement: str = _setting(
        "auto",
        "FLEETSCORE_BATCH_PLACEMENT",
        "auto: by size and cost; inline or batch: force one (auto, inline, batch).",
    )
    worker_client_id: str = _setting(
        "", "FLEETSCORE_WORKER_CLIENT_ID", "Client id of the identity that the pool's nodes carry."
    )
    hub_queue_service: str = _setting(
        "",
        "AzureWebJobsStorage__queueServiceUri",
        "Queue service of the Functions host's own storage; the doctor looks there for task hub queues that nobody takes from.",
    )
    task_hub: str = _setting(
        "fleetscore",
        "AzureFunctionsJobHost__extensions__durableTask__hubName",
        "Name of the task hub, as host.json has it.",
    )
    completion_queue: str = _setting(
        "fleetscore-completions", "FLEETSCORE_COMPLETION_QUEUE", "Storage queue of completion messages."
    )
    queue_service: str = _setting(
        "",
        "FLEETSCORE_QUEUE__queueServiceUri",
        "Queue endpoint of the data account; empty: no completion messages.",
    )
    webhook_url: str = _setting(
        "", "FLEETSCORE_WEBHOOK_URL", "Where notifications are posted; empty: nowhere."
    )
    webhook_private: int = _setting(
        0, "FLEETSCORE_WEBHOOK_PRIVATE", "1: webhooks and callbacks may lead into private networks.", 0, 1
    )
    auth: str = _setting(
        "",
        "FLEETSCORE_AUTH",
        "Who is believed at /api/entra/: easyauth: App Service authentication, and tokens; tokens: these alone; empty: nobody.",
    )
    auth_issuer: str = _setting(
        "",
        "FLEETSCORE_AUTH_ISSUER",
        "Issuer of tokens, as https://login.microsoftonline.com/TENANT/v2.0.",
    )
    auth_audience: str = _setting(
        "",
        "FLEETSCORE_AUTH_AUDIENCE",
        "Audiences of tokens, separated by commas: the client id of the app registration.",
    )

    def cores(self) -> int:
        """Inline shards that may run at once."""
        return self.parallelism or os.cpu_count() or 1


def read_app_settings(environment: Mapping[str, str] | None = None) -> AppSettings:
    """The settings of the environment (os.environ by default); SettingsError names the variable that is out
    of range or no number.
    """
    source = os.environ if environment is None else environment
    return AppSettings(**{f.name: _read(f, source) for f in fields(AppSettings)})


def _read(setting: Field[Any], source: Mapping[str, str]) -> Any:
    env = setting.metadata["env"]
    text = source.get(env, "")
    if text == "":
        return setting.default
    return text if isinstance(setting.default, str) else _number(setting, env, text)


def _number(setting: Field[Any], env: str, text: str) -> Any:
    least, most = setting.metadata["least"], setting.metadata["most"]
    number: type = type(setting.default)
    try:
        value = number(text)
    except ValueError as error:
        raise SettingsError(
            f"{env} is {text!r}.", fix=f"Expected a number from {least} to {most}.", field=env
        ) from error
    if not least <= value <= most:
        raise SettingsError(f"{env} is {text}.", fix=f"Expected a number from {least} to {most}.", field=env)
    return value
