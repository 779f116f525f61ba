"""Callbacks: an address that is called once when a run has ended, in the form of Data Factory's
WebHook activity.
"""

from __future__ import annotations

import hashlib
import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import msgspec

from fleetscore.app_settings import AppSettings
from fleetscore.errors import ConflictError, DamagedStateError, FleetscoreError, InputError, MissingBlobError
from fleetscore.operations.outbound.posting import check_address, post_json
from fleetscore.records import FINAL, RunRecord, RunState, to_json
from fleetscore.runs.run_records import read_run
from fleetscore.store.base import Store
from fleetscore.store.state_files import decode_truth, read_truth

FOLDER = "callbacks/"
_GIVE_UP_AFTER = timedelta(hours=24)
_CALL_LIMIT = timedelta(minutes=5)  # a process that called for longer was killed at it
_log = logging.getLogger("fleetscore.callbacks")


@dataclass(frozen=True, slots=True)
class Callback:
    """A run and the address to call at its end; the address is a secret and appears in no log or message."""

    run: str
    address: str
    requested: datetime
    schema: int = 1
    calling: datetime | None = None  # since when a process calls it; no other does for a while


def request_callback(store: Store, app: AppSettings, run: str, address: str, now: datetime) -> None:
    """Store the address for the run, beside those of other callers; InputError when it may not be called."""
    try:
        check_address(address, allow_private=bool(app.webhook_private))
    except InputError as error:
        raise InputError(error.message, fix=error.fix, field="callBackUri") from error
    data = to_json(Callback(run, address, now))
    if not store.create(f"{FOLDER}{run}.json", data) and not _waits(store, run, address):
        store.write(f"{FOLDER}{run}.{hashlib.sha256(address.encode()).hexdigest()[:12]}.json", data)


def _waits(store: Store, run: str, address: str) -> bool:
    """Whether the first address of the run that waits is this one; False where it cannot be read."""
    with suppress(MissingBlobError, DamagedStateError):
        return read_truth(store, f"{FOLDER}{run}.json", Callback).address == address
    return False


def answer_callbacks(store: Store, app: AppSettings, now: datetime) -> int:
    """Call every address whose run has ended, each once; what is not taken is tried again for a day. Gives
    how many were taken.
    """
    taken = 0
    for entry in list(store.list(FOLDER)):
        try:
            taken += _answer(store, app, entry.path, now)
        except FleetscoreError as error:  # one bad callback never keeps back the others
            _log.warning("The callback at %s was not taken: %s", entry.path, error)
    return taken


def describe_ending(record: RunRecord) -> bytes:
    """What the WebHook activity of Data Factory expects: `statusCode` decides, `Error` says why, `Output`
    is for the pipeline.
    """
    output = {
        "run": record.request.run,
        "state": str(record.state),
        "counts": dict(record.counts),
        "rows": record.rows,
        "manifest": record.manifest,
    }
    if record.state is RunState.PUBLISHED:
        return msgspec.json.encode({"Output": output, "statusCode": "200"})
    failure = {
        "ErrorCode": f"run_{record.state}",
        "Message": record.error or f"The run ended {record.state}.",
    }
    return msgspec.json.encode({"Output": output, "Error": failure, "statusCode": "500"})


def _ending_of(store: Store, callback: Callback, now: datetime) -> tuple[bytes, datetime] | None:
    """What to send, and since when; None while the run is under way. A record that is lost, or has been
    damaged for a day, is sent as the error that it is.
    """
    try:
        record = read_run(store, callback.run)
    except MissingBlobError as error:
        return _describe_loss(callback, error), callback.requested
    except DamagedStateError as error:
        if now - callback.requested < _GIVE_UP_AFTER:
            raise  # it may be repaired
        return _describe_loss(callback, error), callback.requested
    if record.state not in FINAL:
        return None
    return describe_ending(record), record.ended or callback.requested


def _describe_loss(callback: Callback, error: FleetscoreError) -> bytes:
    _log.error("The record of %s is lost, and its callback is told so: %s", callback.run, error)
    failure = {"ErrorCode": "run_lost", "Message": f"The record of {callback.run} is lost. {error.message}"}
    return msgspec.json.encode({"Output": {"run": callback.run}, "Error": failure, "statusCode": "500"})


def _answer(store: Store, app: AppSettings, path: str, now: datetime) -> bool:
    try:
        data, etag = store.read_tagged(path)
    except MissingBlobError:
        return False  # another process has called it since it was listed
    callback = decode_truth(data, path, Callback)
    if callback.calling and now - callback.calling < _CALL_LIMIT:
        return False
    ending = _ending_of(store, callback, now)
    if ending is None:
        return False
    body, since = ending
    try:
        etag = store.replace(path, to_json(replace(callback, calling=now)), etag)
    except ConflictError:
        return False  # another process calls it at this moment
    try:
        post_json(callback.address, body, allow_private=bool(app.webhook_private))
    except FleetscoreError as error:
        if now - since < _GIVE_UP_AFTER:
            store.replace(path, to_json(callback), etag)
            raise
        _log.error("The callback of %s was never taken and is given up: %s", callback.run, error)
    store.delete(path)
    return True
