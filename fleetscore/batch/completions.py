"""Completions: how a worker says that shards are committed. A few messages a run, however many shards: one
a group.

Shards on Batch are dealt into at most 32 groups. A worker that has committed a shard marks it in its
group's folder; the one that finds the group whole sends its message. Marks come before the look, so the
last one always sees all: a message may be sent twice, never not at all.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from fleetscore.app_settings import AppSettings
from fleetscore.errors import InputError
from fleetscore.store.base import Store
from fleetscore.store.paths import run_path
from fleetscore.typed_json import decode_json

GROUPS = 32
NO_GROUP = -1
_log = logging.getLogger("fleetscore.completions")


@dataclass(frozen=True, slots=True)
class Completion:
    """What a message says: a group of the run's shards is committed; with NO_GROUP, that one of them was
    given up.
    """

    run: str
    group: int
    schema: int = 1


def group_of(position: int, shards: int) -> int:
    """The group of the shard at `position` among the `shards` that are on Batch.

    >>> [group_of(p, 4) for p in range(4)], group_of(999, 1000)
    ([0, 1, 2, 3], 31)
    """
    return position * min(shards, GROUPS) // shards


def members_of(group: int, shards: int) -> int:
    """How many of the `shards` on Batch are in the group.

    >>> [members_of(g, 40) for g in range(32)].count(2), sum(members_of(g, 40) for g in range(32))
    (8, 40)
    """
    return sum(group_of(position, shards) == group for position in range(shards))


def announce(store: Store, app: AppSettings, run: str, shard: int, offloaded: Sequence[int]) -> bool:
    """Mark the committed shard, and send the group's message if it is whole now; gives whether one was
    sent.
    """
    group = group_of(offloaded.index(shard), len(offloaded))
    folder = run_path(run, f"completions/{group:02d}/")
    store.create(f"{folder}{shard:05d}", b"")
    whole = sum(1 for _ in store.list(folder)) >= members_of(group, len(offloaded))
    return whole and wake(app, run, group)


def announced_shards(store: Store, run: str) -> set[int]:
    """The shards that were marked: committed for certain, though a committed one may not be marked yet."""
    return {int(entry.path.rsplit("/", 1)[1]) for entry in store.list(run_path(run, "completions/"))}


def wake(app: AppSettings, run: str, group: int = NO_GROUP) -> bool:
    """Send a message that has the run look after its shards; False where there is no queue."""
    if not app.queue_service:
        return False
    from fleetscore.store.queue import send

    url = f"{app.queue_service.rstrip('/')}/{app.completion_queue}"
    send(url, msgspec.json.encode(Completion(run, group)))
    _log.info("%s: said that %s", run, f"group {group} is committed" if group >= 0 else "a shard is given up")
    return True


def read_completion(body: bytes) -> Completion:
    """The completion that a message holds; InputError for anything else."""
    try:
        return decode_json(body, Completion)
    except msgspec.DecodeError as error:
        raise InputError(f"This is no completion message: {error}.", field="message") from error
