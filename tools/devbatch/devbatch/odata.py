"""The part of OData that the client can ask for: `$filter`, `$select`, and pages.

Filters compare fields of the answer, nested ones by `/`, with `eq ne lt le gt ge`, `startswith(field,'text')`, `and`,
`or`, `not` and parentheses. Literals: 'text', numbers, true, false, null, datetime'...' and bare ISO times.
"""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, TypeAlias, TypeVar

from devbatch.errors import ServiceError

Entity: TypeAlias = Mapping[str, Any]
Predicate: TypeAlias = Callable[[Entity], bool]

T = TypeVar("T")

PAGE_LIMIT: Final = 1000
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<punctuation>[(),])|(?:datetime)?(?P<text>'(?:[^']|'')*')|(?P<word>[^\s(),']+))"
)
_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = MappingProxyType(
    {
        "eq": operator.eq,
        "ne": operator.ne,
        "lt": operator.lt,
        "le": operator.le,
        "gt": operator.gt,
        "ge": operator.ge,
    }
)


def read_filter(text: str) -> Predicate:
    """The test that a filter describes; raises ServiceError (400) InvalidQueryParameterValue."""
    tokens = _tokenize(text)
    predicate = _read_or(tokens)
    if tokens:
        raise _refused("$filter", text, f"{tokens[0]!r} is not expected")
    return predicate


def select_fields(entity: Entity, selected: str | None) -> dict[str, Any]:
    """The entity with only the top-level fields of a `$select`; all of them without one."""
    if not selected:
        return dict(entity)
    names = {name.strip().split("/")[0] for name in selected.split(",")}
    return {name: value for name, value in entity.items() if name in names}


def page_bounds(query: Mapping[str, str]) -> tuple[int, int]:
    """(first index, size) of the page that a request asks for; raises ServiceError (400)."""
    try:
        start, size = int(query.get("$skiptoken", "0")), int(query.get("maxresults", str(PAGE_LIMIT)))
    except ValueError as error:
        raise _refused("maxresults", str(dict(query)), "a whole number is expected") from error
    if not 1 <= size <= PAGE_LIMIT or start < 0:
        raise _refused("maxresults", str(size), f"1 to {PAGE_LIMIT} results make a page")
    return start, size


def one_page(
    records: Sequence[T], shape: Callable[[T], Entity], query: Mapping[str, str]
) -> tuple[list[dict[str, Any]], int | None]:
    """The shapes of the records on the page that a request asks for, and the first index of the next page if any."""
    refuse_expand(query)
    start, size = page_bounds(query)
    if condition := query.get("$filter"):
        matches = read_filter(condition)
        shapes = [entity for entity in map(shape, records) if matches(entity)]
        count, page = len(shapes), shapes[start : start + size]
    else:
        count, page = len(records), [shape(record) for record in records[start : start + size]]
    selected = [select_fields(entity, query.get("$select")) for entity in page]
    return selected, (start + size if count > start + size else None)


def refuse_expand(query: Mapping[str, str]) -> None:
    """Raises ServiceError (400) for `$expand`: statistics are not kept."""
    if "$expand" in query:
        raise _refused("$expand", query["$expand"], "statistics are not kept by the local Batch service")


def _tokenize(text: str) -> list[str]:
    tokens, position = [], 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        if match is None:
            raise _refused("$filter", text, f"it cannot be read at {text[position:]!r}")
        tokens.append(match["punctuation"] or match["text"] or match["word"])
        position = match.end()
    return tokens


def _take(tokens: list[str], expected: str | None = None) -> str:
    if not tokens or (expected is not None and tokens[0] != expected):
        raise _refused("$filter", " ".join(tokens), f"{expected or 'more'} is expected")
    return tokens.pop(0)


def _read_or(tokens: list[str]) -> Predicate:
    parts = [_read_and(tokens)]
    while tokens and tokens[0] == "or":
        _take(tokens)
        parts.append(_read_and(tokens))
    return lambda entity: any(part(entity) for part in parts)


def _read_and(tokens: list[str]) -> Predicate:
    parts = [_read_term(tokens)]
    while tokens and tokens[0] == "and":
        _take(tokens)
        parts.append(_read_term(tokens))
    return lambda entity: all(part(entity) for part in parts)


def _read_term(tokens: list[str]) -> Predicate:
    first = _take(tokens)
    if first == "not":
        inner = _read_term(tokens)
        return lambda entity: not inner(entity)
    if first == "(":
        inner = _read_or(tokens)
        _take(tokens, ")")
        return inner
    if first == "startswith":
        return _read_startswith(tokens)
    sign = _take(tokens)
    if sign not in _COMPARISONS:
        raise _refused("$filter", sign, f"one of {', '.join(_COMPARISONS)} is expected")
    literal = _literal(_take(tokens))
    return lambda entity: _compares(sign, _field(entity, first), literal)


def _read_startswith(tokens: list[str]) -> Predicate:
    _take(tokens, "(")
    path = _take(tokens)
    _take(tokens, ",")
    prefix = str(_literal(_take(tokens)))
    _take(tokens, ")")
    return lambda entity: str(_field(entity, path)).startswith(prefix)


def _compares(sign: str, value: Any, literal: Any) -> bool:
    if isinstance(literal, datetime) and isinstance(value, str):
        value = datetime.fromisoformat(value)
    if value is None or type(value) is not type(literal):
        return sign == "ne" if value != literal else sign in ("eq", "le", "ge")
    return _COMPARISONS[sign](value, literal)


def _field(entity: Any, path: str) -> Any:
    for name in path.split("/"):
        entity = entity.get(name) if isinstance(entity, Mapping) else None
    return entity


def _literal(token: str) -> Any:
    text = token[1:-1].replace("''", "'") if token.startswith("'") else token
    if (moment := _moment(text)) is not None:
        return moment
    if token.startswith("'"):
        return text
    if re.fullmatch(r"-?\d+", token):
        return int(token)
    return {"true": True, "false": False, "null": None}.get(token, token)


def _moment(text: str) -> datetime | None:
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d.*", text):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise _refused("$filter", text, "it is not a time") from error


def _refused(name: str, value: str, reason: str) -> ServiceError:
    return ServiceError(
        400,
        "InvalidQueryParameterValue",
        f"The value of the query parameter {name} is not valid: {reason}.",
        {"QueryParameterName": name, "QueryParameterValue": value, "Reason": reason},
    )
