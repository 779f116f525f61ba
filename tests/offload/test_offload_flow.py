"""The offload orchestration: what it asks for in which order, and what it tells those who would wake it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestrators.offload import offload

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Timer:
    """A timer that knows whether it was cancelled."""

    def __init__(self, due: datetime) -> None:
        self.due, self.is_cancelled = due, False

    def cancel(self) -> None:
        self.is_cancelled = True


class Context:
    """Records what the flow asks for; the test answers."""

    current_utc_datetime = NOW  # moves on with each timer that ends a wait

    def __init__(self) -> None:
        self.status: Any = None
        self.timers: list[Timer] = []

    def get_input(self) -> Any:
        return {"run": "r"}

    def set_custom_status(self, status: Any) -> None:
        self.status = status

    def call_activity_with_retry(self, name: str, options: Any, asked: Any) -> tuple[str, Any, Any]:
        return name, asked, self.status

    def wait_for_external_event(self, name: str) -> str:
        return name

    def create_timer(self, due: datetime) -> Timer:
        self.timers.append(Timer(due))
        return self.timers[-1]

    def task_any(self, tasks: list[Any]) -> list[Any]:
        return tasks


def play(
    context: Context, looks: Iterator[Any], events: set[str], submit: Any = None
) -> tuple[list[Any], Any]:
    """Drive the flow: activities get the next look, waits end by event if it is among `events`, else by timer."""
    flow = offload(context)
    submits = iter(submit if isinstance(submit, list) else [submit] if submit else [])
    answer: Any = None
    asked: list[Any] = []
    while True:
        try:
            question = flow.send(answer)
        except StopIteration as stop:
            return asked, stop.value
        asked.append(question)
        if isinstance(question, list):
            answer = question[0] if question[0] in events else question[1]
            context.current_utc_datetime = getattr(answer, "due", context.current_utc_datetime)
        elif question[0] == "submit_shards":
            answer = next(submits, {"ok": True, "value": {"job": "j", "limit_s": 600.0}})
        else:
            answer = next(looks)


def look(still_open: int, check_s: float = 60.0) -> dict[str, Any]:
    """A look's answer."""
    reasons = {} if still_open else {"3": "It died."}
    return {"ok": True, "value": {"open": still_open, "reasons": reasons, "check_s": check_s}}


def test_it_looks_first_and_waits_for_each_event_name_once() -> None:
    """Look, wait, look; names count up, the status names the wait to come, looks know what woke them, unfired timers are cancelled."""
    context = Context()
    asked, ended = play(context, iter([look(2), look(1), look(0)]), {"shards-0"})
    names = [question[0] for question in asked]
    assert names == ["submit_shards", "check_shards", "shards-0", "check_shards", "shards-1", "check_shards"]
    looks = [question for question in asked if question[0] == "check_shards"]
    assert [question[2]["wait"] for question in looks] == [0, 1, 2]
    assert [question[1]["woken"] for question in looks] == [False, True, False]
    assert [timer.is_cancelled for timer in context.timers] == [True, False]
    assert {timer.due for timer in context.timers} == {NOW + timedelta(seconds=60)}
    assert ended == {"reasons": {"3": "It died."}}


def test_a_look_that_fails_costs_a_timer() -> None:
    """Batch or the store did not answer: the flow looks again, it does not end."""
    failed = {"ok": False, "error": {"code": "batch_failed", "message": "Busy.", "fix": ""}}
    asked, ended = play(Context(), iter([failed, failed, look(0)]), set())
    assert [question[0] for question in asked].count("check_shards") == 3
    assert ended["reasons"]


def test_a_refused_submission_ends_the_run_with_its_error() -> None:
    """The error goes to the run, which is closed with it."""
    error = {"code": "quota_exceeded", "message": "Too many jobs.", "fix": "Wait."}
    asked, ended = play(Context(), iter([]), set(), {"ok": False, "error": error})
    assert len(asked) == 1
    assert ended == {"reasons": {}, "error": error}


REFUSED = {
    "ok": True,
    "value": {"refused": {"code": "quota_exceeded", "message": "Full."}, "check_s": 60.0, "limit_s": 120.0},
}


def test_a_full_quota_is_waited_for_with_a_limit() -> None:
    """Submitted again after each wait, which goes on counting; after the limit the run ends with the refusal."""
    context = Context()
    asked, ended = play(context, iter([look(0)]), set(), [REFUSED, REFUSED])
    assert [question[0] for question in asked].count("submit_shards") == 3
    assert asked[-1][2] == {"wait": 2, "refused": "Full."}
    assert ended == {"reasons": {"3": "It died."}}
    asked, ended = play(Context(), iter([]), set(), [REFUSED] * 9)
    assert [question[0] for question in asked].count("submit_shards") == 3
    assert ended == {"reasons": {}, "error": REFUSED["value"]["refused"]}


def test_looks_that_fail_for_good_end_the_run_an_hour_after_the_job_s_limit() -> None:
    """With limits of 600 s and looks every 15 s, the error of the last look ends the wait after 4,200 s."""
    failed = {"ok": False, "error": {"code": "store_failed", "message": "Gone.", "fix": ""}}
    context = Context()
    _, ended = play(context, iter([failed] * 1000), set())
    assert ended == {"reasons": {}, "error": failed["error"]}
    assert 4_200 < (context.current_utc_datetime - NOW).total_seconds() < 4_300
