"""Options that many commands share, and the fleet that they name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from fleetscore.cli.text import say

if TYPE_CHECKING:
    from fleetscore.fleet import FleetBase
    from fleetscore.fleet.store_fleet import Fleet

Command = Callable[..., Any]

WORKLOAD = click.argument("workload")
_RUN_END = re.compile(r"-\d[\dTW-]*(-r\d+)?$")  # the window and the round at the end of a run's id


def absolute_url(_context: click.Context, _option: click.Parameter, value: str) -> str:
    """The store's URL, with a folder made absolute."""
    from fleetscore.fleet.store_access import absolute_store_url

    return absolute_store_url(value)


store_option = click.option(
    "--store", "store_url", metavar="URL", envvar="FLEETSCORE_STORE", default=".fleetscore/store", show_default=True,
    callback=absolute_url,
    help="The store: a folder, file:///folder, or https://ACCOUNT.blob.core.windows.net/CONTAINER. [env: FLEETSCORE_STORE]",
)  # fmt: skip
key_option = click.option(
    "--key", metavar="KEY", envvar="FLEETSCORE_KEY", default="",
    help="Function key of the app at --host. [env: FLEETSCORE_KEY]",
)  # fmt: skip
token_option = click.option(
    "--token", metavar="TOKEN", envvar="FLEETSCORE_TOKEN", default="",
    help="Bearer token of Entra ID for the app at --host, instead of a key. [env: FLEETSCORE_TOKEN]",
)  # fmt: skip
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
window_option = click.option(
    "--window", required=True, help="The window, as 2018-08-28T23, 2016-06-29, 2026-W47 or 108."
)


def not_empty(context: click.Context, option: click.Parameter, value: str) -> str:
    """The text; BadParameter for "" that was given, as by a variable of a script that is not set."""
    if value == "" and context.get_parameter_source(option.name or "") is not ParameterSource.DEFAULT:
        raise click.BadParameter("it is empty; leave the option out, or give a value.")
    return value


def read_partitions(
    _context: click.Context, _option: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    """The keys and patterns that were given; `@FILE` stands for those of a file, one a line."""
    found: list[str] = []
    if "" in values:
        raise click.BadParameter("it is empty; leave the option out, or give a value.")
    for value in values:
        found += _lines_of(value[1:]) if value.startswith("@") else [value]
    return tuple(dict.fromkeys(found))


def _lines_of(path: str) -> list[str]:
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{path} cannot be read: {error}.") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise click.BadParameter(f"{path} names no partition: expected one a line.")
    return lines


partitions_option = click.option(
    "--partition", "partitions", multiple=True, metavar="KEY|PATTERN|@FILE", callback=read_partitions,
    help="Only this partition, or those that match 'pump-*/temp', or those of a file, one a line. May be given many times.",
)  # fmt: skip
versions_option = click.option(
    "--models", default="", metavar="VERSION", callback=not_empty,
    help="Score with this model set; current: with the pinned ones, also what another one scored before.",
)  # fmt: skip


def check_only(only: str | None, partitions: tuple[str, ...]) -> None:
    """UsageError where --only and --partition are both given."""
    if only and partitions:
        raise click.UsageError(
            "Give --only or --partition: exactly the partitions that are named are scored."
        )


run_and_partition = click.argument(
    "words", nargs=-1, metavar="RUN|(WORKLOAD WINDOW) PARTITION", required=True
)
force_option = click.option("--force", is_flag=True, help="Also a window that is not due yet.")
from_option = click.option("--from", "first", required=True, metavar="WINDOW", help="The first window.")
to_option = click.option("--to", "end", required=True, metavar="WINDOW", help="The window after the last.")


def starting_options(function: Command) -> Command:
    """--store, --host, --key and --json of a command that starts something; it gets `fleet` and `as_json`."""
    return _fleet_options(
        function, "A function app that runs already; without it the command uses the local host of the store, "
        "and starts it if need be.",
    )  # fmt: skip


def asking_options(function: Command) -> Command:
    """--store, --host, --key and --json of a command that one call answers; it gets `fleet` and `as_json`."""
    return _fleet_options(function, "Ask this function app instead of the store.")


def _fleet_options(function: Command, host_help: str) -> Command:
    host_option = click.option("--host", "host_url", metavar="URL", default="", help=host_help)

    @store_option
    @host_option
    @key_option
    @token_option
    @json_option
    @wraps(function)
    def with_fleet(
        *arguments: Any, store_url: str, host_url: str, key: str, token: str, **options: Any
    ) -> Any:
        _check_place(host_url)
        with open_fleet(store_url, host_url, key, token) as fleet, suggesting(fleet):
            return function(*arguments, fleet=fleet, **options)

    return with_fleet


def open_fleet(store_url: str, host_url: str, key: str, token: str = "") -> FleetBase:
    """The fleet of the app at `host_url` where it is named, else that of the store."""
    if host_url:
        from fleetscore.fleet.remote import RemoteFleet

        return RemoteFleet(host_url, key, token)
    from fleetscore.fleet.store_fleet import Fleet

    return Fleet(store_url)


def named_partition(fleet: FleetBase, words: tuple[str, ...]) -> tuple[str, str]:
    """The run and the partition that RUN PARTITION or WORKLOAD WINDOW PARTITION name; InputError for a
    window without a run, and UsageError where no partition is named.
    """
    if len(words) == 2:
        _check_partition(*words)
        return words[0], words[1]
    if len(words) != 3:
        raise click.UsageError("Give RUN PARTITION, or WORKLOAD WINDOW PARTITION.")
    from fleetscore.errors import InputError
    from fleetscore.runs.index import newest_rounds

    workload, window, partition = words
    newest = newest_rounds(fleet.runs(workload, limit=10_000))
    if window not in newest:
        raise InputError(
            f"{workload} has no run of the window {window}.",
            fix=_other_window(workload, window, list(newest)),
            field="window",
        )
    return newest[window].run, partition


def _check_partition(run: str, partition: str) -> None:
    """UsageError where the words are a workload and a window: a run's id ends in its window."""
    if not _is_window(partition) or _RUN_END.search(run):
        return
    context = click.get_current_context()
    raise click.UsageError(
        f"{run} and {partition} name a workload and a window; the partition is missing. "
        f"Write: {context.command_path} {run} {partition} PARTITION"
    )


def _is_window(text: str) -> bool:
    from fleetscore.errors import InputError
    from fleetscore.windows import parse_key

    try:
        return parse_key(text).key == text
    except InputError:
        return False


def _other_window(workload: str, window: str, ran: list[str]) -> str:
    """How to run the window where it is written like those that ran, else one of them that is like it."""
    near = difflib.get_close_matches(window, ran, 3)
    if near and not any(len(window) == len(key) for key in ran):
        return f"Did you mean {' or '.join(near)}?"
    return f"Run it: fleetscore run {workload} --window {window}"


@contextmanager
def suggesting(fleet: FleetBase) -> Iterator[None]:
    """Add the runs that are named alike to the error of a run that is not there."""
    from fleetscore.errors import MissingBlobError

    try:
        yield
    except MissingBlobError as error:
        wanted = re.fullmatch(r"There is no run '(.*)'\.", error.message)
        if error.code != "no_run" or wanted is None:
            raise
        near = difflib.get_close_matches(wanted[1], [line.run for line in fleet.runs(limit=1000)], 3)
        if not near:
            raise
        fix = f"Did you mean {' or '.join(near)}? {error.fix}"
        raise MissingBlobError(error.message, fix=fix, field=error.field, code=error.code) from error


@contextmanager
def announcing_new(fleet: Fleet) -> Iterator[None]:
    """Say that the block created the store, where it did; a refusal before anything is written does not."""
    is_new = not fleet.exists
    try:
        yield
    finally:
        if is_new and fleet.exists:
            say(f"There was no store at {fleet.url}: it was created.", err=True)


def _check_place(host_url: str) -> None:
    """Refuse options that could not act: a key without an app, a store beside an app."""
    context = click.get_current_context()
    given = {name for name in ("store_url", "key", "token") if is_given(context, name)}
    if host_url and "store_url" in given:
        raise click.UsageError("Give --store or --host: the app at --host has its own store.")
    for name in ("key", "token"):
        if not host_url and name in given:
            raise click.UsageError(f"--{name} is for an app: give its address as --host.")


def is_given(context: click.Context, name: str) -> bool:
    """Whether the option stands on the command line, and is not a default or from the environment."""
    return context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
