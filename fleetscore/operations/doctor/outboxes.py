"""What the doctor finds about lineage and experiments: what waits to be sent, what was given up, and what the
receiver answered last.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from fleetscore.operations.doctor.findings import Finding
from fleetscore.operations.metadata.experiments import EXPERIMENTS
from fleetscore.operations.metadata.lineage import LINEAGE
from fleetscore.operations.metadata.outbox import count_given_up, list_pending
from fleetscore.operations.metadata.outbox_sender import Sender
from fleetscore.store.base import Store

_UNSENT = timedelta(minutes=10)  # the app tries what is due each minute


def find_trouble_of_lineage(store: Store, now: datetime) -> Iterator[Finding]:
    """Whether events of runs wait for the lineage server; nothing where none is named."""
    return _judge(store, LINEAGE, "runs", now)


def find_trouble_of_experiments(store: Store, now: datetime) -> Iterator[Finding]:
    """Whether model sets wait for the tracking server; nothing where none is named."""
    return _judge(store, EXPERIMENTS, "model sets", now)


def _judge(store: Store, sender: Sender, what: str, now: datetime) -> Iterator[Finding]:
    if sender.is_on():
        yield _finding(store, sender, what, now)


def _finding(store: Store, sender: Sender, what: str, now: datetime) -> Finding:
    receiver, variable = sender.receiver, sender.variable
    if problem := sender.problem():
        return Finding(receiver, "warning", problem, f"Correct or unset {variable}. No run waits for it.")
    waiting = [entry for entry in list_pending(store, receiver) if entry.refusal or now - entry.due > _UNSENT]
    given_up = count_given_up(store, receiver)
    if not waiting and not given_up:
        return Finding(receiver, "ok", f"No {what} wait for the server of {variable}.")
    last = max(waiting, key=lambda entry: (bool(entry.refusal), entry.due)).refusal if waiting else ""
    last = last or ("Nothing tries to send them: does the app run?" if waiting else "")
    detail = f"{len(waiting)} {what} wait for the server of {variable}, {given_up} were given up. {last}"
    fix = f"Correct {variable}, or the server. What waits is tried again by itself, for four days."
    return Finding(receiver, "warning", detail.strip(), fix)
