"""Tries of notices: claimed before they are made, spread over days, and never two at once."""

import multiprocessing
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from app_host import wait_until
from notice_receiver import Receiver, receiving
from toy_workload import write_lines

from fleetscore.app_settings import AppSettings
from fleetscore.operations.notices import delivery as notice_delivery
from fleetscore.operations.notices.attempts import GIVE_UP_AFTER
from fleetscore.operations.notices.delivery import list_pending, list_refusals, resend_pending, send_notice
from fleetscore.operations.notices.ended_runs import hand_over_ending_notices
from fleetscore.operations.notices.notice import Notice
from fleetscore.operations.outbound import posting as outgoing
from fleetscore.pipeline.local import run_window
from fleetscore.store import open_store
from fleetscore.store.base import Store

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
NOTICE = Notice("run_failed-toy-w", "run_failed", "toy", "toy-w ended failed: why.", NOW, "w", "toy-w")
NAME = "FLEETSCORE_NOTIFY_FIRST"
APP = AppSettings(webhook_private=1)
TARGET = f'[[notify.targets]]\nurl_env = "{NAME}"\n'.encode()


@pytest.fixture
def hook(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """The one receiver of the toy workload's notices, tried once at a time."""
    monkeypatch.setattr(notice_delivery, "_WAITS_S", (0.0,))
    store.write("settings/toy.toml", TARGET)
    with receiving() as receiver:
        monkeypatch.setenv(NAME, receiver.url)
        yield receiver


def test_a_target_that_is_down_for_days_is_tried_ever_less_often_and_gets_it(
    store: Store, hook: Receiver
) -> None:
    """Of the ticks of three and a half days few try: 4 minutes apart at first, 4 hours in the end."""
    hook.refusals = 10_000
    assert not send_notice(store, APP, NOTICE, NOW)
    asked = []
    for minute in (*range(2, 720, 4), *range(720, 80 * 60, 60)):
        before = hook.asked
        resend_pending(store, APP, NOW + timedelta(minutes=minute))
        asked += [minute] * (hook.asked - before)
    assert 20 <= len(asked) <= 30
    gaps = [after - before for before, after in pairwise(asked)]
    assert (asked[:2], 240 <= max(gaps) <= 300) == ([6, 14], True)
    hook.refusals = 0
    assert resend_pending(store, APP, NOW + timedelta(hours=84)) == 1
    assert len(hook.taken) == 1


def test_the_plan_of_tries_outlives_the_process(store: Store, hook: Receiver) -> None:
    """Another process, which knows only the store, neither tries too early nor starts the back-off anew."""
    hook.refusals = 2
    assert not send_notice(store, APP, NOTICE, NOW)
    other = open_store(store.url)
    assert resend_pending(other, APP, NOW + timedelta(minutes=3)) == 0
    assert resend_pending(other, APP, NOW + timedelta(minutes=4)) == 0
    assert resend_pending(store, APP, NOW + timedelta(minutes=11)) == 0
    assert hook.asked == 2
    assert resend_pending(store, APP, NOW + timedelta(minutes=12)) == 1


def test_many_that_hold_the_same_notice_send_it_once(store: Store, hook: Receiver) -> None:
    """Eight senders at once, while the target is slow: one request."""
    hook.wait_s = 0.5
    senders = [threading.Thread(target=send_notice, args=(store, APP, NOTICE, NOW)) for _ in range(8)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert (hook.asked, list_pending(store)) == (1, [])


def _send_and_die(url: str, when: str) -> None:
    """Send the notice in a process that ends without a word at that moment."""
    store = open_store(url)

    def die(*_: Any, **__: Any) -> None:
        os._exit(9)

    if when == "claimed":
        notice_delivery.time.sleep = die  # type: ignore[attr-defined]
    else:
        notice_delivery.note_delivered = die
    send_notice(store, APP, NOTICE, NOW)


@pytest.mark.slow
@pytest.mark.parametrize(("when", "arrives"), [("claimed", 1), ("taken", 2)])
def test_a_process_that_is_killed_in_between_loses_nothing(
    store: Store, hook: Receiver, when: str, arrives: int
) -> None:
    """Killed before it sends, it arrives once; killed between answer and record, once more when it is due, under the same id."""
    process = multiprocessing.get_context("spawn").Process(target=_send_and_die, args=(store.url, when))
    process.start()
    process.join(100)
    assert process.exitcode == 9
    assert resend_pending(store, APP, NOW + timedelta(minutes=3)) == 0
    assert resend_pending(store, APP, NOW + timedelta(minutes=4)) == 1
    assert resend_pending(store, APP, NOW + timedelta(days=1)) == 0
    assert [notice["id"] for notice in hook.taken] == [NOTICE.id] * arrives


def test_an_answer_that_never_comes_is_not_tried_again_at_once(
    store: Store, hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A target that takes the notice and answers too late gets it again at the next due time only, not thrice."""
    monkeypatch.setattr(notice_delivery, "_WAITS_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr(outgoing, "_TOTAL_S", 0.3)
    hook.answering.clear()
    assert not send_notice(store, APP, NOTICE, NOW)
    wait_until(lambda: hook.asked)
    hook.answering.set()
    assert hook.asked == 1
    assert "nothing within" in list_refusals(store)[0].message


def test_a_dead_target_costs_a_pass_one_try_however_many_notices_wait(store: Store, hook: Receiver) -> None:
    """Twenty notices are due at a target that refuses: one request, and the others keep their turn."""
    hook.refusals = 1000
    for number in range(20):
        store.write(
            f"notices/pending/n{number:02}.json",
            b'{"id":"n%02d","kind":"drift","workload":"toy","message":"m","at":"2026-01-02T11:00:00Z"}'
            % number,
        )
    assert resend_pending(store, APP, NOW) == 0
    assert hook.asked == 1
    hook.refusals = 0
    assert resend_pending(store, APP, NOW) == 19


def test_a_given_up_notice_is_not_sent_again(store: Store, hook: Receiver) -> None:
    """After four days it is set aside for good, also when the same thing is found again."""
    hook.refusals = 1
    assert not send_notice(store, APP, NOTICE, NOW)
    assert resend_pending(store, APP, NOW + GIVE_UP_AFTER + timedelta(minutes=1)) == 0
    assert send_notice(store, APP, NOTICE, NOW + GIVE_UP_AFTER)
    assert hook.asked == 1


def test_a_slow_target_costs_the_end_of_a_run_nothing(store: Store, hook: Receiver) -> None:
    """The run's end keeps its notice and goes on while the target still thinks; the notice arrives."""
    hook.answering.clear()
    write_lines(store, "2026-01-01T00", [("a", 1, "fail")])
    hand_over_ending_notices(store, APP, run_window(store, "toy", "2026-01-01T00"))
    assert [notice.kind for notice in list_pending(store)] == ["run_failed"]
    assert hook.taken == []
    hook.answering.set()
    wait_until(lambda: list_pending(store) == [])
    assert [notice["kind"] for notice in hook.taken] == ["run_failed"]


def test_whatever_goes_wrong_with_notices_the_run_goes_on(
    store: Store, hook: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error that nobody expected is in the log and is not raised."""
    write_lines(store, "2026-01-01T00", [("a", 1, "fail")])
    record = run_window(store, "toy", "2026-01-01T00")
    monkeypatch.setattr("fleetscore.operations.notices.ended_runs.list_mutes", lambda *_: 1 / 0)
    hand_over_ending_notices(store, APP, record)
    assert "could not be kept" in caplog.text
