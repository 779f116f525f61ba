"""Schemas of Delta tables: what Arrow columns are called there, and how a table's schema grows with its
files.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from fleetscore.errors import PublishError

PARTITION_COLUMN = "window"

_PLAIN: tuple[tuple[Any, str], ...] = (
    (pa.types.is_boolean, "boolean"),
    (pa.types.is_int8, "byte"),
    (pa.types.is_int16, "short"),
    (pa.types.is_uint8, "short"),
    (pa.types.is_int32, "integer"),
    (pa.types.is_uint16, "integer"),
    (pa.types.is_int64, "long"),
    (pa.types.is_uint32, "long"),
    (pa.types.is_float32, "float"),
    (pa.types.is_float64, "double"),
    (pa.types.is_date, "date"),
    (pa.types.is_string, "string"),
    (pa.types.is_large_string, "string"),
    (pa.types.is_binary, "binary"),
    (pa.types.is_large_binary, "binary"),
    (pa.types.is_null, "string"),
)

Field = dict[str, Any]
"""A column as the schema string of a table has it: name, type, nullable, metadata."""


def fields_of(schema: pa.Schema, table: str) -> list[Field]:
    """The columns of the files as those of a table; PublishError names one whose type no table can have."""
    return [_field(field.name, _type_of(field, table)) for field in schema]


def partition_column(fields: list[Field]) -> str:
    """The name of the partition column: `window`, or with underscores where the results have such a column
    themselves.
    """
    name, taken = PARTITION_COLUMN, {field["name"].lower() for field in fields}
    while name in taken:
        name += "_"
    return name


def grow(known: list[Field], wanted: list[Field], table: str) -> list[Field]:
    """The table's columns with those that are new at the end; PublishError where one has got another type, or
    differs from another only in case, for which no engine reads the table any more.

    >>> grow([_field("a", "long")], [_field("b", "double")], "t")[1]["name"]
    'b'
    """
    types = {field["name"]: field["type"] for field in known}
    spelled = {name.lower(): name for name in types}
    for field in wanted:
        other = spelled.setdefault(field["name"].lower(), field["name"])
        if other != field["name"]:
            raise PublishError(
                f"Column {field['name']} of {table} differs from {other} only in case, which readers of tables refuse.",
                fix="Spell it as before, or write the results of another workload.",
                code="table_schema",
                field=field["name"],
            )
        before = types.get(field["name"], field["type"])
        if before != field["type"]:
            raise PublishError(
                f"Column {field['name']} of {table} is {before} in the table and {field['type']} in the new results.",
                fix="Call the column by another name, or write the results of another workload.",
                code="table_schema",
                field=field["name"],
            )
    return [*known, *(field for field in wanted if field["name"] not in types)]


def to_schema_string(fields: list[Field], partition: str) -> str:
    """The `schemaString` of a metadata action: the columns and the partition column."""
    return json.dumps({"type": "struct", "fields": [*fields, _field(partition, "string")]})


def from_schema_string(text: str, partition: str) -> list[Field]:
    """The columns of a `schemaString` but the partition column."""
    return [field for field in json.loads(text)["fields"] if field["name"] != partition]


def protocol_of(fields: list[Field]) -> dict[str, Any]:
    """The protocol that readers and writers of the columns need: the oldest, or that of times without a
    zone.
    """
    if any(field["type"] == "timestamp_ntz" for field in fields):
        features = ["timestampNtz"]
        return {
            "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features, "writerFeatures": features,
        }  # fmt: skip
    return {"minReaderVersion": 1, "minWriterVersion": 2}


def _field(name: str, kind: Any) -> Field:
    return {"name": name, "type": kind, "nullable": True, "metadata": {}}


def _type_of(field: pa.Field, table: str) -> Any:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if pa.types.is_timestamp(kind):
        return "timestamp" if kind.tz else "timestamp_ntz"
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        element = _type_of(pa.field(field.name, kind.value_type), table)
        return {"type": "array", "elementType": element, "containsNull": True}
    for matches, name in _PLAIN:
        if matches(kind):
            return name
    raise PublishError(
        f"Column {field.name} of {table} is {kind}, which a Delta table cannot have.",
        fix="Write it as a number, a text, a time or a list of these.",
        code="table_schema",
        field=field.name,
    )
