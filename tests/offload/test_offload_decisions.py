"""What becomes of shards without a commit, and what a job took: decisions from what the service and the workers say."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetscore.app_settings import AppSettings
from fleetscore.batch.completions import GROUPS, announce, group_of, members_of
from fleetscore.batch.interface import JobState, TaskState, job_id, shard_of_task, task_id
from fleetscore.errors import StoreError
from fleetscore.pipeline.offload import Submission
from fleetscore.pipeline.offload_decisions import Check, decide, decide_unanswered
from fleetscore.pipeline.offload_usage import measure_usage
from fleetscore.settings import RunPolicy
from fleetscore.store.base import Store

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = RunPolicy()
ACTIVE = JobState("active", running=1)


def decided(**changes: Any) -> Check:
    """The decision about shards 3 and 4, under way unless something else is said."""
    told: dict[str, Any] = {
        "missing": [3, 4], "over": {}, "given_up": {}, "job": ACTIVE, "problems": (), "policy": POLICY,
        "waited_s": 10.0, "cancelled": False,
    }  # fmt: skip
    return decide(**(told | changes))


def over(code: int | None, failure: str = "") -> TaskState:
    """A task that is over."""
    return TaskState("shard-00003", True, code, failure, retries=5)


def test_shards_whose_tasks_run_are_waited_for() -> None:
    """Nothing is decided while the job is active."""
    assert decided() == Check(2, {})


def test_a_task_that_is_over_without_a_commit_is_a_reason_with_its_log() -> None:
    """Exit code, retries and the file to read; the other shard stays open."""
    check = decided(over={3: over(137, "FailureExitCode: it ended with 137.")})
    assert check.open == 1
    assert "exit code 137 after 5 retries. FailureExitCode" in check.reasons["3"]
    assert "logs/shard-00003.stderr.txt" in check.reasons["3"]


def test_a_task_that_never_started_says_so() -> None:
    """An image that cannot be pulled has no exit code."""
    assert "never started" in decided(over={3: over(None)}).reasons["3"]


@pytest.mark.parametrize(
    ("ran_s", "code", "failure", "words"),
    [
        (7200.0, -1073741510, "TaskEnded: It ran too long.", "time limit of 7200 s (shard_limit_s)"),
        (7200.5, None, "TaskEnded: It ran too long.", "time limit of 7200 s (shard_limit_s)"),
        (10.0, None, "TaskEnded: By request.", "was ended by the service or by a request"),
        (10.0, None, "", "ended with no exit code"),
    ],
)
def test_a_task_that_was_ended_says_by_what(ran_s: float, code: int | None, failure: str, words: str) -> None:
    """A task that ran is never told of as one that did not start, whatever the service gives as its exit code."""
    ended = NOW + timedelta(seconds=ran_s)
    task = TaskState("shard-00003", True, code, failure, started=NOW, ended=ended)
    assert words in decided(over={3: task}).reasons["3"]


def unanswered(**changes: Any) -> Check:
    """The decision about shards 3 and 4 while Batch does not answer."""
    told: dict[str, Any] = {
        "missing": [3, 4], "given_up": {}, "error": StoreError("No answer."), "policy": POLICY, "waited_s": 10.0,
        "cancelled": False,
    }  # fmt: skip
    return decide_unanswered(**(told | changes))


def test_without_an_answer_of_batch_shards_are_waited_for_until_the_job_is_over() -> None:
    """The look fails while a shard may still come; cancelled, given up or beyond the limit, each has its reason."""
    with pytest.raises(StoreError, match="No answer"):
        unanswered(given_up={3: "No access."})
    assert unanswered(cancelled=True) == Check(0, dict.fromkeys("34", "The run was cancelled."))
    assert unanswered(given_up={3: "a", 4: "b"}) == Check(0, {"3": "a", "4": "b"})
    over = unanswered(waited_s=POLICY.job_limit_s + 1, given_up={3: "No access."})
    assert (over.open, over.reasons["3"]) == (0, "No access.")
    assert "limit of 43200 s. No answer." in over.reasons["4"]


def test_shards_given_up_are_not_waited_for_and_their_job_is_ended() -> None:
    """The worker's reason is the shard's; when nothing else is open, the retries are ended."""
    check = decided(given_up={3: "No access."})
    assert (check.open, check.reasons, check.terminate) == (1, {"3": "No access."}, "")
    last = decided(given_up={3: "No access.", 4: "No access."})
    assert last.open == 0 and last.terminate


@pytest.mark.parametrize(
    ("changes", "words", "ends"),
    [
        ({"cancelled": True}, "cancelled", True),
        ({"job": JobState("completed", reason="MaxWallClockTimeExpiry")}, "MaxWallClockTimeExpiry", False),
        ({"job": JobState("missing")}, "missing", False),
        ({"waited_s": POLICY.job_limit_s + 1}, "limit of 43200 s", True),
        (
            {
                "job": JobState("disabled", waiting=2, succeeded=1),
                "problems": ("AllocationTimedOut: no capacity.",),
                "waited_s": POLICY.job_limit_s + 1,
            },
            "limit of 43200 s. The job is disabled. The pool says: AllocationTimedOut: no capacity.",
            True,
        ),
        (
            {
                "job": JobState("active", waiting=2),
                "waited_s": 1801.0,
                "problems": ("AllocationTimedOut: no capacity",),
            },
            "No node started a task within 1800 s. The pool says: AllocationTimedOut: no capacity.",
            True,
        ),
    ],
)
def test_every_open_shard_gets_the_reason_why_it_ends(
    changes: dict[str, Any], words: str, ends: bool
) -> None:
    """Nothing stays open, and a job that is not over is ended with the same reason."""
    check = decided(**changes)
    assert check.open == 0
    assert all(words in check.reasons[shard] for shard in ("3", "4"))
    assert bool(check.terminate) is ends


def test_a_slow_start_is_waited_for_once_anything_ran() -> None:
    """The start limit is for pools that never start."""
    waiting = JobState("active", waiting=2, succeeded=1)
    assert decided(job=waiting, waited_s=1801.0).open == 2


def test_usage_counts_nodes_from_first_to_last_task_with_their_boot() -> None:
    """Two nodes on a cold pool: each pays the wait for the first task; a task that runs counts until now."""
    cold = Submission("j", NOW, "local", False, "Standard_D4ads_v5", 4)

    def at(seconds: float) -> datetime:
        return NOW + timedelta(seconds=seconds)

    tasks = [
        TaskState("shard-00000", True, 0, started=at(100), ended=at(160), node="a"),
        TaskState("shard-00001", True, 0, started=at(110), ended=at(170), node="a", retries=1),
        TaskState("shard-00002", False, started=at(120), node="b", requeues=2),
        TaskState("shard-00003", False),
    ]
    usage = measure_usage(tasks, cold, at(200))
    assert (usage.tasks, usage.nodes, usage.retries, usage.requeues) == (4, 2, 1, 2)
    assert usage.wait_s == 100.0
    assert usage.slot_s == 60.0 + 60.0 + 80.0
    assert usage.node_s == (100.0 + 70.0) + (100.0 + 80.0)


@given(st.integers(1, 3000))
def test_every_shard_is_in_one_of_at_most_32_groups(shards: int) -> None:
    """Groups are whole numbers from 0, none is empty, and their members add up."""
    groups = [group_of(position, shards) for position in range(shards)]
    assert sorted(set(groups)) == list(range(min(shards, GROUPS)))
    assert sum(members_of(group, shards) for group in set(groups)) == shards


def test_a_group_is_whole_for_whoever_comes_last_and_for_everyone_after(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 64 shards, two share a group: the first sends nothing, the second sends, the first again sends again."""
    sent: list[bytes] = []
    monkeypatch.setattr("fleetscore.store.queue.send", lambda url, payload: sent.append(payload))
    app = AppSettings(queue_service="http://127.0.0.1:1/devstoreaccount1")
    offloaded = list(range(100, 164))
    assert not announce(store, app, "r", 100, offloaded)
    assert announce(store, app, "r", 101, offloaded)
    assert announce(store, app, "r", 100, offloaded)
    assert sent == [b'{"run":"r","group":0,"schema":1}'] * 2


@given(st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=200))
def test_job_ids_fit_and_stay_apart(run: str) -> None:
    """At most 64 characters; two runs that differ anywhere have two jobs, and so has a run that is planned anew."""
    assert len(job_id(run, "plan-a")) <= 64
    assert len({job_id(run, "plan-a"), job_id(run + "x", "plan-a"), job_id(run, "plan-b")}) == 3


@given(st.integers(0, 99_999))
def test_task_ids_name_their_shard(shard: int) -> None:
    """shard_of_task inverts task_id."""
    assert shard_of_task(task_id(shard)) == shard
