"""The JSON schema of OpenLineage's run events, made from the classes that the client generates from the published one."""

import enum
import inspect
import types
import typing
from datetime import datetime
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any
from urllib.parse import urlsplit

import attr
import jsonschema
from openlineage.client import generated
from openlineage.client.generated import base

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean"}
_FORMATS = {
    "eventTime": "date-time", "runId": "uuid", "schemaURL": "uri", "producer": "uri", "_producer": "uri", "_schemaURL": "uri",
    "nominalStartTime": "date-time", "nominalEndTime": "date-time",
}  # fmt: skip


@cache
def facets_by_url() -> dict[str, type]:
    """Each published facet class by the address of its schema."""
    found = {}
    for module in iter_modules(generated.__path__):
        for _, each in inspect.getmembers(
            import_module(f"openlineage.client.generated.{module.name}"), inspect.isclass
        ):
            if issubclass(each, base.BaseFacet):
                found[each._get_schema()] = each
    return found


def check_event(event: dict[str, Any]) -> None:
    """ValidationError unless the event and each of its facets has the published form."""
    _check(event, base.RunEvent, "RunEvent.json")
    holders = [(event["run"], base.RunFacet), (event["job"], base.JobFacet)]
    holders += [(each, base.DatasetFacet) for each in [*event["inputs"], *event["outputs"]]]
    for holder, kind in holders:
        for facets in (holder.get("facets"), holder.get("inputFacets"), holder.get("outputFacets")):
            for name, facet in (facets or {}).items():
                published = facets_by_url().get(facet["_schemaURL"])
                assert published is not None, f"{name} names no published schema: {facet['_schemaURL']}"
                is_base = published in (base.RunFacet, base.JobFacet, base.DatasetFacet)
                assert not is_base or issubclass(published, kind), name
                _check(facet, published, name)


def _check(value: Any, kind: type, name: str) -> None:
    definitions: dict[str, Any] = {}
    schema = {"$ref": _refer(kind, definitions), "$defs": definitions, "title": name}
    jsonschema.Draft202012Validator(schema, format_checker=_CHECKER).validate(value)


_CHECKER = jsonschema.FormatChecker()


@_CHECKER.checks("date-time", ValueError)
def _is_time(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


@_CHECKER.checks("uri", ValueError)
def _is_uri(value: object) -> bool:
    return not isinstance(value, str) or bool(urlsplit(value).scheme)


def _refer(kind: type, definitions: dict[str, Any]) -> str:
    key = f"{kind.__module__.rsplit('.', 1)[-1]}.{kind.__name__}"
    if key not in definitions:
        definitions[key] = {}  # for a class that holds itself
        hints = typing.get_type_hints(kind)
        fields = [field for field in attr.fields(kind) if "skip_redact" not in field.name]
        definitions[key] = {
            "type": "object",
            "properties": {field.name: _schema(field.name, hints[field.name], definitions) for field in fields},
            "required": [f.name for f in fields if f.default is attr.NOTHING or f.name in ("_producer", "_schemaURL", "producer")],
            "additionalProperties": issubclass(kind, base.BaseFacet) and kind.__module__ == base.__name__,
        }  # fmt: skip
    return f"#/$defs/{key}"


def _schema(name: str, hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_schema(name, each, definitions) for each in arguments]}
    if hint is type(None):
        return {"type": "null"}
    if origin is list:
        return {"type": "array", "items": _schema("", arguments[0], definitions)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema("", arguments[1], definitions)}
    if hint is Any:
        return {}
    if inspect.isclass(hint) and issubclass(hint, enum.Enum):
        return {"enum": [each.value for each in hint]}
    if hint in _PLAIN:
        return {"type": _PLAIN[hint], **({"format": _FORMATS[name]} if name in _FORMATS else {})}
    return {"$ref": _refer(hint, definitions)}
