"""Options that many commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

import click

Function = TypeVar("Function", bound=Callable[..., Any])

WORKLOAD = click.argument("workload")

store_option = click.option(
    "--store", "store_url", metavar="URL", envvar="FLEETSCORE_STORE", default=".fleetscore/store", show_default=True,
    callback=lambda _context, _option, value: absolute_store_url(value),
    help="The store: a folder, file:///folder, or https://ACCOUNT.blob.core.windows.net/CONTAINER. [env: FLEETSCORE_STORE]",
)  # fmt: skip
host_option = click.option(
    "--host", "host_url", metavar="URL", default="",
    help="A function app that runs already; without it the command uses the local host of the store, and starts it if need be.",
)  # fmt: skip
asking_host_option = click.option(
    "--host",
    "host_url",
    metavar="URL",
    default="",
    help="Ask this function app instead of the store.",
)
key_option = click.option(
    "--key", metavar="KEY", envvar="FLEETSCORE_KEY", default="",
    help="Function key of the app at --host. [env: FLEETSCORE_KEY]",
)  # fmt: skip
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
from_option = click.option("--from", "first", required=True, metavar="WINDOW", help="The first window.")
to_option = click.option("--to", "stop", required=True, metavar="WINDOW", help="The window after the last.")


def starting_options(function: Function) -> Function:
    """The options of a command that starts something on a host: --store, --host, --key, --json."""
    return store_option(host_option(key_option(json_option(function))))


def asking_options(function: Function) -> Function:
    """The options of a command that one call answers, of the store or of an app: --store, --host, --key, --json."""
    return store_option(asking_host_option(key_option(json_option(function))))


def absolute_store_url(url: str) -> str:
    """The URL with a relative folder made absolute, so that it means the same to a host in another folder; others as they are.

    >>> absolute_store_url("https://account.blob.core.windows.net/container")
    'https://account.blob.core.windows.net/container'
    """
    if url.startswith("file:///"):
        return Path(unquote(url.removeprefix("file://"))).resolve().as_uri()
    if "://" in url:
        return url
    return Path(url).expanduser().resolve().as_uri()
