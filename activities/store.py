"""The app's store, opened once per process."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleetscore.store.base import Store


@functools.cache
def app_store() -> Store:
    """The store that FLEETSCORE_STORE names."""
    from fleetscore.app_settings import read_app_settings
    from fleetscore.arrow_startup import block_pandas_import
    from fleetscore.store import open_store

    block_pandas_import()
    return open_store(read_app_settings().store)
