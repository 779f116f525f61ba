"""Columns from records: dictionaries as JSON lines and Avro files give them, each with fields of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from fleetscore.errors import InputError

Record = Mapping[str, Any]


class SeenNames:
    """The fields that the records of a file have, in the order of their first appearance."""

    def __init__(self) -> None:
        """Nothing is seen yet."""
        self._names: dict[str, None] = {}

    def add(self, records: Sequence[Record]) -> list[str]:
        """Note the fields of these records; returns those of these alone."""
        names = dict.fromkeys(name for keys in {tuple(record) for record in records} for name in keys)
        self._names |= names
        return list(names)

    def require(self, wanted: Sequence[str], records: int) -> None:
        """Raise InputError `missing_column` for a wanted field that no record had, where there were any
        records.
        """
        missing = [
            name for name in wanted if name not in self._names and name.partition(".")[0] not in self._names
        ]
        if records and missing:
            fields = ", ".join(map(repr, list(self._names)[:30]))
            raise InputError(
                f"None of its records has {missing[0]!r}; their fields: {fields}.",
                fix="Say which field it is in [data] columns; fields of fields are written a.b.",
                field=missing[0],
                code="missing_column",
            )


def table_of(records: Sequence[Record], names: Sequence[str]) -> pa.Table:
    """The named fields of the records as columns, null where a record has none; `a.b` is the field b of the
    field a.
    """
    return pa.table([_array(_values(records, name)) for name in names], names=list(names))


def _values(records: Sequence[Record], name: str) -> list[Any]:
    try:
        return [record[name] for record in records]  # as most files have it: twice as fast
    except KeyError:
        return [_field(record, name) for record in records]


def _field(record: Any, name: str) -> Any:
    if name in record:
        return record[name]
    head, dot, rest = name.partition(".")
    inner = record.get(head) if dot else None
    return _field(inner, rest) if isinstance(inner, Mapping) else None


def _array(values: list[Any]) -> pa.Array:
    """An Arrow array of the values; of text where they are of more than one type, or have fields of their
    own.
    """
    try:
        array = pa.array(values)
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        return pa.array([_text(value) for value in values], pa.string())
    is_plain = not (pa.types.is_nested(array.type) or pa.types.is_binary(array.type))
    return array if is_plain else pa.array([_text(value) for value in values], pa.string())


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")  # so that no two become one
    if isinstance(value, float) and value.is_integer():  # as in a column of numbers alone, where 7.0 is 7
        return str(int(value))
    plain = msgspec.to_builtins(value)  # a decimal or a time is text then, without quotes
    return plain if isinstance(plain, str) else msgspec.json.encode(plain).decode()
