"""What the columns of a query become in a landed file: types that every reader takes.

What the driver gives as bytes or counts of a type that Arrow lacks (PostgreSQL's inet, money) keeps the
name of that type, so that no reader takes it for text or numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa

from fleetscore.errors import InputError
from fleetscore.sources.request import Budget

_TYPE_NAME = b"POSTGRESQL:type"
_VENDOR = "PostgreSQL"


def landed_schema(schema: pa.Schema) -> pa.Schema:
    """The schema as landed files keep it: numerics, JSON, UUIDs and intervals as text.

    InputError `bad_query` for a column of rows (`ROW(...)`), which the driver cannot read.
    """
    return pa.schema([pa.field(field.name, _landed_type(field)) for field in schema])


def landed_batches(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, budget: Budget
) -> Iterator[pa.RecordBatch]:
    """The batches under the landed schema; raises what the budget raises."""
    for batch in batches:
        budget.spend(batch.nbytes)
        columns = [
            _landed_column(column, field.type) for column, field in zip(batch.columns, schema, strict=True)
        ]
        yield pa.record_batch(columns, schema=schema)


def _landed_type(field: pa.Field) -> pa.DataType:
    kind, name = field.type, (field.metadata or {}).get(_TYPE_NAME, b"").decode()
    if name in ("record", "_record"):
        raise InputError(
            f"Column {field.name!r} of the query is of type {name}, a row without names, which cannot be read.",
            fix="Select its fields as columns of their own, or cast it to text (to_json(...)::text).",
            field="query",
            code="bad_query",
        )
    if name == "money":  # the driver gives it as a count of the currency's smallest coin
        return pa.opaque(kind, name, _VENDOR)
    if isinstance(kind, pa.OpaqueType) and pa.types.is_binary(kind.storage_type):
        return kind
    if isinstance(kind, pa.UuidType):
        return pa.string()
    plain = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    return pa.string() if pa.types.is_interval(plain) else plain


def _landed_column(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if column.type == kind:
        return column
    if isinstance(kind, pa.OpaqueType):
        return pa.ExtensionArray.from_storage(kind, column)
    if pa.types.is_string(kind) and (
        isinstance(column.type, pa.UuidType) or pa.types.is_interval(column.type)
    ):
        return pa.array([None if value is None else str(value) for value in column.to_pylist()], kind)
    return column.storage.cast(kind)
