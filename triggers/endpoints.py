"""The app's endpoints by method and path, as its blueprints declare them."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import unquote

import azure.functions as func

_PARAMETER = re.compile(r"\{(\*?)(\w+)\}")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A function behind a route; `client` names its parameter of the durable client, "" for none."""

    route: str
    methods: frozenset[str]
    function: Callable[..., Awaitable[func.HttpResponse]]
    client: str
    pattern: re.Pattern[str]


def find_endpoint(method: str, path: str) -> tuple[Endpoint, dict[str, str]] | None:
    """The endpoint that asks for a key and has that method and path, and the parameters in the path, decoded;
    None for none.
    """
    for endpoint in _endpoints():
        match = endpoint.pattern.fullmatch(path)
        if match and method in endpoint.methods:
            return endpoint, {name: unquote(text) for name, text in match.groupdict().items()}
    return None


@cache
def _endpoints() -> tuple[Endpoint, ...]:
    """Those with the fewest parameters first: a word of a route goes before a parameter."""
    from triggers.blueprints import blueprints

    found = [
        endpoint
        for blueprint in blueprints
        for builder in blueprint._function_builders
        if (endpoint := _endpoint_of(builder._function)) is not None
    ]
    return tuple(sorted(found, key=lambda endpoint: len(_PARAMETER.findall(endpoint.route))))


def _endpoint_of(function: Any) -> Endpoint | None:
    """The endpoint of a function; None where it has no route, or one without a key."""
    trigger = function.get_trigger()
    if trigger.type != "httpTrigger" or trigger.auth_level not in (None, func.AuthLevel.FUNCTION):
        return None
    methods = frozenset(str(getattr(method, "value", method)) for method in trigger.methods or ())
    clients = [each.name for each in function.get_bindings() if each.type == "durableClient"]
    return Endpoint(
        trigger.route, methods, function.get_user_function(), (clients or [""])[0], _pattern(trigger.route)
    )


def _pattern(route: str) -> re.Pattern[str]:
    """What the route's paths look like; a parameter is one segment, one with a star the rest."""
    parts, at = [], 0
    for match in _PARAMETER.finditer(route):
        rest = ".*" if match[1] else "[^/]+"
        parts += [re.escape(route[at : match.start()]), f"(?P<{match[2]}>{rest})"]
        at = match.end()
    return re.compile("".join([*parts, re.escape(route[at:])]))
