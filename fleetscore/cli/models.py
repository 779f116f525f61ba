"""Commands about model sets: import-models, and models list, show, pin, unpin, promote, rollback."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetscore.cli.options import WORKLOAD, json_option, store_option

if TYPE_CHECKING:
    from fleetscore.model_sets import ModelSet, Pins
    from fleetscore.stores.base import Store

_WHY = click.option("--why", default="", metavar="TEXT", help="The reason, kept in the history of pins.")


@click.command(name="import-models", short_help="Import models made elsewhere, without executing them.")
@WORKLOAD
@click.option(
    "--from",
    "source",
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="Folder or file of models.",
)
@click.option(
    "--pin/--no-pin", default=True, show_default=True, help="Make the new model set the current one."
)
@store_option
@json_option
def import_models(workload: str, source: Path, pin: bool, store_url: str, as_json: bool) -> None:
    """Import models made elsewhere as a new model set, without executing anything of them.

    Pickles are read by a restricted reader that accepts exactly the classes it needs and refuses any other by name.
    """
    from fleetscore.cli.render import print_json
    from fleetscore.model_sets import pin_version, write_model_set
    from fleetscore.workloads import get_workload

    store = _open(store_url)
    draft = get_workload(workload).import_models(store, source)
    card = dict(draft.card) | {"imported_from": source.name}
    stored = write_model_set(store, workload, draft.files, card)
    if pin:
        pin_version(
            store, workload, stored.version, who=getpass.getuser(), why=f"imported from {source.name}"
        )
    if as_json:
        print_json(stored)
    else:
        _print_set(stored, is_current=pin)


@click.group()
def models() -> None:
    """List, show and pin model sets."""


@models.command(name="list")
@WORKLOAD
@store_option
@json_option
def list_sets(workload: str, store_url: str, as_json: bool) -> None:
    """List the model sets of a workload, oldest first."""
    from fleetscore.cli.render import print_json, print_table
    from fleetscore.model_sets import list_model_sets, read_model_set, read_pins

    store = _known(store_url, workload)
    pins = read_pins(store, workload)
    sets = [read_model_set(store, workload, version) for version in list_model_sets(store, workload)]
    if as_json:
        print_json({"current": pins.current, "partitions": pins.partitions, "sets": sets})
        return
    if not sets:
        click.echo(f"{workload} has no model set yet. Make one: fleetscore train {workload} --from A --to B")
        return
    rows = [
        (s.version, f"{s.created:%Y-%m-%d %H:%M:%S}", f"{_size(s):,}", _tell_pins(pins, s.version))
        for s in sets
    ]
    print_table(("version", "created", "bytes", "pinned"), rows, numbers=("bytes",))


@models.command()
@WORKLOAD
@click.argument("version", default="")
@store_option
@json_option
def show(workload: str, version: str, store_url: str, as_json: bool) -> None:
    """Show the model card of VERSION, by default the current one, and the history of pins."""
    from fleetscore.cli.render import print_json
    from fleetscore.errors import InputError
    from fleetscore.model_sets import read_model_set, read_pins

    store = _known(store_url, workload)
    pins = read_pins(store, workload)
    wanted = version or pins.current
    if not wanted:
        raise InputError(
            f"{workload} has no current model set.", fix=f"List them: fleetscore models list {workload}"
        )
    found = read_model_set(store, workload, wanted)
    if as_json:
        print_json({"set": found, "pins": pins})
    else:
        _print_set(found, is_current=wanted == pins.current)
        _print_history(pins)


@models.command()
@WORKLOAD
@click.argument("version")
@click.option("--partition", default="", metavar="KEY", help="Only for this partition.")
@_WHY
@store_option
@json_option
def pin(workload: str, version: str, partition: str, why: str, store_url: str, as_json: bool) -> None:
    """Score with VERSION from now on, everywhere or for one partition."""
    _pin(_known(store_url, workload), workload, version, partition, why, as_json)


@models.command()
@WORKLOAD
@click.option(
    "--partition", required=True, metavar="KEY", help="The partition that gets the current set again."
)
@_WHY
@store_option
@json_option
def unpin(workload: str, partition: str, why: str, store_url: str, as_json: bool) -> None:
    """Let one partition be scored with the current set again."""
    _pin(_known(store_url, workload), workload, "", partition, why, as_json)


@models.command()
@WORKLOAD
@click.argument("version", default="")
@_WHY
@store_option
@json_option
def promote(workload: str, version: str, why: str, store_url: str, as_json: bool) -> None:
    """Make VERSION, by default the newest set, the current one."""
    from fleetscore.errors import InputError
    from fleetscore.model_sets import list_model_sets

    store = _known(store_url, workload)
    versions = list_model_sets(store, workload)
    if not versions:
        raise InputError(
            f"{workload} has no model set.", fix=f"Make one: fleetscore train {workload} --from A --to B"
        )
    _pin(store, workload, version or versions[-1], "", why or "promoted", as_json)


@models.command(short_help="Return to the set that was current before.")
@WORKLOAD
@_WHY
@store_option
@json_option
def rollback(workload: str, why: str, store_url: str, as_json: bool) -> None:
    """Return to the set that was current before the current one; twice goes back twice."""
    from fleetscore.errors import InputError
    from fleetscore.model_sets import read_pins, version_before

    store = _known(store_url, workload)
    version = version_before(read_pins(store, workload))
    if not version:
        raise InputError(
            f"{workload} had no other current model set before.",
            fix=f"Pin one: fleetscore models pin {workload} VERSION",
        )
    _pin(store, workload, version, "", why or "rolled back", as_json)


def _pin(store: Store, workload: str, version: str, partition: str, why: str, as_json: bool) -> None:
    from fleetscore.cli.render import print_json
    from fleetscore.model_sets import pin_version

    pins = pin_version(store, workload, version, partition=partition, who=getpass.getuser(), why=why)
    if as_json:
        print_json(pins)
    elif partition:
        click.echo(f"{workload} {partition}: {version or 'the current set, as all others'}")
    else:
        click.echo(f"{workload}: {pins.current} is current")


def _open(store_url: str) -> Store:
    from fleetscore.stores import open_store

    return open_store(store_url)


def _known(store_url: str, workload: str) -> Store:
    """The store, once it is sure that there is such a workload."""
    from fleetscore.workloads import get_workload

    get_workload(workload)
    return _open(store_url)


def _size(model_set: ModelSet) -> int:
    return sum(file.size_bytes for file in model_set.files.values())


def _tell_pins(pins: Pins, version: str) -> str:
    partitions = sum(pinned == version for pinned in pins.partitions.values())
    told: Sequence[str] = [
        *(["current"] if pins.current == version else []),
        *([f"{partitions} partitions"] if partitions else []),
    ]
    return ", ".join(told)


def _print_set(model_set: ModelSet, *, is_current: bool) -> None:
    from fleetscore.cli.render import print_pairs, tell_value

    title = f"{model_set.workload} {model_set.version}" + (" (current)" if is_current else "")
    files = f"{len(model_set.files)}, {_size(model_set):,} bytes"
    card = [(name, tell_value(value)) for name, value in model_set.card.items()]
    print_pairs(title, [("created", f"{model_set.created:%Y-%m-%d %H:%M:%S}"), ("files", files), *card])


def _print_history(pins: Pins, most: int = 10) -> None:
    from fleetscore.cli.render import print_table

    rows = [
        (
            f"{c.at:%Y-%m-%d %H:%M:%S}",
            c.who,
            c.partition or "current",
            c.before or "none",
            c.after or "none",
            c.why,
        )
        for c in reversed(pins.history[-most:])
    ]
    if rows:
        print_table(("when", "who", "pin", "before", "after", "why"), rows)
