"""Bodies of notices that a user writes: a template with ${names}, in which the notice's own values are
put.

Nothing of a template is evaluated. Of a template that is JSON each text is filled after it was parsed, so
that no message from data can change the structure of the body.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from string import Template
from typing import Any

import msgspec

from fleetscore.errors import InputError
from fleetscore.operations.notices.bodies import JSON, dashboard_address, escape_slack, shorten, title_of
from fleetscore.operations.notices.notice import Notice

TEXT = "text/plain; charset=utf-8"
MAX_BYTES = 100_000
"""The largest body that a template may make."""
_VALUE_LENGTH = 2900  # characters: the limit of the styles


class _Names(Template):
    idpattern = r"(?a:[a-z]+(?:\.[A-Za-z0-9_-]+)?)"
    braceidpattern = idpattern


def fill_template(template: str, notice: Notice, style: str = "") -> tuple[bytes, str]:
    """The body that the template makes of the notice, and its content type: JSON where the template begins
    with { or [, else plain text. For `slack` values are escaped as Slack asks for.

    InputError for a template that cannot be filled.
    """
    values = _values(notice, escape_slack if style == "slack" else str)
    if template.lstrip()[:1] not in ("{", "["):
        return _limited(_fill(template, values).encode()), TEXT
    try:
        return _limited(msgspec.json.encode(_fill_texts(msgspec.json.decode(template), values))), JSON
    except msgspec.DecodeError as error:
        raise InputError(
            f"The template begins as JSON and is none: {error}.", fix=_FIX, field="template"
        ) from error
    except RecursionError as error:
        raise InputError("The template is nested too deep.", fix=_FIX, field="template") from error


def _values(notice: Notice, escape: Callable[[str], str]) -> dict[str, str]:
    found = {
        "id": notice.id, "kind": notice.kind, "title": title_of(notice), "message": notice.message,
        "workload": notice.workload, "window": notice.window, "run": notice.run,
        "at": f"{notice.at:%Y-%m-%dT%H:%M:%SZ}", "command": notice.links.get("command", ""),
    }  # fmt: skip
    found |= {f"tags.{name}": str(value) for name, value in notice.tags.items()}
    values = {name: escape(shorten(value, _VALUE_LENGTH) if value else "") for name, value in found.items()}
    return {**values, "dashboard": dashboard_address(notice)}


_NAMES = "id, kind, title, message, workload, window, run, at, command, dashboard, tags.NAME"
_FIX = f"Write text or JSON with ${{name}} of {_NAMES}; $$ is a dollar sign."


def _fill_texts(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _fill(value, values)
    if isinstance(value, list):
        return [_fill_texts(each, values) for each in value]
    if isinstance(value, dict):
        return {name: _fill_texts(each, values) for name, each in value.items()}
    return value


def _fill(text: str, values: Mapping[str, str]) -> str:
    try:
        return _Names(text).substitute(_Known(values))
    except KeyError as error:
        message = f"The template names {str(error.args[0])[:100]!r}, which a notice does not have."
        raise InputError(message, fix=_FIX, field="template") from error
    except ValueError as error:
        raise InputError(f"The template cannot be read: {error}.", fix=_FIX, field="template") from error


class _Known(dict[str, str]):
    """The values by name; a tag that the workload does not have is empty."""

    def __missing__(self, name: str) -> str:
        if name.startswith("tags."):
            return ""
        raise KeyError(name)


def _limited(body: bytes) -> bytes:
    if len(body) > MAX_BYTES:
        message = f"The template makes a body of {len(body)} bytes; at most {MAX_BYTES} are sent."
        raise InputError(message, fix=_FIX, field="template")
    return body
