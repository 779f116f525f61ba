"""The results command: published rows of a window, printed or written to a file."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetscore.cli.options import WORKLOAD, asking_options
from fleetscore.cli.text import say
from fleetscore.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

    from fleetscore.fleet import FleetBase


@click.command(short_help="Print published results, or write them to a file.")
@WORKLOAD
@click.option("--window", default="", help="A published window, or latest. [default: the newest]")
@click.option("--partition", default="", metavar="KEY", help="Only this partition.")
@click.option("--held", is_flag=True, help="What a check of the window's newest run holds back.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many rows.")
@click.option(
    "--out", "--to", "target", type=click.Path(path_type=Path, dir_okay=False), default=None,
    help="Write all rows to this file instead: .parquet or .csv.",
)  # fmt: skip
@asking_options
def results(
    workload: str, window: str, partition: str, held: bool, limit: int, target: Path | None, fleet: FleetBase,
    as_json: bool,
) -> None:  # fmt: skip
    """Print the first published rows of a window, or write all of them to a file.

    With --held those that were not published: `fleetscore publish RUN --anyway --why TEXT` publishes them.
    """
    from fleetscore.cli.render import format_value, print_json, print_table

    if held and not window:
        raise click.UsageError("--held takes --window: which window's results are held back?")
    table = fleet.results(workload, window, partition=partition, held=held)
    if target is not None:
        write_table(table, target)
        say(f"{table.num_rows:,} rows written to {target}")
        return
    rows = table.slice(0, limit).to_pylist()
    if as_json:
        print_json(rows)
        return
    print_table(table.column_names, [[format_value(value) for value in row.values()] for row in rows])
    if partition and not rows:
        asked = "WINDOW" if window in ("", "latest") else window
        say(f"It has no rows; why: fleetscore explain {shlex.join([workload, asked, partition])}", err=True)
    if table.num_rows > limit:
        say(f"and {table.num_rows - limit:,} more; --out FILE writes all")


def write_table(table: pa.Table, target: Path) -> None:
    """Write the table as the file's name says; what was there stays until all of it is written.

    InputError for any other ending, for a column that CSV cannot hold, and where nothing can be written.
    """
    write = _write_parquet if target.suffix.lower() == ".parquet" else _write_csv
    if target.suffix.lower() not in (".parquet", ".csv"):
        raise InputError(
            f"{target} ends with neither .parquet nor .csv.", fix="Name a file that does.", field="out"
        )
    try:
        place = target.resolve()  # a link stays one
        with tempfile.TemporaryDirectory(prefix=".results-", dir=place.parent) as folder:
            write(table, Path(folder) / "written")
            (Path(folder) / "written").replace(place)
    except (OSError, RuntimeError) as error:  # a circle of links is a RuntimeError
        raise InputError(
            f"{target} cannot be written: {getattr(error, 'strerror', None) or error}.",
            fix="Name a file in a folder that is there and may be written to.",
            field="out",
        ) from error


def _write_parquet(table: pa.Table, target: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(table, target)


def _write_csv(table: pa.Table, target: Path) -> None:
    import pyarrow as pa
    from pyarrow import csv

    for field in table.schema:
        if pa.types.is_nested(field.type):
            raise InputError(
                f"Column {field.name} is {field.type}, which CSV cannot hold.",
                fix="Write to a file that ends with .parquet.",
                field="out",
            )
    csv.write_csv(table, target)
