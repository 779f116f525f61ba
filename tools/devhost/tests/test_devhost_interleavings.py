"""Random interleavings of completions, events, timers, suspensions and crashes against a model.

Programs are made at random and interpreted by one orchestrator on the real SDK. What a program must return
follows from its steps alone, whatever the order in which things happen and however often an episode is lost
before its commit. The store, the episodes and the commits are the host's own; only processes and the clock
are left out.
"""

import json
import sqlite3
import tempfile
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import azure.durable_functions as df
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from devhost import records, store
from devhost.commits import make_commit, new_instance, request_body
from devhost.decisions import TERMINATED
from devhost.episode import Episode, run_episode
from devhost.functions import FunctionIndex, FunctionInfo
from devhost.history import event, parse
from devhost.settings import HostSettings

_ATTEMPTS = 3
_EXPECTED_ENDS = ("Completed", "Terminated")


def _program(context: df.DurableOrchestrationContext) -> Any:
    """Interpret the input, a list of [kind, argument] steps, and return each step's result."""
    results = []
    for kind, argument in context.get_input():
        if kind == "call":
            results.append((yield context.call_activity("work", argument)))
        elif kind == "retry":
            options = df.RetryOptions(1000, _ATTEMPTS)
            results.append((yield context.call_activity_with_retry("work", options, argument)))
        elif kind == "all":
            results.append(
                (yield context.task_all([context.call_activity("work", each) for each in argument]))
            )
        elif kind == "race":
            tasks = [context.call_activity("work", each) for each in argument]
            winner = yield context.task_any(tasks)
            results.append(winner.result in argument)
        elif kind == "sub":
            results.append((yield context.call_sub_orchestrator("program", argument)))
        elif kind == "timer":
            yield context.create_timer(context.current_utc_datetime + timedelta(seconds=argument))
            results.append(argument)
        elif kind == "event":
            results.append((yield context.wait_for_external_event(argument)))
        elif kind == "impatient":
            timer = context.create_timer(context.current_utc_datetime + timedelta(days=1))
            task = context.call_activity("work", argument)
            yield context.task_any([timer, task])
            timer.cancel()
            results.append("in time")
    return results


def _expected(program: list[Any]) -> list[Any]:
    """The model: what a program returns, from its steps alone."""
    constant = {"race": True, "impatient": "in time"}
    return [
        _expected(argument) if kind == "sub" else constant.get(kind, argument) for kind, argument in program
    ]


def _function(name: str, kind: str) -> FunctionInfo:
    return FunctionInfo(name, {"type": kind, "name": "x", "direction": "in"}, [])


_INDEX = FunctionIndex([_function("work", "activityTrigger"), _function("program", "orchestrationTrigger")])
_HANDLE = df.Orchestrator.create(_program)

_numbers = st.integers(0, 9)
_leaf = st.one_of(
    st.tuples(st.just("call"), _numbers),
    st.tuples(st.just("retry"), st.integers(0, _ATTEMPTS - 1).map(lambda failures: f"fails {failures}")),
    st.tuples(st.just("all"), st.lists(_numbers, min_size=1, max_size=4)),
    st.tuples(st.just("race"), st.lists(_numbers, min_size=1, max_size=3, unique=True)),
    st.tuples(st.just("timer"), st.integers(0, 100)),
    st.tuples(st.just("impatient"), _numbers),
    st.tuples(st.just("event"), st.just("")),
)
_step = st.one_of(
    _leaf, st.tuples(st.just("sub"), st.lists(_leaf.filter(lambda step: step[0] != "event"), max_size=3))
)


def _name_events(program: list[Any]) -> list[Any]:
    """Give every awaited event a name of its own: the SDK hands one early event to every wait of its name."""
    return [
        ["event", f"event-{n}"] if kind == "event" else [kind, value]
        for n, (kind, value) in enumerate(program)
    ]


class Interleavings(RuleBasedStateMachine):
    """One instance, with its children, under every order of things."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.database = store._connect(Path(self.folder.name) / "db.sqlite")
        store._create(self.database, Path(self.folder.name))
        self.now_us = 1_000_000_000_000_000
        self.attempts: Counter[tuple[str, str]] = Counter()
        self.raised: set[str] = set()
        self.histories: dict[str, list[str]] = {}
        self.ends: dict[str, str] = {}
        self.terminated = False
        self.suspended = False

    @initialize(program=st.lists(_step, min_size=1, max_size=5))
    def start(self, program: list[Any]) -> None:
        """Start the instance."""
        self.program = _name_events(program)
        started = new_instance("program", "root", json.dumps(json.dumps(self.program)), self.now_us, "")
        self._transact(records.start_instance, started, False)

    def _transact(self, function: Any, *arguments: Any) -> Any:
        self.database.execute("BEGIN")
        try:
            result = function(self.database, *arguments)
        except BaseException:
            self.database.execute("ROLLBACK")
            raise
        self.database.execute("COMMIT")
        return result

    # -- what can happen -------------------------------------------------------------------------------------

    @rule(data=st.data(), is_lost=st.booleans())
    def run_one_episode(self, data: st.DataObject, is_lost: bool) -> None:
        """Run an episode of an instance that has messages; a lost one dies before its commit."""
        waiting = sorted(
            {name for name, due in records.pending_instances(self.database) if due <= self.now_us}
        )
        if waiting:
            self._episode(data.draw(st.sampled_from(waiting)), is_lost)

    def _episode(self, instance_id: str, is_lost: bool = False) -> None:
        work = records.load_work(self.database, instance_id, self.now_us)
        if work is None:
            return
        if work.stale:
            self._transact(records.drop_messages, work.stale)
        if not work.messages:
            return
        at_us = max(self.now_us, work.instance.clock)
        texts = [event(12, at_us), *(each.event for each in work.messages)]
        if any(each.type == 3 for each in work.messages):
            episode = Episode(TERMINATED, "enough")
        else:
            body = request_body(work.instance, work.history, texts)
            episode = run_episode("program", _HANDLE, body, _INDEX)
        assert episode.status != "Failed", episode.output
        commit = make_commit(work, texts, episode, at_us, HostSettings())
        if not is_lost:
            self._transact(records.commit_episode, commit)

    @rule(data=st.data(), is_repeated=st.booleans())
    def finish_a_task(self, data: st.DataObject, is_repeated: bool) -> None:
        """Finish any waiting activity, perhaps twice; a retried one fails as often as its input says."""
        tasks = records.load_tasks(self.database, 0, 1000)
        if tasks:
            self._finish(data.draw(st.sampled_from(tasks)), is_repeated)

    def _finish(self, task: records.Task, is_repeated: bool = False) -> None:
        key = (task.instance + task.execution, str(task.input))
        failures = int(task.input.split()[1].strip('"')) if task.input and "fails" in task.input else 0
        self.attempts[key] += 1
        if self.attempts[key] <= failures:
            text = event(6, self.now_us, TaskScheduledId=task.id, Reason="failed", Details="")
            number = 6
        else:
            text = event(5, self.now_us, TaskScheduledId=task.id, Result=task.input)
            number = 5
            self.attempts[key] = 0
        self._transact(records.finish_task, task, number, text)
        if is_repeated:
            assert not self._transact(records.finish_task, task, number, text)

    @rule(seconds=st.integers(0, 50))
    def let_time_pass(self, seconds: int) -> None:
        """Move the clock on, or a little back."""
        self.now_us += (seconds - 5) * 1_000_000

    @precondition(lambda self: any(kind == "event" for kind, _ in self.program))
    @rule(data=st.data())
    def raise_an_event(self, data: st.DataObject) -> None:
        """Send one of the events that the program waits for, in any order, early or late."""
        names = [name for kind, name in self.program if kind == "event"]
        self._raise(data.draw(st.sampled_from(names)))

    def _raise(self, name: str) -> None:
        instance = records.require(self.database, "root")
        if name not in self.raised and not instance.has_ended:
            self.raised.add(name)
            text = event(15, self.now_us, Name=name, Input=f'"{name}"')
            self._transact(records.send, "root", 15, text)

    @precondition(lambda self: not self.terminated)
    @rule(is_suspension=st.booleans())
    def suspend_or_resume(self, is_suspension: bool) -> None:
        """Suspend or resume, where that is allowed."""
        instance = records.require(self.database, "root")
        if is_suspension != self.suspended and not instance.has_ended:
            self.suspended = is_suspension
            number = 19 if is_suspension else 20
            text = event(number, self.now_us, Reason="")
            self._transact(records.suspend_or_resume, "root", number, text)

    @precondition(lambda self: not self.terminated)
    @rule(is_meant=st.integers(0, 9))
    def terminate(self, is_meant: int) -> None:
        """Terminate, now and then."""
        if is_meant == 0 and not records.require(self.database, "root").has_ended:
            self.terminated = True
            self._transact(records.send, "root", 3, event(3, self.now_us, Input="enough"))

    # -- what must hold --------------------------------------------------------------------------------------

    @invariant()
    def histories_only_grow(self) -> None:
        """What was once written stays; ids are given out once and in order; each call completes once."""
        for (instance_id,) in self.database.execute("SELECT id FROM instance").fetchall():
            chunks = records.history_chunks(self.database, instance_id)
            before = self.histories.get(instance_id, [])
            assert chunks[: len(before)] == before
            self.histories[instance_id] = chunks
            events = parse(chunks)
            decided = [each["EventId"] for each in events if each["EventType"] in (4, 7, 10)]
            assert decided == list(range(len(decided)))
            ended = [each["TaskScheduledId"] for each in events if each["EventType"] in (5, 6, 8, 9)]
            assert len(ended) == len(set(ended)) and set(ended) <= set(decided)
            assert sum(each["EventType"] == 1 for each in events) <= 1
            times = [each["Timestamp"] for each in events if each["EventType"] == 12]
            assert times == sorted(times)

    @invariant()
    def ends_are_final(self) -> None:
        """An instance that has ended never changes again."""
        for instance_id, status, output in self.database.execute(
            "SELECT id, status, output FROM instance"
        ).fetchall():
            if status in records.ENDED:
                assert self.ends.setdefault(instance_id, f"{status} {output}") == f"{status} {output}"

    def teardown(self) -> None:
        """Let everything happen that is still to happen, and compare the end with the model."""
        try:
            if hasattr(self, "program"):
                self._drive_to_the_end()
        finally:
            self.database.close()
            self.folder.cleanup()

    def _drive_to_the_end(self) -> None:
        if self.suspended and not self.terminated:
            self.suspend_or_resume(is_suspension=False)
        for _ in range(200):
            for name in [name for kind, name in self.program if kind == "event"]:
                self._raise(name)
            self.now_us += 50_000_000
            for task in records.load_tasks(self.database, 0, 1000):
                self._finish(task)
            for instance_id in {name for name, _ in records.pending_instances(self.database)}:
                self._episode(instance_id)
            self.histories_only_grow()
            self.ends_are_final()
            if records.require(self.database, "root").has_ended:
                break
        root = records.require(self.database, "root")
        assert root.status in (_EXPECTED_ENDS if self.terminated else ("Completed",)), root
        if root.status == "Completed":
            assert json.loads(str(root.output)) == _expected(self.program)


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.slow
def test_many_more_interleavings() -> None:
    """The same, for longer."""
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        Interleavings,
        settings=settings(
            max_examples=500, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_purged_instances_swallow_late_results() -> None:
    """A result or an episode for an instance that was purged meanwhile changes nothing."""
    with tempfile.TemporaryDirectory() as folder:
        database = store._connect(Path(folder) / "db.sqlite")
        store._create(database, Path(folder))
        assert isinstance(database, sqlite3.Connection)
        start = new_instance("program", "gone", '"[[\\"call\\", 1]]"', 1, "")
        records.start_instance(database, start, False)
        work = records.load_work(database, "gone", 2)
        assert work is not None
        texts = [event(12, 2), *(each.event for each in work.messages)]
        episode = run_episode("program", _HANDLE, request_body(work.instance, [], texts), _INDEX)
        commit = make_commit(work, texts, episode, 2, HostSettings())
        records.commit_episode(database, commit)
        (task,) = records.load_tasks(database, 0, 10)
        assert records.forget(database, ["gone"]) == 1
        assert not records.finish_task(database, task, 5, event(5, 3, TaskScheduledId=0, Result="1"))
        assert records.commit_episode(database, commit) == []
        assert records.pending_instances(database) == []
        database.close()


def test_messages_for_absent_parents_are_dropped() -> None:
    """A child whose parent was purged meanwhile ends without leaving a message that is never read."""
    with tempfile.TemporaryDirectory() as folder:
        database = store._connect(Path(folder) / "db.sqlite")
        store._create(database, Path(folder))
        records.start_instance(database, new_instance("program", "root", '"[[\\"sub\\", []]]"', 1, ""), False)

        def run(instance_id: str) -> list[str]:
            work = records.load_work(database, instance_id, 2)
            assert work is not None
            texts = [event(12, 2), *(each.event for each in work.messages)]
            episode = run_episode(
                "program", _HANDLE, request_body(work.instance, work.history, texts), _INDEX
            )
            return records.commit_episode(database, make_commit(work, texts, episode, 2, HostSettings()))

        (child,) = run("root")
        records.forget(database, ["root"])
        assert run(child) == []
        assert records.require(database, child).status == "Completed"
        assert records.pending_instances(database) == []
        database.close()
