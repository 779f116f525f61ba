"""Notices arrive once, survive a receiver that is down, and never cost a run anything."""

import logging
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from app_host import Host, wait_until
from notice_receiver import Receiver, receiving
from toy_workload import write_lines

from fleetscore.app_settings import AppSettings
from fleetscore.errors import InputError, StoreError
from fleetscore.operations.notices import delivery as notice_delivery
from fleetscore.operations.notices.delivery import resend_pending, send_notice
from fleetscore.operations.notices.ended_runs import notices_of, send_ending_notices
from fleetscore.operations.notices.notice import Notice
from fleetscore.operations.notices.targets import QUEUE, app_targets
from fleetscore.operations.outbound.callbacks import Callback, answer_callbacks, request_callback
from fleetscore.operations.outbound.posting import check_address, post_json
from fleetscore.pipeline.local import execute, run_window
from fleetscore.pipeline.submit import submit_retry, submit_run
from fleetscore.records import RunState, to_json
from fleetscore.runs.delta_log import read_snapshot
from fleetscore.store.base import Store

NOW = datetime(2026, 1, 2, tzinfo=UTC)
NOTICE = Notice("run_failed-toy-w", "run_failed", "toy", "toy-w ended failed: why.", NOW, "w", "toy-w")


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver of this test's own, and no waiting between tries."""
    monkeypatch.setattr(notice_delivery, "_WAITS_S", (0.0, 0.01, 0.02))
    with receiving() as receiver:
        yield receiver


def test_a_notice_is_tried_again_and_told_once(store: Store, hook: Receiver) -> None:
    """Two refusals are followed by a third try; telling the same thing again posts nothing."""
    app = AppSettings(webhook_url=hook.url, webhook_private=1)
    hook.refusals = 2
    assert send_notice(store, app, NOTICE)
    assert send_notice(store, app, NOTICE)
    assert (hook.asked, len(hook.taken)) == (3, 1)
    assert (hook.taken[0]["kind"], hook.taken[0]["message"]) == ("run_failed", NOTICE.message)


def test_a_receiver_that_is_down_gets_it_later_and_after_four_days_it_is_given_up(
    store: Store, hook: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """What is pending is resent; a notice that nobody took for four days is moved aside with an error. The URL's secret is in no log."""
    app = AppSettings(webhook_url=hook.url, webhook_private=1)
    hook.refusals = 3
    assert not send_notice(store, app, NOTICE, NOW)
    assert resend_pending(store, app, NOW + timedelta(hours=1)) == 1
    assert (len(hook.taken), list(store.list("notices/pending/"))) == (1, [])
    with caplog.at_level(logging.WARNING):
        assert not send_notice(
            store,
            AppSettings(webhook_url="http://127.0.0.1:9/?secret=x", webhook_private=1),
            replace(NOTICE, id="other"),
        )
        assert resend_pending(store, app, NOW + timedelta(hours=97)) == 0
    assert [entry.path for entry in store.list("notices/given_up/")] == ["notices/given_up/other.json"]
    assert "never taken" in caplog.text
    assert "secret" not in caplog.text


def test_without_a_receiver_nothing_is_kept(store: Store) -> None:
    """No settings, no files."""
    assert not send_notice(store, AppSettings(), NOTICE)
    assert list(store.list("")) == []


def test_what_arrived_at_one_place_is_not_sent_there_again(
    store: Store, hook: Receiver, azurite: str
) -> None:
    """The queue takes it while the webhook refuses; later only the webhook gets it. The message is in the trigger's encoding."""
    from azure.storage.queue import QueueClient, TextBase64DecodePolicy

    endpoint = next(part for part in azurite.split(";") if part.startswith("QueueEndpoint=")).split("=", 1)[1]
    app = AppSettings(webhook_url=hook.url, webhook_private=1, queue_service=endpoint)
    hook.refusals = 3
    assert not send_notice(store, app, NOTICE, NOW)
    assert resend_pending(store, app, NOW + timedelta(minutes=4)) == 1
    assert len(hook.taken) == 1
    queue = QueueClient.from_connection_string(azurite, QUEUE, message_decode_policy=TextBase64DecodePolicy())
    told = [message.content for message in queue.receive_messages()]
    assert len(told) == 1
    assert '"run_failed"' in told[0]


@pytest.mark.parametrize(
    ("state", "counts", "facts", "kinds"),
    [
        (RunState.PUBLISHED, {"scored": 9}, {}, []),
        (RunState.PUBLISHED, {"scored": 9, "skipped": 1}, {}, []),
        (RunState.PUBLISHED, {"scored": 9, "late": 1}, {}, ["published_with_failures"]),
        (RunState.PUBLISHED, {"scored": 9}, {"drifted": 2}, ["drift"]),
        (RunState.UNPUBLISHED, {"failed": 9}, {}, ["run_failed"]),
        (RunState.FAILED, {}, {}, ["run_failed"]),
        (RunState.CANCELLED, {}, {}, []),
    ],
)
def test_what_an_ending_has_to_be_told_of(
    store: Store, state: RunState, counts: dict[str, int], facts: dict[str, Any], kinds: list[str]
) -> None:
    """Good news is no notice; each kind of bad news has its own."""
    write_lines(store, "2026-01-01T00", [("a", 1, "ok")])
    record = replace(run_window(store, "toy", "2026-01-01T00"), state=state, counts=counts, facts=facts)
    assert [notice.kind for notice in notices_of(record)] == kinds
    assert all(notice.links["command"].endswith(record.request.run) for notice in notices_of(record))


def test_a_window_that_is_not_published_is_told_of_with_its_first_cause(store: Store) -> None:
    """Whoever reads the notice knows which partition to look at, and what happened to it."""
    write_lines(store, "2026-01-01T00", [("gauge", 1, "late")])
    (notice,) = notices_of(run_window(store, "toy", "2026-01-01T00"))
    assert "None of 1 partitions was scored. Most often no_rows, first gauge." in notice.message


def test_the_app_posts_failures_with_links_that_work(
    host: Host, host_store: Store, receiver: Receiver
) -> None:
    """A window with a failed partition is told of once, with a link to the run; a good one is not."""
    write_lines(host_store, "2026-01-01T08", [(f"p{i}", i, "fail" if i == 0 else "ok") for i in range(20)])
    write_lines(host_store, "2026-01-01T09", [("a", 1, "ok")])
    bad, good = (
        host.post("runs", {"workload": "toy", "window": f"2026-01-01T0{hour}"}).json()["id"]
        for hour in (8, 9)
    )
    host.ended(bad)
    host.ended(good)
    wait_until(lambda: receiver.of_run(bad))
    assert (receiver.of_run(bad), receiver.of_run(good)) == (["published_with_failures"], [])
    link = next(notice["links"]["run"] for notice in receiver.taken if notice["run"] == bad)
    assert host.get(link.split("/api/", 1)[1])["state"] == "published"


def test_a_redirect_is_not_taken(store: Store) -> None:
    """A receiver that answers 302 gets one request and no second elsewhere, and the notice stays pending."""
    with receiving() as hook:
        hook.refusals, hook.refusal = 1, 302
        app = AppSettings(webhook_url=hook.url, webhook_private=1)
        with pytest.raises(StoreError, match="302"):
            app_targets(store, app, "toy")[0].deliver(NOTICE)
        assert (hook.asked, hook.taken) == (1, [])


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/",
        "http://169.254.169.254/x",
        "http://[::1]/",
        "http://10.0.0.1/",
        "http://2130706433/",
        "http://0177.0.0.1/",
        "http://[::ffff:127.0.0.1]/",
        "http://[64:ff9b::10.0.0.1]/",
        "http://[2002:7f00:1::]/",
        "http://[::127.0.0.1]/",
        "http://[fec0::1]/",
        "http://[ff0e::1]/",
        "http://168.63.129.16/metadata",
        "http://192.0.0.192/",
    ],
)
def test_private_networks_are_not_called_unless_allowed(url: str) -> None:
    """Loopback, link-local and private addresses are refused without a request, with the setting that allows them."""
    with pytest.raises(InputError, match="FLEETSCORE_WEBHOOK_PRIVATE"):
        post_json(url, b"{}", allow_private=False)


@pytest.mark.parametrize("url", ["http://127.0.0.1\\@8.8.8.8/", " http://8.8.8.8/", "http://8.8.8.8/\u200b"])
def test_addresses_that_programs_read_differently_are_refused(url: str) -> None:
    """A backslash, a blank or an invisible sign, before which one parser ends the host and another does not, is refused."""
    with pytest.raises(InputError, match="backslash, a blank"):
        check_address(url, allow_private=False)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_name_that_changes_to_a_private_address_gets_no_byte(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is public when it is checked and private when it is called is refused before anything is sent."""
    answers, resolve = iter(["8.8.8.8"]), socket.getaddrinfo

    def rebinding(host: str, *arguments: Any, **named: Any) -> Any:
        return resolve(next(answers, "127.0.0.1") if host == "rebind.example" else host, *arguments, **named)

    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with pytest.raises(InputError, match="FLEETSCORE_WEBHOOK_PRIVATE"):
            post_json(f"{scheme}://rebind.example:{listener.getsockname()[1]}/", b"{}", allow_private=False)
        listener.settimeout(20)
        connection = listener.accept()[0]
        with connection:
            connection.settimeout(20)
            assert connection.recv(1) == b""


def test_one_unreadable_notice_keeps_back_no_other(store: Store) -> None:
    """A pending notice that was cut short stays where it is, and the next one is delivered."""
    with receiving() as hook:
        app = AppSettings(webhook_url=hook.url, webhook_private=1)
        store.write("notices/pending/a.json", b'{"id": "a"')
        store.write("notices/pending/b.json", to_json(replace(NOTICE, id="b", at=datetime.now(UTC))))
        assert resend_pending(store, app, datetime.now(UTC)) == 1
        assert store.stat("notices/pending/a.json") is not None


def test_a_callback_is_called_once_when_the_run_has_ended(store: Store) -> None:
    """Before the end nothing is called; at the end once, with the status that Data Factory decides on; then it is forgotten."""
    write_lines(store, "2026-01-01T00", [("a", 1, "ok")])
    with receiving() as hook:
        app, now = AppSettings(webhook_private=1), datetime.now(UTC)
        asked = submit_run(store, "toy", "2026-01-01T00", now, "http")
        request_callback(store, app, asked.request.run, hook.url, now)
        assert answer_callbacks(store, app, now) == 0
        execute(store, asked.request)
        assert [answer_callbacks(store, app, now), answer_callbacks(store, app, now)] == [1, 0]
        assert hook.taken[0]["statusCode"] == "200"
        assert hook.taken[0]["Output"]["counts"] == {"scored": 1}


def test_callers_of_one_run_are_each_called_once_by_processes_that_look_at_the_same_moment(
    store: Store,
) -> None:
    """Two pipelines that wait for one window both hear of its end, and neither twice, however often each asked."""
    write_lines(store, "2026-01-01T00", [("a", 1, "ok")])
    with receiving() as first, receiving() as second:
        app, now = AppSettings(webhook_private=1), datetime.now(UTC)
        asked = submit_run(store, "toy", "2026-01-01T00", now, "http")
        for hook in (first, second, first, second):
            request_callback(store, app, asked.request.run, hook.url, now)
        execute(store, asked.request)
        with ThreadPoolExecutor(4) as pool:
            taken = list(pool.map(lambda _: answer_callbacks(store, app, now), range(4)))
        assert (sum(taken), len(first.taken), len(second.taken)) == (2, 1, 1)
        assert list(store.list("callbacks/")) == []


def test_a_callback_that_a_killed_process_was_at_is_called_after_a_while(store: Store) -> None:
    """What is being called is left alone for minutes, and then called by another process."""
    write_lines(store, "2026-01-01T00", [("a", 1, "ok")])
    run = run_window(store, "toy", "2026-01-01T00").request.run
    with receiving() as hook:
        app, now = AppSettings(webhook_private=1), datetime.now(UTC)
        store.write(f"callbacks/{run}.json", to_json(Callback(run, hook.url, now, calling=now)))
        assert answer_callbacks(store, app, now + timedelta(minutes=1)) == 0
        assert answer_callbacks(store, app, now + timedelta(minutes=6)) == 1
        assert len(hook.taken) == 1


def test_a_callback_of_a_lost_run_is_called_with_that(store: Store) -> None:
    """Where the run's record is gone at once, where it is damaged after a day, since it may be repaired; then it is forgotten."""
    write_lines(store, "2026-01-01T00", [("a", 1, "ok")])
    run = run_window(store, "toy", "2026-01-01T00").request.run
    with receiving() as hook:
        app, now = AppSettings(webhook_private=1), datetime.now(UTC)
        request_callback(store, app, "toy-2026-01-02T00", hook.url, now)
        assert answer_callbacks(store, app, now) == 1
        assert (hook.taken[0]["statusCode"], hook.taken[0]["Error"]["ErrorCode"]) == ("500", "run_lost")
        store.write(f"runs/{run}/run.json", b"{")
        request_callback(store, app, run, hook.url, now)
        assert answer_callbacks(store, app, now + timedelta(hours=1)) == 0
        assert answer_callbacks(store, app, now + timedelta(hours=25)) == 1
        assert run in hook.taken[1]["Error"]["Message"]
    assert list(store.list("callbacks/")) == []


def test_a_callback_into_a_private_network_is_refused_with_the_field(store: Store) -> None:
    """The caller learns at once that the address may not be called."""
    with pytest.raises(InputError) as refused:
        request_callback(store, AppSettings(), "toy-w", "http://10.0.0.1/", datetime.now(UTC))
    assert refused.value.field == "callBackUri"


def test_what_was_published_is_said_as_a_cloud_event_where_it_is_asked_for(
    store: Store, hook: Receiver
) -> None:
    """No event without the setting; with it one for each round, with manifest, version of the table and counts, told once."""
    app = AppSettings(webhook_url=hook.url, webhook_private=1)
    write_lines(store, "2026-01-01T00", [("a", 1, "ok")])
    send_ending_notices(store, app, run_window(store, "toy", "2026-01-01T00"))
    assert hook.taken == []
    store.write("settings/toy.toml", b"[run]\nnotice_published = true\n")
    record = execute(store, submit_retry(store, "toy-2026-01-01T00", NOW, "test", partitions=("a",)).request)
    send_ending_notices(store, app, record)
    send_ending_notices(store, app, record)
    (event,) = hook.taken
    assert (event["specversion"], event["type"], event["subject"]) == (
        "1.0",
        "fleetscore.published",
        "2026-01-01T00",
    )
    data = event["data"]
    assert (data["run"], data["round"], data["counts"]) == ("toy-2026-01-01T00-r2", 2, {"scored": 1})
    assert store.stat(data["manifest"]) is not None
    assert (data["table"], data["table_version"]) == ("tables/toy/", read_snapshot(store, "toy").version)
    assert hook.content_types == ["application/cloudevents+json"]
