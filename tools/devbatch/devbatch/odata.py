"""The supported part of OData: `$filter`, `$select`, and pages.

Filters compare fields of the answer, nested ones by `/`, with `eq ne lt le gt ge`,
`startswith(field,'text')`, `and`, `or`, `not` and parentheses. Literals: 'text', numbers, true, false, null,
datetime'...' and bare ISO times, in UTC where they name no zone.
"""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, TypeAlias, TypeVar

from devbatch.errors import ServiceError
from devbatch.fields import has_field

Entity: TypeAlias = Mapping[str, Any]
Predicate: TypeAlias = Callable[[Entity], bool]

T = TypeVar("T")

PAGE_LIMIT: Final = 1000
_NESTING_LIMIT: Final = 100
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
_CONSTANTS: Final[Mapping[str, bool | None]] = MappingProxyType({"true": True, "false": False, "null": None})


def read_filter(text: str, kind: str) -> Predicate:
    """The test that a filter describes, on resources of one kind (`jobs`, `tasks`, ...).

    Raises ServiceError (400) InvalidQueryParameterValue, also for a field that the kind does not have.
    """
    tokens = _Tokens(_tokenize(text), kind)
    if sum(token in ("(", "not") for token in tokens.left) > _NESTING_LIMIT:
        raise _refused("$filter", text, f"more than {_NESTING_LIMIT} parentheses and `not`")
    predicate = _read_or(tokens)
    if tokens.left:
        raise _refused("$filter", text, f"{tokens.left[0]!r} is not expected")
    return predicate


def select_fields(entity: Entity, selected: str | None, kind: str) -> dict[str, Any]:
    """The entity with only the top-level fields of a `$select`; all of them without one.

    Raises ServiceError (400) for a field that resources of this kind do not have.
    """
    if not selected:
        return dict(entity)
    paths = [path.strip() for path in selected.split(",")]
    for path in paths:
        _check_field("$select", path, kind)
    names = {path.split("/")[0] for path in paths}
    return {name: value for name, value in entity.items() if name in names}


def page_bounds(query: Mapping[str, str]) -> tuple[int, int]:
    """(first index, size) of the requested page; raises ServiceError (400)."""
    start, size = _whole(query, "$skiptoken", 0), _whole(query, "maxresults", PAGE_LIMIT)
    if not 1 <= size <= PAGE_LIMIT:
        raise _refused("maxresults", str(size), f"1 to {PAGE_LIMIT} results make a page")
    return start, size


def _whole(query: Mapping[str, str], name: str, default: int) -> int:
    """The whole number of a query parameter; raises ServiceError (400)."""
    text = query.get(name, str(default))
    if not re.fullmatch("[0-9]{1,9}", text):
        raise _refused(name, text, "a whole number is expected")
    return int(text)


def one_page(
    records: Sequence[T], shape: Callable[[T], Entity], query: Mapping[str, str], kind: str
) -> tuple[list[dict[str, Any]], int | None]:
    """The shapes of the records on the requested page, and the first index of the next page, if any."""
    refuse_expand(query)
    start, size = page_bounds(query)
    if condition := query.get("$filter"):
        matches = read_filter(condition, kind)
        shapes = [entity for entity in map(shape, records) if matches(entity)]
        count, page = len(shapes), shapes[start : start + size]
    else:
        count, page = len(records), [shape(record) for record in records[start : start + size]]
    select_fields({}, query.get("$select"), kind)  # refused also where the page is empty
    selected = [select_fields(entity, query.get("$select"), kind) for entity in page]
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


@dataclass(frozen=True, slots=True)
class _Tokens:
    """The tokens of a filter that are not read yet, and the kind of resource that it is about."""

    left: list[str]
    kind: str

    def take(self, expected: str | None = None) -> str:
        """The next token; refused when there is none, or another one is expected."""
        if not self.left or (expected is not None and self.left[0] != expected):
            raise _refused("$filter", " ".join(self.left), f"{expected or 'more'} is expected")
        return self.left.pop(0)

    def take_if(self, word: str) -> bool:
        """Whether the next token is this word, which is then read."""
        if self.left[:1] != [word]:
            return False
        self.left.pop(0)
        return True

    def take_field(self) -> str:
        """The next token as a field that resources of the kind have."""
        path = self.take()
        _check_field("$filter", path, self.kind)
        return path


def _read_or(tokens: _Tokens) -> Predicate:
    parts = [_read_and(tokens)]
    while tokens.take_if("or"):
        parts.append(_read_and(tokens))
    return lambda entity: any(part(entity) for part in parts)


def _read_and(tokens: _Tokens) -> Predicate:
    parts = [_read_term(tokens)]
    while tokens.take_if("and"):
        parts.append(_read_term(tokens))
    return lambda entity: all(part(entity) for part in parts)


def _read_term(tokens: _Tokens) -> Predicate:
    if tokens.take_if("not"):
        inner = _read_term(tokens)
        return lambda entity: not inner(entity)
    if tokens.take_if("("):
        inner = _read_or(tokens)
        tokens.take(")")
        return inner
    if tokens.take_if("startswith"):
        return _read_startswith(tokens)
    path, sign = tokens.take_field(), tokens.take()
    if sign not in _COMPARISONS:
        raise _refused("$filter", sign, f"one of {', '.join(_COMPARISONS)} is expected")
    literal = _literal(tokens.take())
    return lambda entity: _compares(sign, _field(entity, path), literal)


def _read_startswith(tokens: _Tokens) -> Predicate:
    tokens.take("(")
    path = tokens.take_field()
    tokens.take(",")
    prefix = str(_literal(tokens.take()))
    tokens.take(")")
    return lambda entity: str(_field(entity, path)).startswith(prefix)


def _check_field(parameter: str, path: str, kind: str) -> None:
    if not has_field(kind, path):
        raise _refused(parameter, path, f"{kind} have no property {path!r}")


def _compares(sign: str, value: Any, literal: Any) -> bool:
    if isinstance(literal, datetime) and isinstance(value, str):
        value = _moment(value)
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
    if re.fullmatch(r"-?[0-9]{1,18}", token):
        return int(token)
    if token not in _CONSTANTS:
        raise _refused("$filter", token, "it is no value; texts stand in single quotes")
    return _CONSTANTS[token]


def _moment(text: str) -> datetime | None:
    """The time that a text gives; None where it gives none."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d.*", text):
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise _refused("$filter", text, "it is not a time") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _refused(name: str, value: str, reason: str) -> ServiceError:
    return ServiceError(
        400,
        "InvalidQueryParameterValue",
        f"The value of the query parameter {name} is not valid: {reason}.",
        {"QueryParameterName": name, "QueryParameterValue": value, "Reason": reason},
    )
