"""A function of the user's own in fleets/ that scores each partition: found, and called with rows and
model.
"""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.errors import FleetscoreError, ModelError, SettingsError
from fleetscore.exhaustion import raise_passing
from fleetscore.models.packs.base import Floats
from fleetscore.models.packs.bundle import Bundle
from fleetscore.models.packs.shard_scoring import ShardScores
from fleetscore.own_functions import PartitionedFunction
from fleetscore.workloads.models.blocks import Block, Bools
from fleetscore.workloads.models.own_answers import fit_answer
from fleetscore.workloads.models.own_models import find_own_model

FOLDER = "fleets"
FAILED = "own_code_failed"
TYPES = {
    "float64": pa.float64(), "float32": pa.float32(), "int64": pa.int64(), "int32": pa.int32(), "bool": pa.bool_(),
    "string": pa.string(), "timestamp": pa.timestamp("us", tz="UTC"),
}  # fmt: skip
_TEXT_LIMIT = 500


def load_function(place: str, workload: str) -> PartitionedFunction:
    """The function that "module:function" names in fleets/; running its module is running code of the user's.

    SettingsError names the module that is missing, what it raised, or what the name stands for instead.
    """
    module_name, _, name = place.partition(":")
    where = f"settings/{workload}.toml names score = {place!r}"
    file = f"{FOLDER}/{module_name.replace('.', '/')}.py"
    try:
        module = import_module(f"{FOLDER}.{module_name}")
    except ModuleNotFoundError as error:
        raise _missing_module(error, where, module_name, file) from error
    except BaseException as error:  # whatever the module does when it is imported
        if _is_interrupt(error):
            raise
        raise _fault(
            f"{where}, and {file} cannot be imported: {_last_line(error)}", f"Correct {file}."
        ) from error
    if not hasattr(module, name):
        raise _fault(
            f"{where}, and {file} has no {name or 'function of that name'}.", f"Define it in {file}."
        )
    found = getattr(module, name)
    if not isinstance(found, PartitionedFunction):
        fix = 'Write @partitioned(output={"name": "float64"}) above it; from fleetscore import partitioned.'
        raise _fault(f"{where}, which is no function decorated with @partitioned.", fix)
    return found


def _missing_module(error: ModuleNotFoundError, where: str, module: str, file: str) -> SettingsError:
    missing = error.name or ""
    is_another = missing.startswith(f"{FOLDER}.") and not f"{FOLDER}.{module}.".startswith(f"{missing}.")
    if is_another:
        own = f"{missing.replace('.', '/')}.py"
        return _fault(f"{where}, and {file} imports {missing}, but there is no {own} here.", f"Add {own}.")
    if missing in (FOLDER, f"{FOLDER}.{module}"):
        return _fault(
            f"{where}, and there is no {file} here.", f"Add {file} beside function_app.py, and deploy it."
        )
    fix = f"Name its package in {FOLDER}/requirements.txt, run `make lock`, and deploy."
    return _fault(f"{where}, and {file} needs the module {missing}, which is not installed here.", fix)


def _fault(message: str, fix: str) -> SettingsError:
    return SettingsError(message, fix=fix, field="models.score")


def output_fields(own: PartitionedFunction) -> list[tuple[str, pa.DataType]]:
    """The declared columns with their Arrow types."""
    return [(name, TYPES[kind]) for name, kind in own.output.items()]


def score_own(
    own: PartitionedFunction, bundle: Bundle, block: Block, columns: Mapping[str, Floats], used: Bools
) -> ShardScores:
    """What the function answers for each block's used rows with the block's model; a block that raises gets
    an error of its own.

    `columns` are the features as the settings' rule for missing numbers leaves them. A block whose key has
    no model is called with None.
    """
    schema = pa.schema(output_fields(own))
    table = _with_features(block.table, columns)
    errors: dict[int, FleetscoreError] = {}
    parts = []
    for at in range(len(block.keys)):
        rows = np.arange(block.offsets[at], block.offsets[at + 1])
        rows = rows[used[rows]]
        try:
            answer = _ask(
                own, schema, table.take(pa.array(rows)), bundle, block.keys[at], block.partitions[at]
            )
        except FleetscoreError as error:
            raise_passing(error)
            errors[at] = error
            answer = schema.empty_table().take(pa.nulls(len(rows), pa.int64()))
        parts.append(answer)
    found = pa.concat_tables([schema.empty_table(), *parts])
    whole = found.take(pa.array(np.cumsum(used) - 1, mask=~used))
    return ShardScores(_numbers(whole), errors, [None] * len(block.keys), block.offsets, whole)


def _with_features(table: pa.Table, columns: Mapping[str, Floats]) -> pa.Table:
    for name, values in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values, from_pandas=True))
    return table


def _ask(
    own: PartitionedFunction, schema: pa.Schema, rows: pa.Table, bundle: Bundle, key: str, partition: str
) -> pa.Table:
    if not rows.num_rows:
        return schema.empty_table()
    model = find_own_model(bundle, key)
    given = rows if own.rows == "arrow" else rows.to_pandas()
    try:
        with _forked_children_end():
            answer = own(given, model)
    except BaseException as error:  # code of the user's: one partition's failure
        if _is_interrupt(error):
            raise
        raise ModelError(
            f"The function fails for {partition!r}: {_last_line(error)}",
            fix=_fix_of(error),
            code=FAILED,
            field=partition,
        ) from error
    return fit_answer(answer, schema, rows.num_rows)


@contextmanager
def _forked_children_end() -> Iterator[None]:
    """End a process that the block forked: where the function returns or raises in it, it would score on beside
    its parent, and write the same files.
    """
    parent = os.getpid()
    try:
        yield
    finally:
        if os.getpid() != parent:
            os._exit(1)


def _is_interrupt(error: BaseException) -> bool:
    """Whether it is Ctrl-C, which Python raises in the main thread whatever runs there."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


def _fix_of(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"Name its package in {FOLDER}/requirements.txt, run `make lock`, and deploy."
    return "Correct the function, or the partition's data."


def _last_line(error: BaseException) -> str:
    """The error's own last line, with the line of code of the user's that raised it."""
    text = " ".join("".join(traceback.format_exception_only(error)[-1:]).split())[:_TEXT_LIMIT]
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if f"/{FOLDER}/" in f.filename.replace("\\", "/")
    ]
    if not frames:
        return text
    name = frames[-1].filename.replace("\\", "/").rpartition(f"/{FOLDER}/")[2]
    return f"{text} ({FOLDER}/{name}, line {frames[-1].lineno})"


def _numbers(table: pa.Table) -> Floats:
    """The numbers of the answer [rows, columns], NaN where there is none; columns of no numbers are 0."""
    found = np.zeros((table.num_rows, table.num_columns))
    for at, field in enumerate(table.schema):
        if pa.types.is_floating(field.type) or pa.types.is_integer(field.type):
            numbers = pc.fill_null(pc.cast(table[field.name], pa.float64(), safe=False), float("nan"))
            found[:, at] = numbers.to_numpy()
    return found
