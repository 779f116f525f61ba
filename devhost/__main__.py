"""The command line: `python -m devhost start [APP_DIR]`."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from devhost.errors import HostError
from devhost.pool import Template
from devhost.settings import HostSettings, make_environment, read_host_settings, read_local_settings

_log = logging.getLogger("devhost")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="devhost",
        description="Run a Python v2-model Azure Functions app, with Durable Functions, on this machine.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser(
        "start", help="serve an app until Ctrl-C", description="Serve an app until Ctrl-C."
    )
    start.add_argument(
        "app", nargs="?", default=".", type=Path, help="folder with function_app.py (default: here)"
    )
    start.add_argument("--port", type=int, help="port to listen on; 0 takes a free one (default: 7071)")
    start.add_argument("--address", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    start.add_argument("--data", type=Path, help="folder for the history and keys (default: APP/.devhost)")
    start.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count() or 1,
        help="processes that run activities (default: cores)",
    )
    start.add_argument(
        "--enable-auth", action="store_true", help="demand keys, as Azure does; they are in DATA/keys.json"
    )
    start.add_argument("--verbose", action="store_true", help="log what the host itself does, too")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit code: 0 done, 1 refused or failed with a text, 2 wrong usage."""
    options = _parser().parse_args(arguments)
    level = logging.DEBUG if options.verbose else logging.INFO
    logging.basicConfig(level=level, format="[%(asctime)s] %(message)s", stream=sys.stdout)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    try:
        return _start(options)
    except HostError as error:
        _log.error("%s", error)
        return 1


def _start(options: argparse.Namespace) -> int:
    root = options.app.resolve()
    local = read_local_settings(root)
    port = (
        options.port
        if options.port is not None
        else int((local.get("Host") or {}).get("LocalHttpPort") or 7071)
    )
    environment = make_environment(local, os.environ, root, port)
    settings = read_host_settings(root, environment)
    template = Template(root, environment)  # imports the app while this process imports the rest of itself
    try:
        return _serve(options, root, port, settings, environment, template)
    finally:
        template.close()


def _serve(
    options: argparse.Namespace,
    root: Path,
    port: int,
    settings: HostSettings,
    environment: dict[str, str],
    template: Template,
) -> int:
    from devhost.host import Host, HostOptions
    from devhost.store import Store

    data = (options.data or root / ".devhost").resolve()
    store = Store(data)
    try:
        host_options = HostOptions(
            root, data, options.address, port, max(1, options.workers), options.enable_auth
        )
        host = Host(host_options, settings, environment, template)
        index = template.wait_for_index()
        asyncio.run(_run(host, index, store))
    finally:
        store.close()
    return 0


async def _run(host: "Host", index: "FunctionIndex", store: "Store") -> None:  # type: ignore[name-defined]  # noqa: F821
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await host.run(index, store, stop)


if __name__ == "__main__":
    sys.exit(main())
