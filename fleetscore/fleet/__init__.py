"""Fleets: the same questions and commands, answered from a store here or by an app over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fleetscore.lazy_names import offer_names

if TYPE_CHECKING:
    from fleetscore.fleet.base import FleetBase
    from fleetscore.fleet.remote import RemoteFleet
    from fleetscore.fleet.store_fleet import Fleet
else:
    __getattr__ = offer_names(__name__, {"base": "FleetBase"})

__all__ = ["FleetBase", "connect"]


def connect(url: str, *, key: str = "") -> Fleet | RemoteFleet:
    """The fleet at `url`: a folder or a Blob container is a store, an address without a path is an app.

    An app may require a function `key`. Neither is contacted before it is needed.

    >>> connect("http://localhost:7071").__class__.__name__
    'RemoteFleet'
    >>> connect("https://account.blob.core.windows.net/fleet").__class__.__name__
    'Fleet'
    """
    if key or is_app(url):
        from fleetscore.fleet.remote import RemoteFleet

        return RemoteFleet(url, key)
    from fleetscore.fleet.store_fleet import Fleet

    return Fleet(url)


def is_app(url: str) -> bool:
    """Whether the URL is the address of an app: http or https, without a path, and not a storage account's.

    >>> is_app("https://fleet.azurewebsites.net/"), is_app("http://127.0.0.1:10000/devstoreaccount1/fleet")
    (True, False)
    """
    parts = urlsplit(url)
    is_storage = (parts.hostname or "").endswith((".core.windows.net", ".core.usgovcloudapi.net"))
    return parts.scheme in ("http", "https") and parts.path in ("", "/", "/api", "/api/") and not is_storage
