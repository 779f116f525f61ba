"""The store of a fleet: opened when it is first needed."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from fleetscore.errors import InputError
from fleetscore.fleet.base import FleetBase

if TYPE_CHECKING:
    from fleetscore.store.base import Store


class StoreAccess(FleetBase):
    """A fleet's store at `url`, which subclasses set."""

    url: str

    @property
    def exists(self) -> bool:
        """Whether the store is there; a folder or a container, with or without content."""
        return self.opened.exists()

    @cached_property
    def store(self) -> Store:
        """The store itself; InputError where it does not exist."""
        if not self.opened.exists():
            raise InputError(
                f"There is no store at {self.url}.",
                fix="Check the name in --store; `fleetscore samples WORKLOAD` creates a store with sample data.",
                field="store",
                code="no_store",
            )
        return self.opened

    @cached_property
    def opened(self) -> Store:
        """The store, whether or not it exists yet."""
        from fleetscore.store import open_store

        return open_store(self.url)


def absolute_store_url(url: str) -> str:
    """The URL with a relative folder made absolute, so that it means the same to a host in another folder.

    >>> absolute_store_url("https://account.blob.core.windows.net/container")
    'https://account.blob.core.windows.net/container'
    """
    if url.startswith("file:///"):
        return Path(unquote(url.removeprefix("file://"))).resolve().as_uri()
    if "://" in url:
        return url
    try:
        return Path(url).expanduser().resolve().as_uri()
    except FileNotFoundError as error:
        raise InputError(
            f"{url} is relative to a working directory that is gone.", fix="Give a whole path.", field="store"
        ) from error


def folder_of(store_url: str) -> Path | None:
    """The folder of a folder store, else None."""
    return Path(unquote(store_url.removeprefix("file://"))) if store_url.startswith("file:///") else None
