"""What is sent of a notice: the body that a receiver of each style takes, and its content type.

Slack's incoming webhooks take blocks (https://docs.slack.dev/reference/block-kit/blocks). Workflows of Teams
take a message with an adaptive card (https://adaptivecards.io/explorer/). Their texts are of kinds that are
shown as they are, since messages contain names and errors from data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import msgspec

from fleetscore.operations.notices.notice import Notice, app_base

JSON, CLOUD_EVENT = "application/json", "application/cloudevents+json"
_SLACK_HEADER, _TEXT = 150, 2900  # characters; Slack takes 3,000 in a section, and Teams 28 KB in all
_URL = 3000
_TITLES = {
    "run_failed": "Run failed",
    "published_with_failures": "Published with failures",
    "window_overdue": "Window overdue",
    "run_stalled": "Run stalled",
    "deadline_at_risk": "Deadline at risk",
    "deadline_missed": "Deadline missed",
    "drift": "Partitions drifted",
    "anomalies": "Anomalies",
    "budget": "Budget exceeded",
    "workload_broken": "Workload broken",
    "recovered": "Recovered",
    "published": "Published",
    "test": "Test notice",
}


def write_body(notice: Notice, style: str = "") -> tuple[bytes, str]:
    """The body in that style (slack, teams, plain, cloudevents) and its content type.

    "" is the form of FLEETSCORE_WEBHOOK_URL and of the queue: JSON, and of `published` a CloudEvent.
    """
    if style == "slack":
        return msgspec.json.encode(slack_message(notice)), JSON
    if style == "teams":
        return msgspec.json.encode(teams_message(notice)), JSON
    if style == "cloudevents" or (style == "" and notice.kind == "published"):
        return msgspec.json.encode(cloud_event(notice)), CLOUD_EVENT
    return msgspec.json.encode(_without_delivery(notice)), JSON


def _without_delivery(notice: Notice) -> dict[str, Any]:
    """The notice as JSON values, without who has it and when it is tried again."""
    fields: dict[str, Any] = msgspec.to_builtins(replace(notice, delivered=()))
    del fields["attempts"]
    return fields


def cloud_event(notice: Notice) -> dict[str, Any]:
    """The notice as a CloudEvent 1.0 in its JSON form; the data of `published` is what was published."""
    data: Mapping[str, Any] = notice.data
    if notice.kind != "published":
        data = {
            "workload": notice.workload, "window": notice.window, "run": notice.run,
            "message": notice.message, "tags": notice.tags,
        }  # fmt: skip
    event = {
        "specversion": "1.0", "id": notice.id, "type": f"fleetscore.{notice.kind}", "time": notice.at,
        "source": f"/fleetscore/{notice.workload}", "subject": notice.window,
        "datacontenttype": JSON, "data": {**data, "links": notice.links},
    }  # fmt: skip
    if not notice.window:
        del event["subject"]  # an empty subject is not allowed
    return event


def slack_message(notice: Notice) -> dict[str, Any]:
    """The message for an incoming webhook of Slack: a header, the text, where it happened, and a button."""
    title, where = title_of(notice), _where(notice)
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _plain(shorten(title, _SLACK_HEADER))},
        {"type": "section", "text": _plain(shorten(notice.message, _TEXT))},
        {"type": "context", "elements": [_plain(shorten(where, _TEXT))]},
    ]
    address = dashboard_address(notice)
    if address:
        button = {"type": "button", "text": _plain("Open the dashboard"), "url": address}
        blocks.append({"type": "actions", "elements": [button]})
    return {"text": escape_slack(shorten(f"{title}: {notice.message}", _TEXT)), "blocks": blocks}


def teams_message(notice: Notice) -> dict[str, Any]:
    """The message for a workflow webhook of Teams: one adaptive card with the text and a link."""
    lines = (
        {"text": shorten(title_of(notice), _TEXT), "weight": "Bolder", "size": "Medium"},
        {"text": shorten(notice.message, _TEXT)},
        {"text": shorten(_where(notice), _TEXT), "isSubtle": True, "size": "Small"},
    )
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [{"type": "RichTextBlock", "inlines": [{"type": "TextRun", **line}]} for line in lines],
    }
    address = dashboard_address(notice)
    if address:
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Open the dashboard", "url": address}]
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    return {"type": "message", "attachments": [attachment]}


def dashboard_address(notice: Notice) -> str:
    """Where the dashboard shows the notice's run, or its workload where it has no run; "" where the app's
    address is not known.
    """
    address = notice.links.get("dashboard", "")
    base = app_base()
    if not address and base:
        place = f"run={quote(notice.run)}" if notice.run else f"workload={quote(notice.workload)}"
        address = f"{base}/dashboard?{place}"
    return address if len(address) <= _URL else ""


def title_of(notice: Notice) -> str:
    """What happened where, as "Run failed: store_sales 2026-W47"."""
    kind = _TITLES.get(notice.kind, notice.kind.replace("_", " ").capitalize())
    return f"{kind}: {' '.join(part for part in (notice.workload, notice.window) if part)}"


def _where(notice: Notice) -> str:
    """When, the run, the workload's tags, and the command that shows more."""
    parts = [f"{notice.at:%Y-%m-%d %H:%M} UTC", notice.run, notice.links.get("command", "")]
    parts += [f"{name}: {value}" for name, value in notice.tags.items()]
    return " | ".join(part for part in parts if part)


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}


def escape_slack(text: str) -> str:
    """The text without what Slack reads as a mention, a link or an entity."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def shorten(text: str, limit: int) -> str:
    """The text, at least a character and at most `limit` of them."""
    text = text or "-"
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
