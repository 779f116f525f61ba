"""Commands about the program itself: host, version."""

from __future__ import annotations

import os
import platform

import click

from fleetscore import __version__
from fleetscore.cli.options import json_option, store_option
from fleetscore.cli.text import say


@click.command(short_help="Run the function app on the local host until stopped.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=7071, show_default=True, help="Port; 0 takes a free one."
)
@store_option
def host(port: int, store_url: str) -> None:
    """Run the function app on the local host until stopped, as `func start` would; timers fire on their
    schedules.
    """
    from fleetscore.errors import InputError
    from fleetscore.fleet.embedded_host import EmbeddedHost, check_system, host_command, host_environment
    from fleetscore.fleet.store_fleet import Fleet

    check_system()
    embedded = EmbeddedHost(store_url)
    running = embedded.find()
    if running is not None:
        raise InputError(
            f"A host of {store_url} runs already at {running.url} (process {running.pid}).", field="store"
        )
    if not Fleet(store_url).exists:
        say(f"There is no store at {store_url} yet: it is created now.", err=True)
    embedded.folder.mkdir(parents=True, exist_ok=True)
    command = host_command(embedded.folder, port)
    say(f"Store {store_url}; history and keys in {embedded.folder}. Ctrl-C stops it.", err=True)
    say("The dashboard is at /api/dashboard of the address that follows.", err=True)
    os.execve(command[0], command, host_environment(store_url))  # noqa: S606  # Ctrl-C is the host's now


@click.command()
@json_option
def version(as_json: bool) -> None:
    """Print the version."""
    from fleetscore.cli.render import print_json

    fields = {"fleetscore": __version__, "python": platform.python_version()}
    if as_json:
        print_json(fields)
    else:
        say(f"fleetscore {fields['fleetscore']} on Python {fields['python']}")
