"""The arguments of the command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="devhost",
        description="Run a Python v2-model Azure Functions app, with Durable Functions, on this machine.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    start = _command(commands, "start", "serve an app until Ctrl-C")
    _add_serving(start)
    _add_running(start)
    _add_invoke(commands)
    _add_lists(commands)
    return parser


def _command(commands: Commands, name: str, text: str) -> argparse.ArgumentParser:
    made = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    made.add_argument("--data", type=Path, help="folder for the history and keys (default: APP/.devhost)")
    return made


def _add_serving(start: argparse.ArgumentParser) -> None:
    """Which app is served, where, and to which callers."""
    start.add_argument(
        "app", nargs="?", default=Path(), type=Path, help="folder with function_app.py (default: here)"
    )
    start.add_argument("--port", type=int, help="port to listen on; 0 takes a free one (default: 7071)")
    start.add_argument(
        "--address", default="127.0.0.1", help="IPv4 address to listen on (default: 127.0.0.1)"
    )
    start.add_argument(
        "--host-name",
        action="append",
        default=[],
        help="a name under which callers may reach the host, beside localhost; may be given again",
    )
    start.add_argument(
        "--enable-auth", action="store_true", help="demand keys, as Azure does; see DATA/keys.json"
    )
    start.add_argument(
        "--end-with",
        type=int,
        metavar="PID",
        help="end, as on Ctrl-C, when that process has ended, such as the command that started this host",
    )


def _add_running(start: argparse.ArgumentParser) -> None:
    """How its functions are run."""
    start.add_argument(
        "--workers",
        type=int,
        help="processes that run activities (default: cores)",
    )
    start.add_argument(
        "--concurrency",
        choices=("processes", "threads"),
        default="processes",
        help="run activities in a process each, or all functions as threads of one process, as Azure's "
        "worker does (default: processes)",
    )
    start.add_argument(
        "--lost-activities",
        choices=("fail", "repeat"),
        default="fail",
        help="what becomes of an activity whose worker process dies: it fails, as on Azure, or runs again "
        "(default: fail)",
    )
    start.add_argument(
        "--dead-partition",
        type=int,
        action="append",
        default=[],
        metavar="N",
        help="leave this partition's instances alone, as an orphaned control queue does; may be given again",
    )
    start.add_argument("--verbose", action="store_true", help="log what the host itself does, too")


def _add_invoke(commands: Commands) -> None:
    invoke = _command(
        commands, "invoke", "run a function of a running host; wait for an orchestration and print its output"
    )
    invoke.add_argument("name", help="the function's name")
    invoke.add_argument("input", nargs="?", help="its input, as JSON")


def _add_lists(commands: Commands) -> None:
    show = _command(commands, "list", "list the orchestration instances of a running host")
    show.add_argument("--status", help="only these, separated by commas, such as Running,Failed")

    purge = _command(commands, "purge", "delete ended orchestration instances of a running host")
    purge.add_argument("--before", help="only those created before this ISO 8601 time")
    purge.add_argument(
        "--status",
        default="Completed,Failed,Terminated,Canceled",
        help="only these (default: all that have ended)",
    )
