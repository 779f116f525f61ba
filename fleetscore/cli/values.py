"""Printing what is said by names: rows as tables, the rest as names and values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from fleetscore.cli.text import say

_MOST_ROWS = 20


def print_values(title: str, values: Mapping[str, Any]) -> None:
    """Print JSON values by name: those that are rows as tables below the others."""
    from fleetscore.cli.render import format_value, print_pairs, print_table

    tables = {name: rows for name, value in values.items() if (rows := table_rows(value))}
    print_pairs(title, [(name, format_value(value)) for name, value in values.items() if name not in tables])
    for name, rows in tables.items():
        click.echo(click.style(f"\n{name.replace('_', ' ')}", bold=True))
        columns = list(rows[0])
        shown = [[format_value(row.get(column, "")) for column in columns] for row in rows[:_MOST_ROWS]]
        numbers = [name for name in columns[1:] if not any(isinstance(row.get(name), str) for row in rows)]
        print_table(columns, shown, numbers=numbers)
        if len(rows) > _MOST_ROWS:
            say(f"and {len(rows) - _MOST_ROWS} more; --json lists all")


def table_rows(value: Any) -> list[Mapping[str, Any]]:
    """The rows of a value that is a table: a list of mappings, or a mapping of them by name; [] for
    anything else.

    >>> table_rows({"1": {"loss": 0.5}, "2": {"loss": 0.4}})
    [{'': '1', 'loss': 0.5}, {'': '2', 'loss': 0.4}]
    """
    if isinstance(value, Mapping):
        rows: list[Mapping[str, Any]] = [
            {"": name, **row} for name, row in value.items() if isinstance(row, Mapping)
        ]
        return rows if len(rows) == len(value) else []
    is_list = isinstance(value, list | tuple) and all(isinstance(row, Mapping) for row in value)
    return list(value) if is_list else []
