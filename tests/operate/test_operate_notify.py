"""Targets of [notify]: each gets what it wants, in its style, once, when it may; its address stays a secret."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema
import pytest
from app_host import wait_until
from notice_receiver import Receiver, receiving
from notice_schemas import CLOUD_EVENT, SLACK, TEAMS
from toy_workload import write_lines

from fleetscore.app_settings import AppSettings
from fleetscore.errors import SettingsError
from fleetscore.notify_settings import is_quiet
from fleetscore.operations.doctor.checks import examine
from fleetscore.operations.notices import delivery as notice_delivery
from fleetscore.operations.notices.bodies import write_body
from fleetscore.operations.notices.delivery import list_refusals, resend_pending, send_notice
from fleetscore.operations.notices.ended_runs import send_ending_notices
from fleetscore.operations.notices.notice import Notice
from fleetscore.pipeline.local import execute, run_window
from fleetscore.pipeline.submit import submit_retry
from fleetscore.records import RunState
from fleetscore.registry import find_workloads
from fleetscore.settings import NOTIFY_DEFAULT_PATH, read_notify_policy
from fleetscore.store.base import Store

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
NIGHT = datetime(2026, 1, 2, 23, tzinfo=UTC)
NOTICE = Notice("run_failed-toy-w", "run_failed", "toy", "toy-w ended failed: why.", NOW, "w", "toy-w")
APP = AppSettings(webhook_private=1)
FIRST, SECOND = "FLEETSCORE_NOTIFY_FIRST", "FLEETSCORE_NOTIFY_SECOND"
SECRET = "T0KEN-abcdef"


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Receiver]]:
    """Two receivers whose addresses are in the environment, and no waiting between tries."""
    monkeypatch.setattr(notice_delivery, "_WAITS_S", (0.0, 0.01, 0.02))
    with ExitStack() as stack:
        found = [stack.enter_context(receiving()) for _ in range(2)]
        for name, hook in zip((FIRST, SECOND), found, strict=True):
            monkeypatch.setenv(name, f"{hook.url}&token={SECRET}")
        yield found


def set_targets(store: Store, *targets: str, lines: str = "", path: str = "settings/toy.toml") -> None:
    """Write a settings file with these [[notify.targets]] tables."""
    tables = "".join(f"[[notify.targets]]\n{target}\n" for target in targets)
    store.write(path, f"{lines}\n{tables}".encode())


def target(name: str, **lines: Any) -> str:
    """The lines of a target."""
    return "\n".join([f"url_env = {json.dumps(name)}", *(f"{k} = {json.dumps(v)}" for k, v in lines.items())])


@pytest.mark.parametrize(
    "notice",
    [
        NOTICE,
        replace(NOTICE, window="", run="", message=""),
        replace(NOTICE, message="<!channel> & \x1b[2J ü " * 900, window="w" * 200, tags={"team": "a" * 200}),
        replace(
            NOTICE, links={"dashboard": "https://app/api/dashboard?run=toy-w", "command": "fleetscore show"}
        ),
        replace(NOTICE, kind="published", data={"rows": 3}),
    ],
)
@pytest.mark.parametrize(
    ("style", "schema"), [("slack", SLACK), ("teams", TEAMS), ("cloudevents", CLOUD_EVENT)]
)
def test_each_body_has_the_structure_that_its_service_documents(
    notice: Notice, style: str, schema: dict[str, Any]
) -> None:
    """Whatever the notice holds, the body fits the service's schema and its limit of 28 KB, and no text is lost silently."""
    body, content_type = write_body(notice, style)
    jsonschema.validate(json.loads(body), schema)
    assert style == "cloudevents" or len(body) <= 28 * 1024
    assert content_type.startswith("application/")
    assert style == "cloudevents" or len(notice.message) < 2900 or "…" in body.decode()


@pytest.mark.parametrize("style", ["slack", "teams"])
def test_the_link_opens_the_dashboard_where_its_address_is_known(
    style: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notice of a run opens the run's page, one without a run its workload's; without an address there is no button."""
    assert b"Open the dashboard" not in write_body(NOTICE, style)[0]
    monkeypatch.setenv("WEBSITE_HOSTNAME", "app.example")
    assert b"https://app.example/api/dashboard?run=toy-w" in write_body(NOTICE, style)[0]
    assert b"https://app.example/api/dashboard?workload=toy" in write_body(replace(NOTICE, run=""), style)[0]


def test_each_target_gets_the_kinds_it_wants_in_its_style(store: Store, hooks: list[Receiver]) -> None:
    """Slack hears of the failure and the other target of the drift; telling again sends nothing."""
    set_targets(
        store,
        target(FIRST, style="slack", kinds=["run_failed"]),
        target(SECOND, style="teams", kinds=["drift"]),
    )
    drift = replace(NOTICE, id="drift-toy-w", kind="drift")
    for notice in (NOTICE, drift, NOTICE, drift):
        assert send_notice(store, APP, notice)
    assert [[*taken] for hook in hooks for taken in hook.taken] == [
        ["text", "blocks"],
        ["type", "attachments"],
    ]
    assert list(store.list("notices/pending/")) == []


def test_one_target_that_is_down_makes_nothing_arrive_twice_at_the_other(
    store: Store, hooks: list[Receiver]
) -> None:
    """Each target is tried again for itself until it took the notice."""
    set_targets(store, target(FIRST), target(SECOND))
    hooks[1].refusals = 4
    assert not send_notice(store, APP, NOTICE, NOW)
    later = [NOW + timedelta(minutes=4), NOW + timedelta(minutes=12)]
    assert [resend_pending(store, APP, now) for now in later] == [0, 1]
    assert [(hook.asked, len(hook.taken)) for hook in hooks] == [(1, 1), (5, 1)]


def test_while_a_target_is_slow_another_process_does_not_send_to_the_fast_one_again(
    store: Store, hooks: list[Receiver]
) -> None:
    """What the fast target took is recorded before the slow one has answered."""
    set_targets(store, target(FIRST), target(SECOND))
    hooks[1].wait_s, hooks[1].refusals = 1.0, 1
    pending = f"notices/pending/{NOTICE.id}.json"
    sending = threading.Thread(target=send_notice, args=(store, APP, NOTICE))
    sending.start()
    wait_until(lambda: hooks[0].taken and b'"delivered":["' in store.read(pending))
    resend_pending(store, APP, NOW)
    sending.join()
    assert len(hooks[0].taken) == 1


def test_targets_and_the_webhook_stand_side_by_side(store: Store, hooks: list[Receiver]) -> None:
    """The webhook gets its JSON as ever, but nothing of what only targets ask for."""
    app = AppSettings(webhook_url=hooks[1].url, webhook_private=1)
    set_targets(store, target(FIRST, style="cloudevents", kinds=["published", "run_failed"]))
    write_lines(store, "2026-01-01T00", [("a", 1, "ok")])
    send_ending_notices(store, app, run_window(store, "toy", "2026-01-01T00"))
    assert send_notice(store, app, NOTICE)
    assert [event["type"] for event in hooks[0].taken] == ["fleetscore.published", "fleetscore.run_failed"]
    assert [(notice["id"], notice["delivered"]) for notice in hooks[1].taken] == [(NOTICE.id, [])]


def test_the_default_holds_for_workloads_without_targets_of_their_own(
    store: Store, hooks: list[Receiver]
) -> None:
    """One file serves all workloads, is none itself, and gives way to a workload's own [notify]."""
    set_targets(store, target(FIRST), path=NOTIFY_DEFAULT_PATH)
    assert send_notice(store, APP, NOTICE)
    set_targets(store, target(SECOND))
    assert send_notice(store, APP, replace(NOTICE, id="other"))
    assert [hook.taken[0]["id"] for hook in hooks] == [NOTICE.id, "other"]
    assert "notify-default" not in [known.name for known in find_workloads(store)]


def test_notices_of_quiet_hours_are_sent_afterwards(store: Store, hooks: list[Receiver]) -> None:
    """At night one target waits and the other does not; in the morning the first gets it, and doctor calls the wait ok."""
    set_targets(store, target(FIRST, quiet="22:00-06:00"), target(SECOND), lines='timezone = "Europe/Berlin"')
    assert not send_notice(store, APP, replace(NOTICE, at=NIGHT), NIGHT)
    assert [len(hook.taken) for hook in hooks] == [0, 1]
    found = [f for f in examine(store, APP, lambda: NIGHT).findings if f.check == "notices"]
    assert [(f.state, f.detail) for f in found] == [("ok", "1 notices wait for the end of quiet hours.")]
    assert resend_pending(store, APP, NIGHT + timedelta(hours=5, minutes=59)) == 0
    assert resend_pending(store, APP, NIGHT + timedelta(hours=6)) == 1
    assert [len(hook.taken) for hook in hooks] == [1, 1]


@pytest.mark.parametrize(
    ("moment", "quiet"),
    [
        (datetime(2026, 3, 29, 0, 59, tzinfo=UTC), False),  # 01:59, before clocks go to 03:00
        (datetime(2026, 3, 29, 1, 0, tzinfo=UTC), True),  # 03:00: the hour from 02:00 does not exist
        (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), True),  # 02:30, the first time
        (datetime(2026, 10, 25, 1, 30, tzinfo=UTC), True),  # 02:30, the second time
        (datetime(2026, 10, 25, 3, 0, tzinfo=UTC), False),  # 04:00
    ],
)
def test_quiet_hours_follow_the_clocks_of_the_zone(moment: datetime, quiet: bool) -> None:
    """On nights when clocks change, what they show decides."""
    assert is_quiet("02:00-04:00", "Europe/Berlin", moment) == quiet


@pytest.mark.parametrize(("style", "answer"), [("slack", b"no_service"), ("teams", b"failed with error 429")])
def test_a_success_that_says_otherwise_is_a_refusal(
    store: Store, hooks: list[Receiver], style: str, answer: bytes
) -> None:
    """An answer 200 with an error text leaves the notice pending; the service's own word of success does not."""
    set_targets(store, target(FIRST, style=style))
    hooks[0].answer = answer
    assert not send_notice(store, APP, NOTICE, NOW)
    assert answer.decode() in list_refusals(store)[0].message
    hooks[0].answer = b"ok"
    assert resend_pending(store, APP, NOW + timedelta(minutes=4)) == 1


def test_doctor_shows_the_last_refusal_without_the_address(
    store: Store, hooks: list[Receiver], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status and body are shown, cut and with visible control characters; the address is in no finding, log or file."""
    set_targets(store, target(FIRST), target(SECOND))
    monkeypatch.setenv(SECOND, f"http://[{SECRET}/")
    hooks[0].refusals, hooks[0].refusal = 3, 403
    hooks[0].answer = f"no such \x1b[2J hook {SECRET} ".encode() + b"x" * 5000
    with caplog.at_level(logging.DEBUG):
        assert not send_notice(store, APP, NOTICE)
    found = [f.detail for f in examine(store, APP, lambda: NOW).findings if f.check == "notices"]
    first = next(detail for detail in found if FIRST in detail)
    assert "answered 403: no such \\x1b[2J hook *** xxx" in first
    assert len(first) < 500
    stored = b"".join(store.read(entry.path) for entry in store.list(""))
    assert SECRET not in caplog.text + "".join(found) + stored.decode()


@pytest.mark.parametrize("private", [0, 1])
def test_redirects_and_private_networks_stay_refused(
    store: Store, hooks: list[Receiver], private: int
) -> None:
    """A target in a private network gets no request unless that is allowed, and a redirect no second one."""
    set_targets(store, target(FIRST))
    hooks[0].refusals, hooks[0].refusal = 3, 302
    assert not send_notice(store, AppSettings(webhook_private=private), NOTICE)
    assert (hooks[0].asked, hooks[0].taken) == (3 * private, [])


def test_a_target_without_an_address_is_pending_and_named(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process whose environment lacks the variable leaves the notice to one that has it."""
    monkeypatch.delenv(FIRST, raising=False)
    monkeypatch.setattr(notice_delivery, "_WAITS_S", (0.0,))
    set_targets(store, target(FIRST))
    assert not send_notice(store, APP, NOTICE)
    found = [f.detail for f in examine(store, APP, lambda: NOW).findings if f.check == "notices"]
    assert any(f"{FIRST}, a target of toy, is not set" in detail for detail in found)
    assert len(list(store.list("notices/pending/"))) == 1


def test_settings_that_break_meanwhile_lose_no_notice(store: Store, hooks: list[Receiver]) -> None:
    """While [notify] cannot be read its notices wait, and are sent when it can."""
    store.write("settings/toy.toml", b"[[notify.targets]\n")
    assert not send_notice(store, APP, NOTICE)
    assert resend_pending(store, APP, NOW) == 0
    set_targets(store, target(FIRST))
    assert resend_pending(store, APP, NOW) == 1
    assert len(hooks[0].taken) == 1


def test_a_pending_notice_of_an_earlier_version_is_delivered(store: Store, hooks: list[Receiver]) -> None:
    """Its form is read, and what it says was delivered to the webhook is not sent there again."""
    app = AppSettings(webhook_url=hooks[1].url, webhook_private=1)
    set_targets(store, target(FIRST))
    store.write(
        "notices/pending/drift-toy-w.json",
        b'{"id":"drift-toy-w","kind":"drift","workload":"toy","message":"It drifted.","at":"2026-01-02T11:00:00Z",'
        b'"window":"w","run":"toy-w","links":{},"delivered":["webhook"],"tags":{},"data":{},"schema":1}',
    )
    assert resend_pending(store, app, NOW) == 1
    assert [len(hook.taken) for hook in hooks] == [1, 0]


def test_recovery_is_told_once_for_each_incident(store: Store, hooks: list[Receiver]) -> None:
    """A window that failed and is published later is reported as recovered once; one that never failed is not."""
    set_targets(store, target(FIRST, kinds=["run_failed", "recovered"]))
    write_lines(store, "2026-01-01T00", [("a", 1, "fail")])
    failed = run_window(store, "toy", "2026-01-01T00")
    assert failed.state is RunState.UNPUBLISHED
    send_ending_notices(store, APP, failed)
    write_lines(store, "2026-01-01T00", [("a", 1, "ok")])
    for _ in range(2):
        request = submit_retry(store, "toy-2026-01-01T00", NOW, "test", partitions=("a",)).request
        send_ending_notices(store, APP, execute(store, request))
    write_lines(store, "2026-01-01T01", [("a", 1, "ok")])
    send_ending_notices(store, APP, run_window(store, "toy", "2026-01-01T01"))
    assert [notice["kind"] for notice in hooks[0].taken] == ["run_failed", "recovered"]


def test_failures_end_with_a_round_that_has_none(store: Store, hooks: list[Receiver]) -> None:
    """A window that was published with failures is reported as recovered by the round that scores all, once."""
    set_targets(store, target(FIRST, kinds=["published_with_failures", "recovered"]))
    write_lines(store, "2026-01-01T00", [("a", 1, "fail"), *((f"b{n}", 1, "ok") for n in range(99))])
    record = run_window(store, "toy", "2026-01-01T00")
    assert record.state is RunState.PUBLISHED
    send_ending_notices(store, APP, record)
    for way in ("fail", "ok", "ok"):
        write_lines(store, "2026-01-01T00", [("a", 1, way), *((f"b{n}", 1, "ok") for n in range(99))])
        request = submit_retry(store, "toy-2026-01-01T00", NOW, "test", partitions=("a",)).request
        send_ending_notices(store, APP, execute(store, request))
    assert [notice["kind"] for notice in hooks[0].taken] == ["published_with_failures"] * 2 + ["recovered"]
    assert hooks[0].taken[-1]["id"] == "recovered-published_with_failures-toy-2026-01-01T00-r2"


@pytest.mark.parametrize("kind", ["window_overdue", "deadline_at_risk", "deadline_missed"])
def test_an_incident_of_a_window_ends_when_it_is_published(
    store: Store, hooks: list[Receiver], kind: str
) -> None:
    """What was said of a window before it had a run is over, once, when it is published; of another it is not."""
    set_targets(store, target(FIRST, kinds=[kind, "recovered"]))
    send_notice(store, APP, Notice(f"{kind}-toy-2026-01-01T00", kind, "toy", "late", NOW, "2026-01-01T00"))
    for hour in ("00", "01"):
        write_lines(store, f"2026-01-01T{hour}", [("a", 1, "ok")])
        record = run_window(store, "toy", f"2026-01-01T{hour}")
        for _ in range(2):
            send_ending_notices(store, APP, record)
    assert [notice["kind"] for notice in hooks[0].taken] == [kind, "recovered"]


def test_the_command_sends_one_to_each_target_and_says_what_it_answered(
    store: Store,
    hooks: list[Receiver],
    command: Callable[..., tuple[int, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Kinds and quiet hours do not matter, nothing is stored, and exit code 1 says that a target did not take it."""
    monkeypatch.setenv("FLEETSCORE_WEBHOOK_PRIVATE", "1")
    set_targets(store, target(FIRST, style="slack", quiet="00:00-23:59"), target(SECOND, kinds=["drift"]))
    hooks[1].refusals = 1
    code, said = command("notify", "--test", "toy")
    assert code == 1
    assert ("taken" in said, FIRST in said, SECOND in said) == (True, True, True)
    assert "answered 503" in said
    assert command("notify", "--test", "toy")[0] == 0
    assert [len(hook.taken) for hook in hooks] == [2, 1]
    assert SECRET not in said
    assert list(store.list("notices/")) == []
    assert command("notify", "--test", "nobody")[0] != 0


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ('url_env = "https://hooks.example/T0KEN-abcdef"', "names no variable"),
        ('url_env = "FLEETSCORE_NOTIFY_A"\nstyle = "fax"', "style"),
        ('url_env = "FLEETSCORE_NOTIFY_A"\nkinds = ["failed"]', "kinds"),
        ('url_env = "FLEETSCORE_NOTIFY_A"\nquiet = "22-6"', "22:00-06:00"),
        ('url_env = "FLEETSCORE_NOTIFY_A"\nquiet = "22:00-25:00"', "time of day"),
        ('url_env = "FLEETSCORE_NOTIFY_A"\nurl = "x"', "there is no setting 'url'"),
        (
            'url_env = "FLEETSCORE_NOTIFY_A"\n[[notify.targets]]\nurl_env = "FLEETSCORE_NOTIFY_A"',
            "two targets",
        ),
    ],
)
def test_a_fault_in_notify_names_the_line(store: Store, lines: str, says: str) -> None:
    """A wrong target is an error that says what was expected, and never repeats an address."""
    set_targets(store, lines)
    with pytest.raises(SettingsError) as refused:
        read_notify_policy(store, "toy")
    assert says in str(refused.value)
    assert SECRET not in str(refused.value)
