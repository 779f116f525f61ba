"""Connections to storage queues: where a binding's `connection` leads, and clients for it."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from devhost.errors import SettingsError

# Azurite's account, the same for everyone and published with it.
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_EMULATOR = (
    f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={_KEY};"
    f"QueueEndpoint=http://127.0.0.1:10001/{_ACCOUNT};"
)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def find_connection(name: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """Return (`string`, connection string) or (`identity`, queue service URL) for a binding's connection
    name.

    Looks for `AzureWebJobs<name>`, then `<name>`, among the connection strings and then the settings; else
    for the identity section `<name>__queueServiceUri`. Raises SettingsError naming what was looked for.
    """
    name = name or "AzureWebJobsStorage"
    names = [f"AzureWebJobs{name}", name]
    settings = {key.lower(): value for key, value in environment.items()}
    for key in [*(f"connectionstrings:{each}" for each in names), *names]:
        text = settings.get(key.lower())
        if text:
            return "string", _EMULATOR if text.replace(" ", "").lower().startswith(
                "usedevelopmentstorage=true"
            ) else text
    for each in names:
        url = settings.get(f"{each}__queueserviceuri".lower())
        if url:
            return "identity", url
    raise SettingsError(
        f"Storage account connection string '{names[0]}' does not exist. Make sure that it is a defined App "
        f"Setting; '{name}' and '{name}__queueServiceUri' do not exist either."
    )


def open_queue(queue: str, connection: str, environment: Mapping[str, str]) -> Any:
    """Return an asynchronous client for a queue that leaves message texts as they are.

    Raises SettingsError when the connection is missing or malformed. Imports the storage SDK, which takes 0.3
    s.
    """
    from azure.storage.queue.aio import QueueClient

    kind, where = find_connection(connection, environment)
    if kind == "string":
        try:
            return QueueClient.from_connection_string(where, queue)
        except ValueError as error:
            raise SettingsError(
                f"the connection '{connection or 'AzureWebJobsStorage'}' is malformed: {error}"
            ) from error
    return QueueClient(where, queue, credential=_identity(where))


def _identity(url: str) -> Any:
    """This process's identity; for plain http on this machine the emulator's account: it takes no tokens."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        from azure.identity.aio import DefaultAzureCredential

        return DefaultAzureCredential()
    if parts.hostname not in _LOOPBACK:
        raise SettingsError(
            f"the queue service '{url}' would be sent tokens over plain http; use https, or an emulator on "
            "this machine."
        )
    from azure.core.credentials import AzureNamedKeyCredential

    return AzureNamedKeyCredential(_ACCOUNT, _KEY)
