"""Operations on the database: each a function of a connection, atomic within its transaction.

Rows are read and written here and nowhere else. Times are microseconds since 1970, UTC.
"""

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from devhost.errors import RequestError
from devhost.history import event

ENDED = ("Completed", "Failed", "Canceled", "Terminated")
_STARTED, _TERMINATED, _SUSPENDED, _RESUMED = 0, 3, 19, 20
_INSTANCE_COLUMNS = (
    "id, execution, name, version, status, input, output, details, custom_status, created, updated, "
    "parent, parent_execution, parent_task, parent_name, clock"
)


@dataclass(frozen=True, slots=True)
class Instance:
    """One orchestration instance, as stored."""

    id: str
    execution: str
    name: str
    version: str | None
    status: str
    input: str | None
    output: str | None
    details: str | None
    custom_status: str | None
    created: int
    updated: int
    parent: str | None = None
    parent_execution: str | None = None
    parent_task: int | None = None
    parent_name: str | None = None
    clock: int = 0

    @property
    def has_ended(self) -> bool:
        """True for a terminal status."""
        return self.status in ENDED


@dataclass(frozen=True, slots=True)
class Message:
    """Something for an instance: a history event that becomes deliverable at `due`."""

    instance: str
    execution: str | None
    type: int
    event: str
    due: int = 0
    n: int = 0


@dataclass(frozen=True, slots=True)
class Task:
    """An activity call that waits to be run."""

    n: int
    instance: str
    execution: str
    id: int
    name: str
    input: str | None


@dataclass(frozen=True, slots=True)
class Start:
    """A new instance and the event that starts it."""

    instance: Instance
    event: str


@dataclass(frozen=True, slots=True)
class Work:
    """What one episode starts from: the instance, its history in chunks, and the messages to deliver."""

    instance: Instance
    history: list[str]
    messages: list[Message]
    stale: list[int]
    is_suspended: bool
    suspend_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Commit:
    """Everything that one episode decides; stored in one transaction or not at all."""

    instance: str
    execution: str
    episode: int
    consumed: list[int]
    chunk: str
    changed: Instance
    tasks: list[tuple[int, str, str | None]] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    children: list[Start] = field(default_factory=list)
    restart: str | None = None


def get_instance(connection: sqlite3.Connection, instance_id: str) -> Instance | None:
    """Return the instance, or None."""
    query = f"SELECT {_INSTANCE_COLUMNS} FROM instance WHERE id = ?"  # noqa: S608  # our own column names
    row = connection.execute(query, (instance_id,)).fetchone()
    return Instance(*row) if row else None


def require(connection: sqlite3.Connection, instance_id: str) -> Instance:
    """Return the instance; raises RequestError 404 with no text."""
    found = get_instance(connection, instance_id)
    if found is None:
        raise RequestError(404)
    return found


def require_live(connection: sqlite3.Connection, instance_id: str) -> Instance:
    """Return the instance; raises RequestError 404 when absent and 410 when it has ended."""
    found = require(connection, instance_id)
    if found.has_ended:
        raise RequestError(410)
    return found


def put_instance(connection: sqlite3.Connection, instance: Instance) -> None:
    """Insert or replace the row."""
    values = tuple(getattr(instance, column) for column in _INSTANCE_COLUMNS.split(", "))
    marks = ",".join("?" * len(values))
    query = f"INSERT OR REPLACE INTO instance ({_INSTANCE_COLUMNS}) VALUES ({marks})"  # noqa: S608  # our own
    connection.execute(query, values)


def put_messages(connection: sqlite3.Connection, messages: Iterable[Message]) -> None:
    """Add messages in order."""
    connection.executemany(
        "INSERT INTO inbox (instance, execution, type, due, event) VALUES (?, ?, ?, ?, ?)",
        [(each.instance, each.execution, each.type, each.due, each.event) for each in messages],
    )


def start_instance(connection: sqlite3.Connection, start: Start, may_overwrite: bool) -> None:
    """Store a new instance as Pending; an ended one of the same id is overwritten, a live one refused."""
    existing = get_instance(connection, start.instance.id)
    if existing is not None:
        if not existing.has_ended and not may_overwrite:
            raise RequestError(
                409, f"An Orchestration instance with the status {existing.status} already exists."
            )
        forget(connection, [existing.id])
    put_instance(connection, start.instance)
    message = Message(start.instance.id, start.instance.execution, _STARTED, start.event)
    put_messages(connection, [message])


def forget(connection: sqlite3.Connection, instance_ids: list[str]) -> int:
    """Delete instances with all that belongs to them; return how many there were."""
    rows = [(each,) for each in instance_ids]
    connection.executemany("DELETE FROM history WHERE instance = ?", rows)
    connection.executemany("DELETE FROM inbox WHERE instance = ?", rows)
    connection.executemany("DELETE FROM task WHERE instance = ?", rows)
    return connection.executemany("DELETE FROM instance WHERE id = ?", rows).rowcount


def history_chunks(connection: sqlite3.Connection, instance_id: str) -> list[str]:
    """Return the events of every episode, joined by commas, oldest first."""
    rows = connection.execute(
        "SELECT events FROM history WHERE instance = ? ORDER BY episode", (instance_id,)
    )
    return [row[0] for row in rows]


def load_work(connection: sqlite3.Connection, instance_id: str, now_us: int) -> Work | None:
    """Return what the next episode of the instance starts from, or None when there is nothing to deliver."""
    instance = get_instance(connection, instance_id)
    rows = connection.execute(
        "SELECT instance, execution, type, event, due, n FROM inbox WHERE instance = ? AND due <= ? "
        "ORDER BY type <> 0, n",
        (instance_id, now_us),
    )
    messages = [Message(*row) for row in rows]
    if instance is None or not messages:
        return None
    if instance.has_ended:
        return Work(instance, [], [], [each.n for each in messages], False)
    stale = [each.n for each in messages if each.execution not in (None, instance.execution)]
    fresh = [each for each in messages if each.execution in (None, instance.execution)]
    turns = [each for each in fresh if each.type in (_SUSPENDED, _RESUMED)]
    is_suspended = turns[-1].type == _SUSPENDED if turns else instance.status == "Suspended"
    reason = json.loads(turns[-1].event).get("Reason") if turns else instance.output
    chunks = history_chunks(connection, instance_id)
    return Work(instance, chunks, fresh, stale, is_suspended, reason)


def drop_messages(connection: sqlite3.Connection, numbers: list[int]) -> None:
    """Delete messages that are never read."""
    connection.executemany("DELETE FROM inbox WHERE n = ?", [(each,) for each in numbers])


def commit_episode(connection: sqlite3.Connection, commit: Commit) -> list[str]:
    """Store an episode; return the ids of other instances that now have work.

    Does nothing when the instance was purged or overwritten meanwhile.
    """
    current = get_instance(connection, commit.instance)
    if current is None or current.execution != commit.execution:
        return []
    drop_messages(connection, commit.consumed)
    if commit.restart is not None:
        connection.execute("DELETE FROM history WHERE instance = ?", (commit.instance,))
        connection.execute(
            "DELETE FROM inbox WHERE instance = ? AND execution = ?", (commit.instance, commit.execution)
        )
        put_messages(
            connection, [Message(commit.instance, commit.changed.execution, _STARTED, commit.restart)]
        )
    else:
        connection.execute(
            "INSERT INTO history VALUES (?, ?, ?)", (commit.instance, commit.episode, commit.chunk)
        )
    put_instance(connection, commit.changed)
    connection.executemany(
        "INSERT INTO task (instance, execution, id, name, input) VALUES (?, ?, ?, ?, ?)",
        [(commit.instance, commit.execution, *task) for task in commit.tasks],
    )
    woken = _deliver(connection, commit.messages)
    for child in commit.children:
        woken.append(_start_child(connection, child))
    if commit.changed.has_ended:
        connection.execute("DELETE FROM inbox WHERE instance = ?", (commit.instance,))
    return woken


def _deliver(connection: sqlite3.Connection, messages: list[Message]) -> list[str]:
    """Add messages for instances that are still there; return the ids of those that have work now."""
    wanted = {each.instance for each in messages}
    present = {each for each in wanted if get_instance(connection, each) is not None}
    delivered = [each for each in messages if each.instance in present]
    put_messages(connection, delivered)
    return list(dict.fromkeys(each.instance for each in delivered if each.due == 0))


def _start_child(connection: sqlite3.Connection, child: Start) -> str:
    """Start a sub-orchestration; where its id is taken by a live instance, fail the call."""
    try:
        start_instance(connection, child, may_overwrite=False)
    except RequestError as refusal:
        new = child.instance
        failed = event(9, new.created, TaskScheduledId=new.parent_task, Reason=refusal.message, Details=None)
        parent = str(new.parent)
        put_messages(connection, [Message(parent, new.parent_execution, 9, failed)])
        return parent
    return child.instance.id


def finish_task(connection: sqlite3.Connection, task: Task, type_: int, text: str) -> bool:
    """Exchange a task for its result, once; False when the instance no longer waits for it."""
    deleted = connection.execute("DELETE FROM task WHERE n = ?", (task.n,)).rowcount
    instance = get_instance(connection, task.instance)
    if not deleted or instance is None or instance.execution != task.execution or instance.has_ended:
        return False
    put_messages(connection, [Message(task.instance, task.execution, type_, text)])
    return True


def load_tasks(connection: sqlite3.Connection, after_n: int, limit: int) -> list[Task]:
    """Return waiting tasks in the order in which they were scheduled, after that number."""
    rows = connection.execute(
        "SELECT n, instance, execution, id, name, input FROM task WHERE n > ? ORDER BY n LIMIT ?",
        (after_n, limit),
    )
    return [Task(*row) for row in rows]


def pending_instances(connection: sqlite3.Connection) -> list[tuple[str, int]]:
    """Return (instance, earliest due) of everything in the inbox, for a start."""
    return [tuple(row) for row in connection.execute("SELECT instance, due FROM inbox ORDER BY n")]


def next_due(connection: sqlite3.Connection, instance_id: str) -> int | None:
    """Return when the earliest message of an instance is due, or None."""
    query = "SELECT min(due) FROM inbox JOIN instance ON instance.id = inbox.instance WHERE instance.id = ?"
    (due,) = connection.execute(query, (instance_id,)).fetchone()
    return None if due is None else int(due)


def send(connection: sqlite3.Connection, instance_id: str, type_: int, text: str) -> None:
    """Add a message from outside to a live instance; raises RequestError 404 or 410."""
    require_live(connection, instance_id)
    put_messages(connection, [Message(instance_id, None, type_, text)])


def suspend_or_resume(connection: sqlite3.Connection, instance_id: str, type_: int, text: str) -> None:
    """Add a suspension or resumption; raises RequestError 404, 410, or 500 when it is so already."""
    instance = require_live(connection, instance_id)
    row = connection.execute(
        "SELECT type FROM inbox WHERE instance = ? AND type IN (19, 20) ORDER BY n DESC LIMIT 1",
        (instance_id,),
    ).fetchone()
    is_suspended = row[0] == _SUSPENDED if row else instance.status == "Suspended"
    if is_suspended == (type_ == _SUSPENDED):
        verb = "suspend" if is_suspended else "resume"
        raise RequestError(
            500,
            "Something went wrong while processing your request",
            f"Cannot {verb} the orchestration instance {instance_id} because instance is in the "
            f"{'Suspended' if is_suspended else instance.status} state.",
            "System.InvalidOperationException",
        )
    put_messages(connection, [Message(instance_id, None, type_, text)])


@dataclass(frozen=True, slots=True)
class Filter:
    """Which instances to list or purge; times in microseconds, both ends included."""

    created_from: int | None = None
    created_to: int | None = None
    statuses: tuple[str, ...] | None = None
    prefix: str = ""

    def where(self) -> tuple[str, list[object]]:
        """Return the SQL condition and its values."""
        terms, values = ["1"], []  # type: tuple[list[str], list[object]]
        if self.created_from is not None:
            terms.append("created >= ?")
            values.append(self.created_from)
        if self.created_to is not None:
            terms.append("created <= ?")
            values.append(self.created_to)
        if self.statuses is not None:
            terms.append(f"status IN ({','.join('?' * len(self.statuses))})")
            values += self.statuses
        if self.prefix:
            terms.append("substr(id, 1, ?) = ?")
            values += [len(self.prefix), self.prefix]
        return " AND ".join(terms), values


def list_instances(
    connection: sqlite3.Connection, wanted: Filter, after_id: str, limit: int
) -> list[Instance]:
    """Return matching instances in the order of their ids, after that id."""
    where, values = wanted.where()
    rows = connection.execute(
        f"SELECT {_INSTANCE_COLUMNS} FROM instance WHERE {where} AND id > ? "  # noqa: S608  # our own columns
        "ORDER BY id LIMIT ?",
        [*values, after_id, limit],
    )
    return [Instance(*row) for row in rows]


def purge(connection: sqlite3.Connection, wanted: Filter) -> int:
    """Delete matching instances that have ended; return how many."""
    ended = tuple(each for each in wanted.statuses or ENDED if each in ENDED)
    where, values = replace(wanted, statuses=ended).where()
    query = f"SELECT id FROM instance WHERE {where}"  # noqa: S608  # our own conditions
    rows = connection.execute(query, values)
    return forget(connection, [row[0] for row in rows])


def purge_one(connection: sqlite3.Connection, instance_id: str) -> int:
    """Delete one instance; return 1, or 0 for one that is not there. Raises RequestError 412 for one that
    runs.
    """
    instance = get_instance(connection, instance_id)
    if instance is None:
        return 0
    if not instance.has_ended:
        raise RequestError(
            412,
            "Only orchestrations in a terminal state can be purged, but the orchestration with instance ID "
            f"{instance_id} has status {instance.status}",
            is_plain=True,
        )
    return forget(connection, [instance_id])
