"""The frame of every page: style and script inside, nothing from elsewhere, and a policy that lets nothing
else in.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fleetscore.dashboard.formatting import format_moment
from fleetscore.dashboard.links import Links
from fleetscore.dashboard.markup import Markup, join, tag

REFRESH_MS = 1500
_REFRESH_WITHOUT_SCRIPT_S = 5
_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Body:
    """What a view shows: its title, its content, the way to it as (label, address), and whether it changes
    by itself.
    """

    title: str
    content: Markup
    trail: Sequence[tuple[str, str]] = ()
    is_live: bool = False


def render_page(body: Body, links: Links, now: datetime) -> str:
    """The whole page as HTML text."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("noscript", tag("meta", http_equiv="refresh", content=_REFRESH_WITHOUT_SCRIPT_S)) if body.is_live else None,
        tag("title", f"{body.title} · Fleetscore"),
        tag("style", Markup(page_style())),
    )  # fmt: skip
    page = tag(
        "body", _top(body, links, now), tag("main", body.content),
        tag("script", Markup(_asset("refresh.js"))) if body.is_live else None,
        data_every=REFRESH_MS if body.is_live else None,
    )  # fmt: skip
    return f"<!doctype html>{tag('html', head, page, lang='en')}\n"


@functools.cache
def security_headers() -> dict[str, str]:
    """The headers of a page: only its own style and script work, it is never framed, and its address, which
    may hold a key, is never sent on.
    """
    policy = (
        "default-src 'none'; "
        f"style-src '{_digest(page_style())}'; script-src '{_digest(_asset('refresh.js'))}'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }


def _top(body: Body, links: Links, now: datetime) -> Markup:
    trail = [("Fleetscore", links.overview()), *body.trail]
    steps = [
        tag("a", label, href=address, class_="home" if n == 0 else None)
        if address
        else tag("span", label, aria_current="page")
        for n, (label, address) in enumerate(trail)
    ]
    between = tag("span", "/", class_="quiet", aria_hidden="true")
    nav = join(join(between, step) if n else step for n, step in enumerate(steps))
    state = tag("span", "live", class_="pulse") if body.is_live else None
    badges = tag("span", state, " " if state else None, format_moment(now), id="state", class_="quiet small")
    return tag("header", tag("nav", nav, aria_label="Where you are"), badges, class_="top")


def picture_style() -> str:
    """The style of figures, for a file of their own."""
    return _asset("picture.css")


def page_style() -> str:
    """The style of a page, with that of its figures."""
    return _asset("picture.css") + _asset("style.css")


@functools.cache
def _asset(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
