"""Stores: `open_store(url)` gives the one that the URL names."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from fleetscore.errors import SettingsError
from fleetscore.lazy_names import offer_names

if TYPE_CHECKING:
    from fleetscore.store.base import Entry, Store
    from fleetscore.store.blob import BlobStore
    from fleetscore.store.local import LocalStore
else:
    __getattr__ = offer_names(__name__, {"base": "Entry Store"})

__all__ = ["Entry", "Store", "open_store", "store_class"]


def open_store(url: str) -> Store:
    """Open the store at `file:///folder`, a plain folder path, or
    `https://account.blob.core.windows.net/container`.

    A Blob container of an emulator is written `http://127.0.0.1:10000/devstoreaccount1/container`.
    """
    return store_class(url).from_url(url)


def store_class(url: str) -> type[LocalStore] | type[BlobStore]:
    """The kind of store that the URL names; what it needs is imported now, and nothing for the other kind."""
    if url.startswith(("http://", "https://")):
        from fleetscore.store.blob import BlobStore  # imported here: a folder needs no Azure SDK

        return BlobStore
    if "://" in url and not url.startswith("file://"):
        raise SettingsError(
            f"Store URL {url!r} has an unknown scheme.",
            fix="Use file:///folder or https://account.blob.core.windows.net/container.",
            field="store",
        )
    if find_spec("fcntl") is None:
        raise SettingsError(
            f"The store {url} is a folder, which needs what Windows lacks.",
            fix="Use WSL, a Blob store, or an app: --host URL.",
            field="store",
            code="needs_wsl",
        )
    from fleetscore.store.local import LocalStore

    return LocalStore
