"""Rewinding a failed orchestration: its failed calls are taken back, so that they are made again."""

import json
import sqlite3
from dataclasses import replace
from typing import Any

from devhost import records
from devhost.clock import to_micros, utc_now
from devhost.errors import RequestError
from devhost.history import event
from devhost.records import Message

_GENERIC = 17


def rewind(connection: sqlite3.Connection, instance_id: str, reason: str) -> list[str]:
    """Set a failed instance, and its failed sub-orchestrations, going again; return all their ids.

    Raises RequestError: 404 when absent, 412 when it has not failed.
    """
    instance = records.get_instance(connection, instance_id)
    if instance is None:
        raise RequestError(404, f'No orchestration with instance ID "${instance_id}" found.', is_plain=True)
    if instance.status != "Failed":
        raise RequestError(
            412,
            "The rewind operation is only supported on failed orchestration instances, but the one with "
            f"instance ID {instance_id} has status {instance.status}",
            is_plain=True,
        )
    chunks = records.history_chunks(connection, instance_id)
    events: list[dict[str, Any]] = json.loads(f"[{','.join(chunks)}]")
    rewound, children = take_back(events, reason)
    connection.execute("DELETE FROM history WHERE instance = ?", (instance_id,))
    text = ",".join(json.dumps(each, ensure_ascii=False) for each in rewound)
    connection.execute("INSERT INTO history VALUES (?, 0, ?)", (instance_id, text))
    now_us = to_micros(utc_now())
    records.put_instance(
        connection, replace(instance, status="Running", output=None, details=None, updated=now_us)
    )
    message = Message(instance_id, None, _GENERIC, event(_GENERIC, now_us, Data=reason))
    records.put_messages(connection, [message])
    woken = [instance_id]
    for child in children:
        found = records.get_instance(connection, child)
        if found is not None and found.status == "Failed":
            woken += rewind(connection, child, reason)
    return woken


def take_back(events: list[dict[str, Any]], reason: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Replace failures, the calls that failed and the failed end by generic events; also return failed
    children.
    """
    failed_tasks = {each["TaskScheduledId"] for each in events if each["EventType"] == 6}
    failed_children = {each["TaskScheduledId"] for each in events if each["EventType"] == 9}
    children = [
        each["InstanceId"] for each in events if each["EventType"] == 7 and each["EventId"] in failed_children
    ]
    rewound = []
    for each in events:
        number = each["EventType"]
        if number in (1, 6, 9) or (number == 4 and each["EventId"] in failed_tasks):
            kept = {key: each[key] for key in ("EventId", "IsPlayed", "Timestamp")}
            rewound.append({"EventType": _GENERIC, **kept, "Data": f"Rewound: {reason}"})
        else:
            rewound.append(each)
    return rewound, children
