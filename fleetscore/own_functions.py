"""The decorator for a function of the user's own that scores one partition: its rows and its model to a
table of declared columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from fleetscore.errors import InputError

OutputType = Literal["float64", "float32", "int64", "int32", "bool", "string", "timestamp"]
RowsAs = Literal["pandas", "arrow"]
OUTPUT_TYPES: tuple[str, ...] = get_args(OutputType)


@dataclass(frozen=True, slots=True)
class PartitionedFunction:
    """A function that scores one partition, with the names and types of the columns that it returns;
    called, it is the function.
    """

    function: Callable[[Any, Any], Any]
    output: Mapping[str, OutputType]
    rows: RowsAs = "pandas"

    def __call__(self, rows: Any, model: Any) -> Any:
        """What the function returns for the rows and the model."""
        return self.function(rows, model)


def partitioned(
    *, output: Mapping[str, OutputType], rows: RowsAs = "pandas"
) -> Callable[[Callable[[Any, Any], Any]], PartitionedFunction]:
    """Declare that a function of (rows, model) scores one partition and returns a table with the columns of
    `output`.

    `output` maps names to types: float64, float32, int64, int32, bool, string, or timestamp (microseconds,
    UTC). `rows` says what the function gets: a pandas DataFrame or a pyarrow Table. It returns a table of
    either kind with one row for each row it got; further columns are left out. InputError for an unknown
    type.

    >>> @partitioned(output={"kwh_per_km": "float64"})
    ... def predict(rows, model):
    ...     return rows.assign(kwh_per_km=0.2)
    >>> predict.output
    {'kwh_per_km': 'float64'}
    """
    unknown = {name: kind for name, kind in output.items() if kind not in OUTPUT_TYPES}
    if unknown or not output:
        raise InputError(
            f"output is {dict(output)}; it must name at least one column, each with a known type.",
            fix=f"Known types: {', '.join(OUTPUT_TYPES)}.",
            field="output",
        )
    if rows not in get_args(RowsAs):
        raise InputError(f"rows is {rows!r}.", fix="Expected pandas or arrow.", field="rows")
    return lambda function: PartitionedFunction(function, dict(output), rows)
