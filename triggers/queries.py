"""The query parameters that endpoints take: any other is refused, since one that is mistyped would change
nothing.
"""

from __future__ import annotations

from functools import cache

import azure.functions as func

from fleetscore.errors import InputError
from triggers.api_document import describe_api

TAKEN_EVERYWHERE = frozenset({"code", "clientid", "api-version"})
"""What keys and pollers add to an address, in small letters."""

_UNCHECKED = frozenset({"dashboard", "show_health", "wait_for_run"})
"""Pages with links of their own, and what monitors and pollers ask with whatever they add."""


def check_query(req: func.HttpRequest, function: str) -> None:
    """InputError for a query parameter that the function's endpoint does not have; it names those that
    exist.
    """
    own = [name for name in req.params if name.lower() not in TAKEN_EVERYWHERE]
    known = _known_parameters().get(function) if own else None
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
def _known_parameters() -> dict[str, tuple[str, ...]]:
    """The query parameters of each function that the OpenAPI document describes."""
    operations = [each for path in describe_api()["paths"].values() for each in path.values()]
    return {
        each["operationId"]: tuple(one["name"] for one in each.get("parameters", ()) if one["in"] == "query")
        for each in operations
        if each["operationId"] not in _UNCHECKED
    }
