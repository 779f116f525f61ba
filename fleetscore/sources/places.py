"""Where files lie: in the run's own store, or in another container or account, which a path names by its
URL.
"""

from __future__ import annotations

import functools
import re
from urllib.parse import unquote

from fleetscore.errors import StoreError
from fleetscore.store import Store, open_store

_HTTPS = re.compile(r"https://([^/]+)/([^/]+)/(.+)", re.DOTALL)
_EMULATOR = re.compile(r"(http://[^/]+/[^/]+/[^/]+)/(.+)", re.DOTALL)
_STORAGE = re.compile(
    r"[a-z0-9.-]+\.(?:core\.windows\.net|core\.usgovcloudapi\.net|core\.chinacloudapi\.cn"
    r"|storage\.azure\.net|fabric\.microsoft\.com)",
    re.IGNORECASE,
)
_ABFSS = re.compile(r"abfss://([^/@]+)@([^/]+)/(.+)", re.DOTALL)


def split_place(path: str) -> tuple[str, str]:
    """The URL of the container that a path names ("" for the run's own store), and the path inside it.

    `abfss://` and `dfs` addresses are read through the account's Blob endpoint, which serves both kinds
    of account.

    Raises ValueError for any other URL, and for hosts that are none of Azure Storage: the identity's
    token would be sent there.

    >>> split_place("abfss://lake@account.dfs.core.windows.net/raw/*.csv")
    ('https://account.blob.core.windows.net/lake', 'raw/*.csv')
    >>> split_place("data/vans/*.csv")
    ('', 'data/vans/*.csv')
    """
    if "://" not in path:
        return "", path
    if found := _ABFSS.fullmatch(path):
        return f"https://{_blob_host(found[2])}/{found[1]}", found[3]
    if found := _HTTPS.fullmatch(path):
        return f"https://{_blob_host(found[1])}/{found[2]}", found[3]
    if found := _EMULATOR.fullmatch(path):
        return found[1], found[2]
    raise ValueError(
        f"path is {path.partition('?')[0]!r}, which names no files of a container; write "
        "https://ACCOUNT.blob.core.windows.net/CONTAINER/folder/*.csv or "
        "abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/folder/*.csv, or a path in the store"
    )


def store_of(store: Store, path: str) -> tuple[Store, str]:
    """The store that holds a listed file, and the file's path in it; other containers are read with the
    app's identity.
    """
    container, inside = split_place(path)
    return (_opened(container), inside) if container else (store, path)


def explain_refusal(error: StoreError, container: str) -> StoreError:
    """The error of a listing in another container with what its account's settings have to do with it."""
    if "409" not in error.message:
        return error
    return StoreError(
        f"{container} refused to be listed: {error.message}",
        fix="An account without a hierarchical namespace that has soft delete for blobs answers 409 to abfss: "
        "name it https://ACCOUNT.blob.core.windows.net/CONTAINER/..., or turn soft delete off.",
        code=error.code,
        retry=False,
    )


def _blob_host(host: str) -> str:
    name = unquote(host)
    if _STORAGE.fullmatch(name) is None:
        raise ValueError(
            f"path names the host {name}, which is none of Azure Storage (ACCOUNT.blob.core.windows.net); the app's "
            "token is sent to no other"
        )
    return name.replace(".dfs.", ".blob.", 1)


@functools.lru_cache(maxsize=64)
def _opened(container: str) -> Store:
    return open_store(container)
