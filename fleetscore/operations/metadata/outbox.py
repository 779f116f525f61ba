"""Outboxes: what is still to be sent to other systems about a run or a model set; each is sent once, and
retried with back-off.

An entry is a small file that is created when there is something to send, moved to `done` when it is sent,
and to `given_up` after four days. A try is claimed before it is made, so that of several processes one
sends; each step that a receiver took is kept at once. Whatever goes wrong here never costs a run
anything.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from fleetscore.errors import ConflictError, FleetscoreError, MissingBlobError
from fleetscore.operations.notices.attempts import GIVE_UP_AFTER, back_off
from fleetscore.records import to_json
from fleetscore.store.base import Store
from fleetscore.store.paths import outbox_path
from fleetscore.store.state_files import decode_hint, decode_truth

RECEIVERS = ("lineage", "mlflow")
_WAIT = timedelta(minutes=1)
_log = logging.getLogger("fleetscore.outbox")


@dataclass(frozen=True, slots=True)
class Entry:
    """What is to be sent about `name`: `steps` that were taken, how often it failed, when it is due
    again, and why it failed last.
    """

    name: str
    since: datetime
    due: datetime
    steps: tuple[str, ...] = ()
    note: str = ""  # what the receiver calls it
    tries: int = 0
    refusal: str = ""
    schema: int = 1


Keep = Callable[[str, str], None]
"""Keeps that a step was taken, and what the receiver calls the entry ("" leaves that as it is)."""
Send = Callable[[Entry, Keep], bool]
"""Sends what is left of an entry; gives whether that is all, or more is to come later. FleetscoreError
where it is refused.
"""


def enter(store: Store, receiver: str, name: str, now: datetime) -> bool:
    """Note that something is to be sent about `name`, unless it was sent; gives whether that is new. What is
    noted already is due now, unless it was refused or is under way.
    """
    if any(store.stat(outbox_path(receiver, state, name)) is not None for state in ("done", "given_up")):
        return False
    path = outbox_path(receiver, "pending", name)
    if store.create(path, to_json(Entry(name, now, now))):
        return True
    _change(store, path, lambda kept: kept if kept.tries else replace(kept, due=min(kept.due, now)))
    return False


def send_due(store: Store, receiver: str, send: Send, now: datetime) -> int:
    """Send what is due, until the receiver refuses something; gives how many entries are sent."""
    sent = 0
    for entry in list(list_pending(store, receiver)):
        if entry.due > now:
            continue
        claimed = _claim(store, receiver, entry.name, now)
        if claimed is None:
            continue
        outcome = _try(store, receiver, claimed, send, now)
        sent += outcome is True
        if outcome is None:  # others would be refused as well, and each may take as long
            break
    return sent


def list_pending(store: Store, receiver: str) -> Iterator[Entry]:
    """The entries that wait; one that cannot be read counts as just made."""
    for found in store.list(outbox_path(receiver, "pending", "")):
        try:
            yield _read(store, found.path)[0]
        except MissingBlobError:  # sent meanwhile
            continue


def count_given_up(store: Store, receiver: str) -> int:
    """How many entries were given up."""
    return sum(1 for _ in store.list(outbox_path(receiver, "given_up", "")))


def _try(store: Store, receiver: str, entry: Entry, send: Send, now: datetime) -> bool | None:
    """Whether all is sent; None where it was refused."""
    path = outbox_path(receiver, "pending", entry.name)

    def keep(step: str, note: str) -> None:
        _change(
            store, path, lambda kept: replace(kept, steps=(*kept.steps, step), note=note or kept.note, tries=0, refusal="")
        )  # fmt: skip

    try:
        if send(entry, keep):
            _settle(store, receiver, entry.name, "done")
            return True
        _change(store, path, lambda kept: replace(kept, due=now + _WAIT, tries=0, refusal=""))
    except FleetscoreError as error:
        said = f"{error.message} {error.fix}".strip()
        _log.warning("%s: nothing was sent about %s: %s", receiver, entry.name, said)
        _change(store, path, lambda kept: replace(kept, refusal=said))
        if now - entry.since > GIVE_UP_AFTER:
            _log.error(
                "%s: nothing was ever taken about %s, which is given up: %s", receiver, entry.name, said
            )
            _settle(store, receiver, entry.name, "given_up")
        return None
    return False


def _claim(store: Store, receiver: str, name: str, now: datetime) -> Entry | None:
    """The entry with this try counted; None where another process has it."""
    path = outbox_path(receiver, "pending", name)
    try:
        entry, etag = _read(store, path)
        if entry.due > now:
            return None
        claimed = replace(entry, tries=entry.tries + 1, due=now + back_off(entry.tries + 1))
        store.replace(path, to_json(claimed), etag)
    except (ConflictError, MissingBlobError):
        return None
    return claimed


def _change(store: Store, path: str, change: Callable[[Entry], Entry]) -> None:
    while True:
        try:
            entry, etag = _read(store, path)
            changed = change(entry)
            if changed != entry:
                store.replace(path, to_json(changed), etag)
            return
        except ConflictError:
            continue
        except MissingBlobError:  # another process has settled it
            return


def _settle(store: Store, receiver: str, name: str, state: str) -> None:
    path = outbox_path(receiver, "pending", name)
    try:
        store.write(outbox_path(receiver, state, name), store.read(path))
    except MissingBlobError:
        return
    store.delete(path)


def _read(store: Store, path: str) -> tuple[Entry, str]:
    data, etag = store.read_tagged(path)
    entry = decode_hint(data, path, lambda found: decode_truth(found, path, Entry))
    name = path.rsplit("/", 1)[-1].removesuffix(".json")
    now = datetime.now(UTC)
    return entry or Entry(name, now, now - _WAIT), etag
