"""The command `models copy`: a model set from another store, as from a test environment into production."""

from __future__ import annotations

import click

from fleetscore.cli.options import WORKLOAD, absolute_url, json_option, store_option
from fleetscore.cli.text import say


@click.command(short_help="Copy a model set from another store.")
@WORKLOAD
@click.option(
    "--from",
    "source_url",
    metavar="STORE",
    required=True,
    callback=absolute_url,
    help="The store to copy from.",
)
@click.option(
    "--version", default="", metavar="VERSION", help="The model set; by default the current one there."
)
@click.option(
    "--as",
    "role",
    type=click.Choice(["current", "challenger"]),
    default=None,
    help="Pin it too; without this nothing is pinned.",
)
@store_option
@json_option
def copy(
    workload: str, source_url: str, version: str, role: str | None, store_url: str, as_json: bool
) -> None:
    """Copy a model set from another store into this one: the same version, files and hashes, nothing
    imported again.

    Where it came from is recorded with it. A set that is here already stays as it is.
    """
    from fleetscore.cli.render import print_json
    from fleetscore.fleet.store_fleet import Fleet

    copied = Fleet(store_url).copy_models(workload, source_url, version, role or "")
    if as_json:
        print_json(
            {
                "set": copied.set,
                "size_bytes": copied.size_bytes,
                "was_there": copied.was_there,
                "role": role or "",
            }
        )
        return
    what = f"{workload} {copied.set.version}, {len(copied.set.files)} files, {copied.size_bytes:,} bytes"
    say(f"{what}: was here already" if copied.was_there else f"{what}: copied from {source_url}")
    if role:
        say(f"It is the {'challenger' if role == 'challenger' else 'current set'} of {workload} now.")
    else:
        say(f"Nothing is pinned; to use it: fleetscore models pin {workload} {copied.set.version}")
