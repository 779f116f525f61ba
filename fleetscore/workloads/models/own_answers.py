"""What a function of the user's own returned, as a table of the declared columns and types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.errors import ModelError

MISFIT = "own_code_output"
_NAMED, _NAME_LIMIT = 12, 60
_DECLARED = {"double": "float64", "float": "float32"}
"""Arrow's names of types that are declared under others."""


def fit_answer(answer: Any, schema: pa.Schema, count: int) -> pa.Table:
    """The answer as a table of the declared columns and types, `count` rows in the order that the function
    got them in; ModelError names what does not fit.

    Columns of pandas whose index says that the rows were sorted are brought back to their order.
    """
    columns = _columns_of(answer, schema)
    fitted = []
    for field in schema:
        if field.name not in columns:
            raise _misfit(
                f"The function's table lacks the column {field.name!r}{_there(answer)}.", field.name
            )
        fitted.append(_cast(_in_order(columns[field.name], count), field))
        if len(fitted[-1]) != count:
            raise _misfit(f"The function got {count} rows and returned {len(fitted[-1])}.", field.name)
    return pa.table(fitted, schema=schema)


def _columns_of(answer: Any, schema: pa.Schema) -> Mapping[str, Any]:
    """The answer's declared columns by name; a single column may come alone."""
    if isinstance(answer, (pa.Table, pa.RecordBatch)):
        places = _places(answer.column_names, schema)
        return {name: answer.column(at) for name, at in places.items()}
    if hasattr(answer, "columns") and hasattr(answer, "__getitem__"):
        names = list(answer.columns)
        return {name: answer[names[at]] for name, at in _places(names, schema).items()}
    if isinstance(answer, Mapping):
        return answer
    is_column = isinstance(answer, (np.ndarray, list, pa.Array, pa.ChunkedArray)) or hasattr(
        answer, "to_numpy"
    )
    if len(schema) == 1 and is_column:
        return {schema.names[0]: answer}
    raise _misfit(f"The function returned a {type(answer).__name__}, not a table.", schema.names[0])


def _there(answer: Any) -> str:
    """The columns that the answer has, as the end of a sentence; a long list is cut."""
    names = [str(n) for n in getattr(answer, "column_names", getattr(answer, "columns", answer))]
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    listed = ", ".join(repr(name[:_NAME_LIMIT]) for name in names[:_NAMED])
    return f"; it has {listed}{more}" if names else "; it has none"


def _places(names: Sequence[Any], schema: pa.Schema) -> dict[str, int]:
    """Where the declared columns are; ModelError for one that is there twice."""
    texts = [str(name) for name in names]
    doubled = next((name for name in schema.names if texts.count(name) > 1), None)
    if doubled is not None:
        raise _misfit(f"The function's table has {texts.count(doubled)} columns {doubled!r}.", doubled)
    return {name: texts.index(name) for name in schema.names if name in texts}


def _in_order(column: Any, count: int) -> Any:
    """A column of pandas in the order of its index, where that is the one of the rows given, permuted."""
    index = getattr(column, "index", None)
    if not hasattr(column, "iloc") or index is None or index.name is not None or len(index) != count:
        return column
    numbers = np.asarray(index)
    if not np.issubdtype(numbers.dtype, np.integer) or not np.array_equal(np.sort(numbers), np.arange(count)):
        return column
    return column.iloc[np.argsort(numbers)]


def _cast(column: Any, field: pa.Field) -> pa.Array:
    """The column with the declared type, where no value changes by it."""
    kind = str(getattr(column, "dtype", getattr(column, "type", type(column).__name__)))
    try:
        values = column if isinstance(column, pa.Array) else _whole(column)
        if values.null_count < len(values):
            _require_family(values, field.type)
        are_floats = pa.types.is_floating(field.type) and pa.types.is_floating(values.type)
        found = pc.cast(values, field.type, safe=not are_floats)
        is_narrower = pa.types.is_float32(field.type) and pa.types.is_float64(values.type)
        if is_narrower and _count_infinite(found) > _count_infinite(values):
            raise pa.ArrowInvalid(f"a number is too large for {_declared(field.type)}")
    except Exception as error:  # objects of the user's, whose conversion may raise anything
        raise _misfit(
            f"The column {field.name!r} is {kind} in the function's table and declared as {_declared(field.type)}: "
            f"{str(error)[:200]}.",
            field.name,
        ) from error
    return found


def _declared(kind: pa.DataType) -> str:
    """The type as @partitioned names it."""
    return "timestamp" if pa.types.is_timestamp(kind) else _DECLARED.get(str(kind), str(kind))


def _require_family(values: pa.Array, declared: pa.DataType) -> None:
    """ArrowInvalid where a cast would give the values another meaning: text, times and numbers are not mixed,
    and of numbers only 0 and 1 are bool.
    """
    if _family(values.type) != _family(declared):
        raise pa.ArrowInvalid(f"{_family(values.type)} and {_family(declared)} are not mixed")
    if pa.types.is_boolean(declared) and not pa.types.is_boolean(values.type):
        numbers = pc.cast(values, pa.float64())
        if not pc.all(pc.or_(pc.equal(numbers, 0), pc.equal(numbers, 1))).as_py():
            raise pa.ArrowInvalid("of numbers only 0 and 1 are bool")


def _family(kind: pa.DataType) -> str:
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_string_view(inner):
        return "text"
    if pa.types.is_timestamp(inner) or pa.types.is_date(inner):
        return "times"
    is_number = pa.types.is_integer(inner) or pa.types.is_floating(inner) or pa.types.is_decimal(inner)
    return "numbers" if is_number or pa.types.is_boolean(inner) else str(inner)


def _count_infinite(values: pa.Array) -> int:
    return int(pc.sum(pc.is_inf(values)).as_py() or 0)


def _whole(column: Any) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        return column.combine_chunks()
    if isinstance(column, (set, frozenset)):
        raise pa.ArrowInvalid("a set has no order")
    return pa.array(column, from_pandas=True)


def _misfit(message: str, column: str) -> ModelError:
    fix = (
        "Return a table with the declared columns and one row for each row, or change output of @partitioned."
    )
    return ModelError(message, fix=fix, code=MISFIT, field=column)
