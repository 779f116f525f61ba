"""The query parameters that endpoints take: any other is refused, since one that is mistyped would change
nothing.
"""

from __future__ import annotations

import re
from functools import cache

import azure.functions as func

from fleetscore.errors import InputError

TAKEN_EVERYWHERE = frozenset({"code", "clientid", "api-version"})
"""What keys and pollers add to an address, in small letters."""

_UNCHECKED = frozenset({"dashboard", "health", "runs/{id}/wait"})
"""Pages with links of their own, and what monitors and pollers ask with whatever they add."""


def check_query(req: func.HttpRequest, function: str) -> None:
    """InputError for a query parameter that the function's endpoint does not have; it names those that
    exist.
    """
    own = [name for name in req.params if name.lower() not in TAKEN_EVERYWHERE]
    known = _known_parameters().get((function, str(req.method).upper())) if own else None
    if known is None:
        return
    for name in own:
        if name not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise InputError(
                f"This endpoint has no query parameter {name[:100]!r}; {has}.",
                fix="GET /api/openapi.json describes each endpoint.",
                field=name[:100],
            )


@cache
def _known_parameters() -> dict[tuple[str, str], tuple[str, ...]]:
    """The query parameters of each function and method that the OpenAPI document describes."""
    from triggers import blueprints
    from triggers.openapi import describe_api

    paths, found = describe_api()["paths"], {}
    for function in (
        builder._function for blueprint in blueprints for builder in blueprint._function_builders
    ):
        trigger = function.get_trigger()
        if trigger.type != "httpTrigger" or trigger.route in _UNCHECKED:
            continue
        path = paths.get("/" + re.sub(r"\{\*", "{", trigger.route), {})
        for method in (str(getattr(each, "value", each)).upper() for each in trigger.methods or ()):
            if described := path.get(method.lower()):
                names = (one["name"] for one in described.get("parameters", ()) if one["in"] == "query")
                found[function.get_function_name(), method] = tuple(names)
    return found
