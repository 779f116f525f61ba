"""A notice: something that needs attention, as it is stored and sent, with links to where to look next."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Attempt:
    """How often a notice was tried at a target, and from when on it may be tried again."""

    tries: int
    due: datetime


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that needs attention; `id` is the same for the same thing. `delivered` names where it arrived
    already, `attempts` where it was tried.
    """

    id: str
    kind: str  # one of NoticeKind, or test
    workload: str
    message: str
    at: datetime
    window: str = ""
    run: str = ""
    links: Mapping[str, str] = field(default_factory=dict)
    delivered: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)  # of the workload
    data: Mapping[str, Any] = field(default_factory=dict)  # of `published`: what, and where
    attempts: Mapping[str, Attempt] = field(default_factory=dict)
    schema: int = 1


def links_of_run(run: str, kind: str = "") -> dict[str, str]:
    """Where to look next: the app's own pages where it knows its name, and the command."""
    commands = {"drift": f"fleetscore drift {run}", "anomalies": "fleetscore anomalies"}
    command = commands.get(kind, f"fleetscore show {run}")
    base = app_base()
    if not base:
        return {"command": command}
    return {
        "run": f"{base}/runs/{quote(run)}",
        "dashboard": f"{base}/dashboard?run={quote(run)}",
        "command": command,
    }


def app_base() -> str:
    """The address of the app's endpoints, those for signed-in callers where there are; "" where it is not
    known.
    """
    host = os.environ.get("WEBSITE_HOSTNAME", "")
    if not host:
        return ""
    scheme = "http" if host.startswith(("localhost", "127.0.0.1")) else "https"
    return f"{scheme}://{host}/api" + ("/entra" if os.environ.get("FLEETSCORE_AUTH") else "")
