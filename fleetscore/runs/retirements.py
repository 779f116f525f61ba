"""Retired partitions: those that are expected no more although they had a model or data. Each act is a
small file, written once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from fleetscore.errors import InputError
from fleetscore.records import to_json
from fleetscore.store.base import Store
from fleetscore.store.parallel_reads import side_by_side
from fleetscore.store.paths import mute_path, mutes_folder
from fleetscore.store.state_files import read_truth

FOLDER = "retired"
_WHY_LIMIT = 2_000
_KEY_LIMIT = 1_024


@dataclass(frozen=True, slots=True)
class Retirement:
    """A partition is retired, or is expected again (`retired` False); of several acts the last counts."""

    workload: str
    partition: str
    retired: bool
    why: str
    requested_by: str
    at: datetime
    schema: int = 1


def retire(
    store: Store, workload: str, partition: str, *, why: str, now: datetime, requested_by: str, retired: bool = True
) -> Retirement:  # fmt: skip
    """Write down that the partition is expected no more, or again; InputError for a key or a reason that is
    too long or empty.
    """
    if not 1 <= len(partition) <= _KEY_LIMIT or len(why) > _WHY_LIMIT:
        raise InputError(
            f"The partition has {len(partition)} characters, the reason {len(why)}.",
            fix=f"A key has 1 to {_KEY_LIMIT}, a reason at most {_WHY_LIMIT}.", field="partition",
        )  # fmt: skip
    act = Retirement(workload, partition, retired, why, requested_by, now)
    digest = hashlib.sha256(to_json(act)).hexdigest()[:8]
    store.create(mute_path(workload, FOLDER, f"{now:%Y%m%dT%H%M%S%fZ}-{digest}"), to_json(act))
    return act


def list_retired(store: Store, workload: str) -> list[Retirement]:
    """The partitions that are retired now, by key; DamagedStateError names an act that cannot be read."""
    paths = sorted(entry.path for entry in store.list(f"{mutes_folder(workload)}{FOLDER}/"))
    acts = side_by_side(lambda path: read_truth(store, path, Retirement), paths)
    last = {act.partition: act for act in acts}
    return [last[key] for key in sorted(last) if last[key].retired]
