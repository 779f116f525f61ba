"""Templates of notices: what the user writes is sent, filled safely, and a fault in it is that target's refusal."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from notice_receiver import Receiver, receiving

from fleetscore.app_settings import AppSettings
from fleetscore.errors import InputError
from fleetscore.operations.doctor.checks import examine
from fleetscore.operations.notices import delivery as notice_delivery
from fleetscore.operations.notices.delivery import list_refusals, resend_pending, send_notice
from fleetscore.operations.notices.notice import Notice
from fleetscore.operations.notices.templates import MAX_BYTES, fill_template
from fleetscore.store.base import Store

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
NOTICE = Notice(
    "run_failed-toy-w", "run_failed", "toy", "toy-w ended failed: why.", NOW, "w", "toy-w", tags={"team": "a"}
)
APP = AppSettings(webhook_private=1)
NAME, OTHER = "FLEETSCORE_NOTIFY_PAGER", "FLEETSCORE_NOTIFY_CHAT"
HOSTILE = '"}, "routing_key": "x", \\ \n ${run} $$ <!channel> &  ü \x1b'


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Receiver, Receiver]]:
    """Two receivers with their addresses in the environment, and no waiting between tries."""
    monkeypatch.setattr(notice_delivery, "_WAITS_S", (0.0,))
    with receiving() as first, receiving() as second:
        monkeypatch.setenv(NAME, first.url)
        monkeypatch.setenv(OTHER, second.url)
        yield first, second


def set_template(store: Store, template: str, style: str = "plain") -> None:
    """Two targets of the toy workload: one with the template, one without."""
    lines = f'[[notify.targets]]\nurl_env = "{NAME}"\nstyle = "{style}"\ntemplate = {json.dumps(template)}\n'
    store.write("settings/toy.toml", f'{lines}[[notify.targets]]\nurl_env = "{OTHER}"\n'.encode())


@pytest.mark.parametrize("message", ["plain", HOSTILE, "x" * 50_000])
def test_no_message_changes_the_structure_of_a_json_template(message: str) -> None:
    """The body has the template's own keys and types whatever the data says, and the message as it was, or cut."""
    template = (
        '{"summary": "${title}: ${message}", "n": 1, "more": [{"team": "${tags.team}/${tags.none}"}, null]}'
    )
    body, content_type = fill_template(template, replace(NOTICE, message=message))
    made = json.loads(body)
    assert content_type == "application/json"
    assert (set(made), made["n"], made["more"]) == ({"summary", "n", "more"}, 1, [{"team": "a/"}, None])
    assert made["summary"].startswith(f"Run failed: toy w: {message[:2000]}")
    assert len(body) < 10_000


def test_other_templates_are_text_and_slack_gets_its_values_escaped() -> None:
    """A text is filled as it stands; with the style slack no value can mention anybody."""
    notice = replace(NOTICE, message="<!channel> & co")
    assert fill_template("$kind: ${message} $$", notice)[0] == b"run_failed: <!channel> & co $"
    made = json.loads(fill_template('{"text": "*${message}*"}', notice, "slack")[0])
    assert made == {"text": "*&lt;!channel&gt; &amp; co*"}


@pytest.mark.parametrize(
    "template",
    [
        "${nothing}", "${message.__class__}", "$", "${", "{ no json", '{"a": "${MESSAGE}"}', '{"a": 1} x',
        "[" * 5000, "${message}" * (MAX_BYTES // 3), '{"${x}": "$"}',
    ],
)  # fmt: skip
def test_a_template_that_cannot_be_filled_is_an_error_that_says_why(template: str) -> None:
    """Unknown names, broken JSON, depth and size are refused with the names that exist."""
    with pytest.raises(InputError) as refused:
        fill_template(template, NOTICE)
    assert refused.value.field == "template"
    assert "tags.NAME" in refused.value.fix


def test_a_bad_template_is_the_refused_notice_of_its_target_alone(
    store: Store, hooks: tuple[Receiver, Receiver]
) -> None:
    """The other target gets the notice, doctor names template and fault, and once it is corrected the notice is sent at once."""
    set_template(store, '{"text": "${mesage}"}')
    assert not send_notice(store, APP, NOTICE, NOW)
    assert [hook.asked for hook in hooks] == [0, 1]
    assert "mesage" in list_refusals(store)[0].message
    found = [f for f in examine(store, APP, lambda: NOW).findings if f.check == "notices"]
    assert any(f.state == "wrong" and NAME in f.detail and "mesage" in f.detail for f in found)
    set_template(store, '{"text": "${message}"}')
    assert resend_pending(store, APP, NOW) == 1
    assert (hooks[0].taken, hooks[1].asked) == ([{"text": NOTICE.message}], 1)


def test_a_template_decides_the_body_and_the_style_how_the_answer_is_read(
    store: Store, hooks: tuple[Receiver, Receiver]
) -> None:
    """With the style slack an answer 200 other than ok is a refusal of the templated body, too."""
    set_template(store, '{"text": "${title}"}', style="slack")
    hooks[0].answer = b"invalid_blocks"
    assert not send_notice(store, APP, NOTICE, NOW)
    assert "invalid_blocks" in list_refusals(store)[0].message
    hooks[0].answer = b"ok"
    assert resend_pending(store, APP, NOW + timedelta(minutes=4)) == 1
    assert hooks[0].taken[-1] == {"text": "Run failed: toy w"}


def test_the_command_tests_one_target_by_name(
    store: Store,
    hooks: tuple[Receiver, Receiver],
    command: Callable[..., tuple[int, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only the named target is sent to, by its template; a name that is none lists those that exist."""
    monkeypatch.setenv("FLEETSCORE_WEBHOOK_PRIVATE", "1")
    set_template(store, "${title}")
    code, said = command("notify", "--test", "toy", "--target", NAME, "--json")
    assert (code, json.loads(said)[0]["style"]) == (0, "template")
    assert ([hook.asked for hook in hooks], hooks[0].bodies) == ([1, 0], [b"Test notice: toy"])
    code, said = command("notify", "--test", "toy", "--target", "NOBODY")
    assert code == 2
    assert all(name in said for name in ("NOBODY", NAME, OTHER))


def test_the_app_tests_with_its_own_addresses(host: Any, host_store: Store, receiver: Receiver) -> None:
    """POST /api/notices/test reaches the app's webhook and says what it answered."""
    asked = receiver.asked
    tests = host.post("notices/test", {"workload": "toy"}).json()
    assert tests == [{"target": "webhook", "style": "plain", "refusal": ""}]
    assert receiver.asked == asked + 1
    assert host.post("notices/test", {"workload": "toy", "target": "x"}).status_code == 400
