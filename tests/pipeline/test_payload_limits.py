"""Ids, inputs, outputs and statuses stay within what other storage backends of Durable take: 100 characters, 256 KB."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pytest
from test_orchestrators import Context, ok, play

from activities.answers import describe_error
from fleetscore.errors import InputError, StoreError
from fleetscore.records import RunRequest
from fleetscore.runs.orchestration_inputs import keep_names, names_of, requested, run_input
from fleetscore.runs.run_records import request_run
from fleetscore.store.base import Store
from fleetscore.windows import Cadence, WindowSpan, span_of
from orchestrators.backfill import backfill, backfill_lane, windows_of
from orchestrators.grouping import TEXTS_BYTES, bound_texts, numbers_of, ranges_of
from orchestrators.groups import prepare_group, score_group
from orchestrators.run import offload_instance, run

_LIMIT_BYTES = 256_000
_LONGEST_ID = 100
_LONG = "\u00e4\U0001f600\\" * 2_000  # six and twelve bytes a character as JSON
_SHARDS = 10_000  # of a million partitions that take a minute a hundred


class Watched(Context):
    """Keeps the largest of what a flow hands over."""

    largest = 0

    def set_custom_status(self, status: Any) -> None:
        note(status)

    def call_activity_with_retry(self, name: str, options: Any, asked: Any) -> tuple[str, Any]:
        note(asked)
        return super().call_activity_with_retry(name, options, asked)

    def call_sub_orchestrator(self, name: str, asked: Any, instance_id: str | None = None) -> tuple[str, Any]:
        note(asked)
        assert len(instance_id or "") <= _LONGEST_ID
        return super().call_sub_orchestrator(name, asked, instance_id)


def note(payload: Any) -> None:
    """Remember how large the payload is as JSON."""
    Watched.largest = max(Watched.largest, len(json.dumps(payload)))


@pytest.fixture(autouse=True)
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every flow of a test runs in a context that keeps the largest payload."""
    monkeypatch.setattr("test_orchestrators.Context", Watched)
    Watched.largest = 0


def test_the_longest_ids_are_short_enough() -> None:
    """The longest name of a workload, the longest window, round 99,999 and the second takeover: 100 characters at the most."""
    workload, window = "a" * 40, "2026-11-21T1015"
    taken_over = f"{workload}-{window}-r99999-t2"
    assert len(offload_instance(taken_over)) <= _LONGEST_ID


@pytest.mark.parametrize("message", ["", _LONG], ids=["all good", "every shard fails with a long text"])
def test_a_run_of_ten_thousand_shards_hands_over_little(message: str) -> None:
    """Scattered shards, half of them on Batch, each failing with the longest text: every payload is below 256 KB."""
    failed = (
        {"ok": False, "error": {"message": message, "code": "x", "fix": ""}}
        if message
        else ok({"cancelled": False})
    )

    def group(asked: Any) -> Any:
        return play(score_group, asked, {"score_shard": failed})[1]

    def offloaded(_: Any) -> Any:
        return (
            {"reasons": bound_texts({str(n): message for n in range(1, _SHARDS, 2)})}
            if message
            else {"reasons": {}}
        )

    halves = [ranges_of(range(first, _SHARDS, 2)) for first in (0, 1)]
    plan = {"items": 0, "partitions": 1_000_000, "shards": _SHARDS, "inline": halves[0], "batch": halves[1]}
    note(plan)
    answers = {
        "plan_run": ok(plan), "score_group": group, "offload": offloaded, "collect_run": ok({}),
        "publish_run": ok({"state": "published"}), "keep_logs": ok({}),
    }  # fmt: skip
    yielded, ending = play(run, {"run": "toy-w", "purpose": "score", "window": "w"}, answers)
    note(ending)
    assert Watched.largest < _LIMIT_BYTES
    reasons = next(q[1]["reasons"] for q in yielded if q[0] == "collect_run")
    assert bool(reasons) == bool(message)
    assert len(json.dumps(reasons)) <= TEXTS_BYTES + 2 * _SHARDS


def test_a_group_that_cannot_be_prepared_says_little() -> None:
    """A hundred pieces with the longest text each: the answer names the first few."""
    told = {"ok": False, "error": {"message": _LONG[:2_000], "code": "x", "fix": ""}}
    answer = play(prepare_group, {"request": {}, "round": 0, "numbers": [[0, 100]]}, {"prepare_item": told})[
        1
    ]
    assert len(json.dumps(answer)) < _LIMIT_BYTES


def test_an_errors_text_is_cut_in_an_answer() -> None:
    """Whatever a library says, an activity answers with 2,000 characters of it."""
    described = describe_error(StoreError("m" * 1_000_000, fix="f" * 1_000_000))
    assert len(json.dumps(described)) < 5_000
    assert len(describe_error(ValueError("v" * 1_000_000))["message"]) == 2_000


def test_texts_are_kept_where_they_fit() -> None:
    """A few texts stay as they are; of too many the first are kept, each short."""
    assert bound_texts({"1": "it broke", "2": "so did this"}) == {"1": "it broke", "2": "so did this"}
    many = bound_texts({str(n): "reason " * 50 for n in numbers_of([[0, 20_000]])})
    assert 1_000 < len(many) < 20_000
    assert len(json.dumps(many)) <= TEXTS_BYTES


@pytest.mark.parametrize(
    "message", ["", _LONG[:2_000]], ids=["all good", "every window fails with a long text"]
)
@pytest.mark.parametrize(("count", "lanes"), [(10_000, 4), (12_011, 100)])
def test_a_backfill_of_any_length_hands_over_little(count: int, lanes: int, message: str) -> None:
    """Ten and twenty thousand quarter hours, newest first: every payload is below 256 KB, and each window is run once."""
    span = WindowSpan(Cadence.QUARTER_HOUR, 2_000_000, count, -1)
    asked: list[str] = []

    def ask(question: Any) -> Any:
        asked.append(question["window"])
        if message:
            return {"ok": False, "error": {"message": message, "code": "x", "fix": ""}}
        request = {"run": f"{'a' * 40}-{question['window']}-r2"}
        return ok({"request": request, "start": False, "state": "published"})

    def lane(payload: Any) -> Any:
        answer = play(backfill_lane, payload, {"ask_window": ask})[1]
        note(answer)
        return answer

    given = {
        "workload": "a" * 40,
        "span": asdict(span),
        "only": "all",
        "max_parallel": lanes,
        "partitions": [],
    }
    note(given)
    _, ending = play(backfill, given, {"backfill_lane": lane})
    note(ending)
    assert Watched.largest < _LIMIT_BYTES
    assert sorted(asked) == sorted(span)
    assert ending["states"] == {"failed" if message else "published": count}
    assert ending["total"] == count >= len(ending["windows"]) > 50


def test_a_cut_list_of_windows_begins_with_those_to_look_at() -> None:
    """Of ten thousand windows the few that failed are named first."""
    span = WindowSpan(Cadence.HOUR, 400_000, 10_000)
    failing = set(span[9_000:9_003])

    def lane(payload: Any) -> Any:
        state = {True: "failed", False: "published"}
        return {
            "windows": [
                {"window": w, "run": "r" * 60, "state": state[w in failing]} for w in payload["windows"]
            ]
        }

    given = {"workload": "toy", "span": asdict(span), "only": "all", "max_parallel": 4}
    ending = play(backfill, given, {"backfill_lane": lane})[1]
    assert [line["window"] for line in ending["windows"][:3]] == span[9_000:9_003]
    assert len(ending["windows"]) < 10_000


def test_a_backfill_of_an_earlier_version_goes_on() -> None:
    """An input with a list of windows is read as it was."""
    assert windows_of({"windows": ["b", "a"]}) == ["b", "a"]


@pytest.mark.parametrize("keys", [
    ["2026-01-01T00", "2026-01-01T01"], ["2027-W01", "2026-W53"], ["2026-12", "2027-01"], ["107", "108", "109"],
    ["2026-03-29", "2026-03-28"], ["2026-11-21T1045", "2026-11-21T1100"], ["7"],
])  # fmt: skip
def test_a_span_is_its_list_of_windows(keys: list[str]) -> None:
    """Each cadence, rising and falling, across years and nights when clocks change, through JSON and back."""
    span = json.loads(json.dumps(asdict(span_of(keys))))
    assert list(windows_of({"span": span})) == keys


@pytest.mark.parametrize("keys", [[], ["1", "3"], ["2026-01-01T00", "2026-01-02"], ["2", "1", "2"]])
def test_windows_with_a_gap_are_no_span(keys: list[str]) -> None:
    """What is not consecutive is refused, never filled up."""
    with pytest.raises(InputError, match="not consecutive"):
        span_of(keys)


def test_many_names_of_partitions_lie_in_the_store(store: Store) -> None:
    """A hundred thousand names: inputs of a run and of a backfill are small, and both are read back whole; a few stay in them."""
    many, few = tuple(f"depot-{n:04d}/\u00e4{n}" for n in range(100_000)), ("a", "b*")
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    for names in (many, few):
        request = RunRequest(f"toy-{len(names)}", "toy", "w", 1, moment, "http", partitions=names)
        request_run(store, request)
        given, backfilled = run_input(request), keep_names(store, "toy", f"b{len(names)}", names)
        assert max(len(json.dumps(given)), len(json.dumps(backfilled))) < 60_000
        assert requested(store, json.loads(json.dumps(given))) == request
        assert names_of(store, backfilled) == names
    assert (run_input(request)["partitions"], backfilled) == (few, {"partitions": list(few)})
