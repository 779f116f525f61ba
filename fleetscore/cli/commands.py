"""The commands, by name: each is imported only when it is used or listed."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import Any

import click

from fleetscore import __version__

PIPE_CLOSED = 141
"""What a shell reports of a program that SIGPIPE ended."""

_COMMANDS = {
    "run": "run:run",
    "backfill": "backfill:backfill",
    "plan": "plan:plan",
    "runs": "run_list:runs",
    "attention": "attention:attention",
    "anomalies": "anomalies:anomalies",
    "mute": "mutes:mute",
    "unmute": "mutes:unmute",
    "mutes": "mutes:mutes",
    "retire": "retire:retire",
    "show": "run_list:show",
    "explain": "explain:explain",
    "replay": "replay:replay",
    "cancel": "run:cancel",
    "retry": "run:retry",
    "publish": "publish:publish",
    "train": "run:train",
    "new": "new:new",
    "check": "check:check",
    "import-models": "import_models:import_models",
    "models": "models:models",
    "results": "results:results",
    "drift": "drift:drift",
    "costs": "costs:costs",
    "deadlines": "deadlines:deadlines",
    "notify": "notify:notify",
    "samples": "workloads:samples",
    "backtest": "workloads:backtest",
    "draw": "workloads:draw",
    "doctor": "doctor:doctor",
    "repair": "repair:repair",
    "housekeep": "housekeeping:housekeep",
    "host": "host:host",
    "demo": "demo.command:demo",
    "cloud": "cloud:cloud",
    "version": "host:version",
}
_FORMER = {"look": "attention:look"}
"""Former names, which work for one more version and are not listed."""


class LazyGroup(click.Group):
    """A group that lists its commands by name and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of use."""
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        del ctx
        if cmd_name not in _COMMANDS | _FORMER:
            return None
        module, _, attribute = (_COMMANDS | _FORMER)[cmd_name].partition(":")
        command: click.Command = getattr(import_module(f"fleetscore.cli.{module}"), attribute)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """As click does it, but a reader that went away ends the program as SIGPIPE would; click's own
        answer is 1.
        """
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise click.exceptions.Exit(PIPE_CLOSED) from error

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, but an unknown command gets the nearest known ones."""
        if args and args[0] not in _COMMANDS | _FORMER and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], _COMMANDS, 3)
            then = f"Did you mean {' or '.join(near)}?" if near else "`fleetscore --help` lists them."
            ctx.fail(f"There is no command {args[0]!r}. {then}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="fleetscore", message="%(prog)s %(version)s")
@click.option(
    "--debug", is_flag=True, help="Log what happens, and show the traceback of an unexpected error."
)
def fleetscore(debug: bool) -> None:
    """Score fleets of models, one per store, sensor or server, and keep one outcome for each."""
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )
    for chatty in ("urllib3", "matplotlib", "azure", "numba"):
        logging.getLogger(chatty).setLevel(logging.INFO if debug else logging.ERROR)
