"""The look command: what wants somebody, of all workloads, in one table."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from fleetscore.cli.options import asking_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetscore.operations.attention import AttentionGroup, WorkloadAttention


@click.command(short_help="List the windows that want somebody, and why.")
@click.option("--workload", default="", help="Only this workload.")
@asking_options
def look(workload: str, store_url: str, host_url: str, key: str, as_json: bool) -> None:
    """List what wants somebody: windows that lack results, were published with failures, drifted, or are overdue.

    Of each workload's last month of hours, eight weeks of days or year of weeks, by cause, with the first partition as an example:
    what the dashboard says under "Look at".
    """
    from fleetscore.cli.render import print_json

    told = _ask(workload, store_url, host_url, key)
    if as_json:
        print_json(told)
    else:
        _print(told)


def _ask(workload: str, store_url: str, host_url: str, key: str) -> Sequence[WorkloadAttention]:
    if host_url:
        from fleetscore.cli.client import HostClient

        return HostClient(host_url, key).list_attention(workload)
    from fleetscore.operations.overview import read_attention
    from fleetscore.registry import get_workload, workload_names
    from fleetscore.store import open_store

    names = [get_workload(workload).name] if workload else workload_names()
    return read_attention(open_store(store_url), names, datetime.now(UTC))


def _print(told: Sequence[WorkloadAttention]) -> None:
    """One line for windows that stand alike, and how to go on from the first line."""
    from fleetscore.cli.render import print_table

    looks = [(each.workload, look) for each in told for look in each.looks]
    if not looks:
        click.echo("Nothing wants somebody.")
        return
    columns = (
        "workload",
        "windows",
        "stand",
        "oldest",
        "newest",
        "not good",
        "cause",
        "first",
        "what happened to it",
    )
    print_table(columns, [_row(*each) for each in looks], numbers=("windows", "not good"))
    cell = looks[0][1].newest
    if cell.first_partition:
        click.echo(f"Why: fleetscore explain {cell.run} {shlex.quote(cell.first_partition)}")
    elif cell.run:
        click.echo(f"Why: fleetscore show {cell.run}")


def _row(workload: str, look: AttentionGroup) -> tuple[str, ...]:
    from fleetscore.operations.window_states import WORDS

    newest, oldest = look.newest, look.oldest
    first = f"{oldest.first_partition}, {newest.first_partition}"
    example = newest.first_partition if oldest.first_partition == newest.first_partition else first
    return (
        workload, f"{look.windows:,}", WORDS[newest.mark], oldest.window, newest.window,
        f"{newest.bad:,}", newest.first_cause, example, newest.first_detail,
    )  # fmt: skip
