"""The command line: `python -m devhost start [APP_DIR]`, and commands for a running host."""

import argparse
import gc
import logging
import os
import sys
from pathlib import Path

from devhost.errors import HostError, SettingsError
from devhost.listening import bind
from devhost.settings import local_port, make_environment, read_host_settings, read_local_settings
from devhost.template import Template

_log = logging.getLogger("devhost")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="devhost",
        description="Run a Python v2-model Azure Functions app, with Durable Functions, on this machine.",
    )
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        made.add_argument("--data", type=Path, help="folder for the history and keys (default: APP/.devhost)")
        return made

    start = command("start", "serve an app until Ctrl-C")
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
        "--enable-auth", action="store_true", help="demand keys, as Azure does; see DATA/keys.json"
    )
    start.add_argument(
        "--end-with",
        type=int,
        metavar="PID",
        help="end, as on Ctrl-C, when that process has ended, such as the command that started this host",
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

    invoke = command(
        "invoke", "run a function of a running host; wait for an orchestration and print its output"
    )
    invoke.add_argument("name", help="the function's name")
    invoke.add_argument("input", nargs="?", help="its input, as JSON")

    show = command("list", "list the orchestration instances of a running host")
    show.add_argument("--status", help="only these, separated by commas, such as Running,Failed")

    purge = command("purge", "delete ended orchestration instances of a running host")
    purge.add_argument("--before", help="only those created before this ISO 8601 time")
    purge.add_argument(
        "--status",
        default="Completed,Failed,Terminated,Canceled",
        help="only these (default: all that have ended)",
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit code: 0 done, 1 refused or failed with a text,
    2 wrong usage, 130 interrupted while starting."""
    options = _parser().parse_args(arguments)
    level = logging.DEBUG if getattr(options, "verbose", False) else logging.INFO
    logging.basicConfig(level=level, format="[%(asctime)s] %(message)s", stream=sys.stdout)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.getLogger("azure").setLevel(logging.WARNING)
    try:
        if options.command == "start":
            return _start(options)
        sys.stdout.write(_ask(options))
    except HostError as error:
        _log.error("%s", error)
        return 1
    except KeyboardInterrupt:  # before the host served; afterwards it drains
        return 130
    return 0


def _ask(options: argparse.Namespace) -> str:
    """Do a command on the host that serves the data folder; return what to print."""
    from devhost import remote

    host = remote.find_host((options.data or Path(".devhost")).resolve())
    if options.command == "invoke":
        return remote.invoke(host, options.name, options.input) + "\n"
    if options.command == "list":
        return "".join(f"{line}\n" for line in remote.list_instances(host, options.status))
    return remote.purge(host, options.before, options.status) + "\n"


def _start(options: argparse.Namespace) -> int:
    if options.concurrency == "threads" and options.workers is not None:
        raise SettingsError(
            "--workers counts processes for activities, of which there are none with --concurrency threads; "
            "set PYTHON_THREADPOOL_THREAD_COUNT and FUNCTIONS_WORKER_PROCESS_COUNT instead"
        )
    root = options.app.resolve()
    local = read_local_settings(root)
    listener = bind(options.address, local_port(local) if options.port is None else options.port)
    environment = make_environment(local, os.environ, root, listener.getsockname()[1])
    settings = read_host_settings(root, environment)
    template = Template(root, environment)  # imports the app while this process imports the rest of itself
    try:
        gc.disable()  # what an import makes stays: a collection would find nothing
        import asyncio

        from devhost.host import Host, HostOptions, run_until_signalled
        from devhost.store import Store

        gc.freeze()
        gc.enable()
        data = (options.data or root / ".devhost").resolve()
        store = Store(data)
        try:
            host_options = HostOptions(
                data,
                listener,
                max(1, options.workers or os.cpu_count() or 1),
                options.enable_auth,
                options.concurrency == "threads",
                frozenset(name.lower() for name in options.host_name),
                options.lost_activities == "fail",
                frozenset(options.dead_partition),
                options.end_with,
            )
            host = Host(host_options, settings, environment, template)
            asyncio.run(run_until_signalled(host, template.wait_for_index(), store))
        finally:
            store.close()
    finally:
        template.close()
        gc.freeze()  # else Python collects all garbage before it ends
    return 0


if __name__ == "__main__":
    sys.exit(main())
