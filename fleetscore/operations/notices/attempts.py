"""Who may try a pending notice at a target, and when again: kept in the notice itself, so that a restart
knows.

A try is claimed before it is made. Of several processes that hold the same notice only one sends it, and
one that is killed while it sends leaves the next try to the time that the claim names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from fleetscore.errors import ConflictError, MissingBlobError
from fleetscore.operations.notices.notice import Attempt, Notice
from fleetscore.records import to_json
from fleetscore.store.base import Store
from fleetscore.store.paths import notice_path
from fleetscore.store.state_files import decode_truth

GIVE_UP_AFTER = timedelta(days=4)
# the first exceeds what the tries of one claim take
_FIRST, _LONGEST = (timedelta(minutes=4), timedelta(hours=4))


def back_off(tries: int) -> timedelta:
    """How long after that many tries the next one is due: 4 minutes, doubled up to 4 hours.

    >>> [str(back_off(tries)) for tries in (1, 2, 7, 1000)]
    ['0:04:00', '0:08:00', '4:00:00', '4:00:00']
    """
    return min(_LONGEST, _FIRST * (1 << min(tries - 1, 10)))


def claim(store: Store, notice_id: str, target: str, now: datetime) -> int:
    """Which try this is; 0 where the target has the notice, another process tries it, or it is not due."""
    claimed = 0

    def change(kept: Notice) -> Notice:
        nonlocal claimed
        last = kept.attempts.get(target, Attempt(0, now))
        claimed = 0 if target in kept.delivered or last.due > now else last.tries + 1
        if not claimed:
            return kept
        attempt = Attempt(claimed, now + back_off(claimed))
        return replace(kept, attempts={**kept.attempts, target: attempt})

    return claimed if _change(store, notice_id, change) else 0


def note_delivered(store: Store, notice_id: str, target: str) -> None:
    """Add the target to the pending notice's `delivered`, whatever else is changed meanwhile."""

    def change(kept: Notice) -> Notice:
        if target in kept.delivered:
            return kept
        return replace(kept, delivered=(*kept.delivered, target))

    _change(store, notice_id, change)


def _change(store: Store, notice_id: str, change: Callable[[Notice], Notice]) -> bool:
    """Change the pending notice, also where others change it; False where it is pending no more."""
    path = notice_path("pending", notice_id)
    while True:
        try:
            data, etag = store.read_tagged(path)
            kept = decode_truth(data, path, Notice)
            changed = change(kept)
            if changed != kept:
                store.replace(path, to_json(changed), etag)
            return True
        except ConflictError:
            continue
        except MissingBlobError:  # another process has settled it
            return False
