"""Compute: where shards run that the app itself does not score; `connect_compute(app)` gives the pool that
the settings name.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from fleetscore.app_settings import AppSettings

if TYPE_CHECKING:
    from fleetscore.batch.interface import Compute


def connect_compute(app: AppSettings) -> Compute:
    """The Batch pool that the settings name, connected once per process."""
    return _connect(app.batch_endpoint, app.batch_pool, app.identity_client_id)


@functools.cache
def _connect(endpoint: str, pool: str, client_id: str) -> Compute:
    # imported here: a run without Batch needs no Azure SDK
    from fleetscore.batch.azure_batch import BatchCompute

    return BatchCompute.connect(endpoint, pool, client_id)
