"""Normal marks: the events that a user marked as normal. A mark is part of a mute's act and ends with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fleetscore.store.base import Store
from fleetscore.store.parallel_reads import side_by_side
from fleetscore.store.paths import mutes_folder
from fleetscore.store.state_files import read_truth


@dataclass(frozen=True, slots=True)
class NormalEvent:
    """An event that is normal: its id, its partition, and the times of its first and last reading (UTC)."""

    event: str
    partition: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class _Act:
    """What a mute's file says of normal events."""

    until: datetime
    normal: tuple[NormalEvent, ...] = ()
    schema: int = 1


def list_acts(store: Store, workload: str) -> list[str]:
    """The paths of the mutes that nobody ended before their time, oldest first."""
    folder = mutes_folder(workload)
    paths = [entry.path for entry in store.list(folder)]
    ended = {path.rpartition("/")[2] for path in paths if path.startswith(f"{folder}unmutes/")}
    return [p for p in paths if p.startswith(f"{folder}mutes/") and p.rpartition("/")[2] not in ended]


def list_normal_events(store: Store, workload: str, now: datetime) -> list[NormalEvent]:
    """The events that are marked as normal, each once, by id; DamagedStateError names a file that cannot be
    read.
    """
    acts = side_by_side(lambda path: read_truth(store, path, _Act), list_acts(store, workload))
    marked = {event.event: event for act in acts if act.until > now for event in act.normal}
    return [marked[event] for event in sorted(marked)]
