"""Lineage: OpenLineage's events of the app's runs, sent where OPENLINEAGE_URL says; off without it.

The address, the key and the like are the variables of the OpenLineage client. Events are made from what the
store keeps of a run and sent from its outbox, so that a receiver that is down for days misses none and no run
waits for one.
"""

from __future__ import annotations

import logging
import os
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from fleetscore.errors import MissingBlobError, StoreError
from fleetscore.operations.metadata.outbox import Entry, Keep
from fleetscore.operations.metadata.outbox_sender import Sender, is_server_address
from fleetscore.operations.outbound.posting import describe_answer
from fleetscore.records import FINAL, RunRecord
from fleetscore.runs.run_records import read_run
from fleetscore.store.base import Store

URL = "OPENLINEAGE_URL"
START, END = "START", "END"
_TIMEOUT_S, _TOTAL_S = 10.0, 30.0


def problem_of_lineage() -> str:
    """Why no event can be sent to the server that the environment names; "" where one can."""
    if not is_server_address(URL):
        return f"{URL} is no http(s) address."
    try:
        import openlineage.client.transport.http  # noqa: F401  # whether it is there
    except ImportError:
        return f"{URL} is set, but openlineage-python is not installed: pip install 'fleetscore[lineage]'"
    return ""


def _send_events(store: Store, entry: Entry, keep: Keep) -> bool:
    """Send what is left of the run's events; gives whether that was the last."""
    try:
        record = read_run(store, entry.name)
    except MissingBlobError:  # removed meanwhile
        return True
    for step in (START, END):
        if step == END and record.state not in FINAL:
            return False
        if step not in entry.steps:
            _send(_event(store, record, step))
            keep(step, "")
    return True


def _is_off() -> bool:
    return os.environ.get("OPENLINEAGE_DISABLED", "").lower() == "true"


LINEAGE = Sender("lineage", "lineage", URL, problem_of_lineage, _send_events, _is_off)
hand_over_lineage, send_lineage = LINEAGE.hand_over, LINEAGE.send_due


def _event(store: Store, record: RunRecord, step: str) -> Any:
    from fleetscore.operations.metadata.lineage_events import end_event, start_event

    namespace = os.environ.get("OPENLINEAGE_NAMESPACE") or "fleetscore"
    return (start_event if step == START else end_event)(store, record, namespace)


def _send(event: Any) -> None:
    """Send an event by the client; StoreError where it is not taken within 30 seconds."""
    outcome: list[Exception | None] = []

    def work() -> None:
        try:
            _transport().emit(event)
            outcome.append(None)
        except Exception as error:  # the client's, whatever they are
            outcome.append(error)

    sending = Thread(target=work, name="lineage event", daemon=True)
    sending.start()
    sending.join(_TOTAL_S)
    host = urlsplit(os.environ[URL]).hostname
    if not outcome:
        raise StoreError(
            f"The lineage server at {host} does not answer: nothing within {_TOTAL_S:.0f} seconds."
        )
    if outcome[0] is not None:
        raise StoreError(f"The lineage server at {host} {_reason(outcome[0])}") from None  # it names the URL


def _reason(error: Exception) -> str:
    answer = getattr(error, "response", None)
    if answer is None:
        return f"does not answer: {type(error).__name__}."
    secrets = {"authorization": os.environ.get("OPENLINEAGE_API_KEY", "")}
    said = describe_answer(answer.content, os.environ[URL], secrets)
    return f"answered {answer.status_code}{f': {said}' if said else '.'}"


def _transport() -> Any:
    """The client's own, without its retries and redirects: the outbox tries again, and a redirect would turn
    the event into a GET that is answered with 200.
    """
    import requests
    from openlineage.client.transport.http import (
        ApiKeyTokenProvider,
        HttpConfig,
        HttpTransport,
        TokenProvider,
    )

    logging.getLogger("openlineage").setLevel(logging.WARNING)  # its DEBUG lines repeat the address
    key = os.environ.get("OPENLINEAGE_API_KEY", "")
    session = requests.Session()
    session.max_redirects = 0
    config = HttpConfig(
        url=os.environ[URL],
        endpoint=os.environ.get("OPENLINEAGE_ENDPOINT") or "api/v1/lineage",
        timeout=_TIMEOUT_S,
        auth=ApiKeyTokenProvider({"api_key": key}) if key else TokenProvider({}),
        session=session,
        retry={"total": 0, "redirect": False},
    )
    return HttpTransport(config)
