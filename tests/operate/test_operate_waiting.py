"""A command that starts the local host itself: what its run has to tell others is sent when the command is over."""

from collections.abc import Callable, Iterator

import pytest
from app_host import wait_until
from notice_receiver import Receiver, receiving
from toy_workload import write_lines

from fleetscore.operations.outbound.sending import may_wait
from fleetscore.store.base import Store

WINDOW = "2026-01-01T00"
TARGETS = b'[[notify.targets]]\nurl_env = "FLEETSCORE_NOTIFY_CHAT"\nkinds = ["published"]\n'


@pytest.fixture
def receivers(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Receiver, Receiver]]:
    """A chat and a lineage server, which the environment names."""
    with receiving() as chat, receiving() as lineage:
        monkeypatch.setenv("FLEETSCORE_NOTIFY_CHAT", chat.url)
        monkeypatch.setenv("FLEETSCORE_WEBHOOK_PRIVATE", "1")
        monkeypatch.setenv("OPENLINEAGE_URL", lineage.url.partition("/hook")[0])
        yield chat, lineage


@pytest.mark.slow
def test_notices_and_lineage_of_a_command_arrive_though_its_host_is_gone(
    store: Store, command: Callable[..., tuple[int, str]], receivers: tuple[Receiver, Receiver]
) -> None:
    """The command ends while both receivers still think; what it had to say arrives afterwards, once."""
    chat, lineage = receivers
    for receiver in receivers:
        receiver.answering.clear()
    write_lines(store, WINDOW, [("a", 1, "ok")])
    store.write("settings/toy.toml", TARGETS)
    code, said = command("run", "toy", "--window", WINDOW)
    assert code == 0, said
    assert (chat.taken, lineage.taken) == ([], [])  # nobody waited for them
    wait_until(lambda: chat.asked and lineage.asked)
    for receiver in receivers:
        receiver.answering.set()
    run = f"toy-{WINDOW}"
    wait_until(lambda: store.stat(f"notices/sent/published-{run}.json") is not None)
    wait_until(lambda: store.stat(f"outbox/lineage/done/{run}.json") is not None)
    assert [notice["kind"] for notice in chat.taken] == ["published"]
    assert [event["eventType"] for event in lineage.taken] == ["START", "COMPLETE"]


@pytest.mark.parametrize(
    ("environment", "may"),
    [
        ({}, False),
        ({"FLEETSCORE_NOTIFY_CHAT": ""}, False),
        ({"FLEETSCORE_NOTIFY_CHAT": "https://chat"}, True),
        ({"OPENLINEAGE_URL": "http://lineage"}, True),
        ({"FLEETSCORE_STORE": "file:///srv"}, False),
    ],
)
def test_a_process_that_sends_is_started_only_for_receivers(environment: dict[str, str], may: bool) -> None:
    """Where the environment names no receiver nothing is started when a command ends."""
    assert may_wait(environment) == may
