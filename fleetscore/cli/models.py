"""Commands about model sets: import-models, and models list, show, pin, unpin, promote, rollback, challenge, judge, verdicts."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetscore.cli.options import WORKLOAD, from_option, json_option, store_option, to_option

if TYPE_CHECKING:
    from fleetscore.model_sets import ModelSet, Pins
    from fleetscore.stores.base import Store
    from fleetscore.verdicts import Verdict

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
    """List, show, pin, challenge and judge model sets."""


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
        print_json(
            {
                "current": pins.current,
                "challenger": pins.challenger,
                "partitions": pins.partitions,
                "sets": sets,
            }
        )
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


@models.command(short_help="Make a set the current one.")
@WORKLOAD
@click.argument("version", default="")
@_WHY
@store_option
@json_option
def promote(workload: str, version: str, why: str, store_url: str, as_json: bool) -> None:
    """Make VERSION, by default the challenger, else the newest set, the current one; its last verdict goes on record."""
    from fleetscore.promotion import promote as promote_version

    store = _known(store_url, workload)
    _tell(workload, "", promote_version(store, workload, version, getpass.getuser(), why), as_json)


@models.command(short_help="Return to the set that was current before.")
@WORKLOAD
@_WHY
@store_option
@json_option
def rollback(workload: str, why: str, store_url: str, as_json: bool) -> None:
    """Return to the set that was current before the current one; twice goes back twice."""
    from fleetscore.promotion import roll_back

    _tell(workload, "", roll_back(_known(store_url, workload), workload, getpass.getuser(), why), as_json)


@models.command(short_help="Let VERSION score in shadow.")
@WORKLOAD
@click.argument("version", default="")
@click.option("--stop", is_flag=True, help="No challenger from now on.")
@_WHY
@store_option
@json_option
def challenge(workload: str, version: str, stop: bool, why: str, store_url: str, as_json: bool) -> None:
    """Let VERSION score in shadow from the next run on: the same input, in the same runs, never published."""
    from fleetscore.cli.render import print_json
    from fleetscore.model_sets import pin_challenger

    if stop == bool(version):
        raise click.UsageError("Name a VERSION, or give --stop.")
    store = _known(store_url, workload)
    pins = pin_challenger(store, workload, version, who=getpass.getuser(), why=why)
    if as_json:
        print_json(pins)
    else:
        click.echo(f"{workload}: {pins.challenger or 'nobody'} challenges {pins.current or 'nobody'}")


@models.command(short_help="Judge the challenger on what really came.")
@WORKLOAD
@from_option
@to_option
@click.option("--version", default="", help="A former challenger instead of the present one.")
@store_option
@json_option
def judge(workload: str, first: str, stop: str, version: str, store_url: str, as_json: bool) -> None:
    """Compare the challenger with what was published in the windows [from, to), where actuals have come, and keep the verdict."""
    from datetime import UTC, datetime

    from fleetscore.cli.render import print_json
    from fleetscore.verdicts import judge_challenger

    store = _known(store_url, workload)
    verdict = judge_challenger(store, workload, first, stop, datetime.now(UTC), getpass.getuser(), version)
    if as_json:
        print_json(verdict)
    else:
        _print_verdict(verdict)


@models.command(short_help="List the kept verdicts, newest first.")
@WORKLOAD
@store_option
@json_option
def verdicts(workload: str, store_url: str, as_json: bool) -> None:
    """List the kept verdicts on challengers, newest first."""
    from fleetscore.cli.render import print_json, print_table
    from fleetscore.verdicts import list_verdicts

    kept = list_verdicts(_known(store_url, workload), workload)
    if as_json:
        print_json(kept)
        return
    rows = [
        (f"{v.at:%Y-%m-%d %H:%M:%S}", v.challenger, f"{v.change:+.1%}", f"{v.cases:,}", "promote" if v.promote else "keep", v.reason)
        for v in kept
    ]  # fmt: skip
    print_table(("when", "challenger", "loss", "cases", "verdict", "why"), rows, numbers=("loss", "cases"))


def _pin(store: Store, workload: str, version: str, partition: str, why: str, as_json: bool) -> None:
    from fleetscore.model_sets import pin_version

    pins = pin_version(store, workload, version, partition=partition, who=getpass.getuser(), why=why)
    _tell(workload, partition, pins, as_json)


def _tell(workload: str, partition: str, pins: Pins, as_json: bool) -> None:
    from fleetscore.cli.render import print_json

    if as_json:
        print_json(pins)
    elif partition:
        pinned = pins.partitions.get(partition, "")
        click.echo(f"{workload} {partition}: {pinned or 'the current set, as all others'}")
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


def _print_verdict(verdict: Verdict) -> None:
    from fleetscore.cli.render import print_pairs, tell_counts

    advice = "promote" if verdict.promote else "keep the champion"
    print_pairs(
        f"{verdict.challenger} against {verdict.champion} of {verdict.workload}: {advice}",
        [
            ("why", verdict.reason),
            (
                "loss",
                f"{verdict.challenger_loss:.6g} against {verdict.champion_loss:.6g} ({verdict.change:+.1%})",
            ),
            ("measured", verdict.loss),
            (
                "cases",
                f"{verdict.cases:,} of {verdict.partitions:,} partitions in {len(verdict.windows):,} windows",
            ),
            ("better", tell_counts(verdict.wins)),
            ("by partition", verdict.table),
            (
                "next",
                f"fleetscore models promote {verdict.workload} {verdict.challenger}"
                if verdict.promote
                else "",
            ),
        ],
    )


def _size(model_set: ModelSet) -> int:
    return sum(file.size_bytes for file in model_set.files.values())


def _tell_pins(pins: Pins, version: str) -> str:
    partitions = sum(pinned == version for pinned in pins.partitions.values())
    told: Sequence[str] = [
        *(["current"] if pins.current == version else []),
        *(["challenger"] if pins.challenger == version else []),
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
            c.partition or ("challenger" if c.role == "challenger" else "current"),
            c.before or "none",
            c.after or "none",
            c.why,
        )
        for c in reversed(pins.history[-most:])
    ]
    if rows:
        print_table(("when", "who", "pin", "before", "after", "why"), rows)
