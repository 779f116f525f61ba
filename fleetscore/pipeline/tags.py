"""Tags of a workload on what its runs leave behind, for reports on who paid for what."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fleetscore.errors import FleetscoreError
from fleetscore.registry import read_policy
from fleetscore.store.base import Store

_log = logging.getLogger("fleetscore.tags")


def tag_facts(store: Store, workload: str) -> Mapping[str, Any]:
    """The fact `tags` of a run that ends now; none without tags, and none where the settings cannot be read
    any more.
    """
    try:
        tags = dict(read_policy(store, workload).tags)
    except FleetscoreError as error:  # what is only for reports never keeps a run from ending
        _log.warning("a run of %s ends without tags: %s", workload, error)
        return {}
    return {"tags": tags} if tags else {}
