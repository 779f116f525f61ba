"""The command line: `python -m devhost start [APP_DIR]`, and commands for a running host."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from devhost.arguments import make_parser
from devhost.errors import HostError, SettingsError
from devhost.listening import bind
from devhost.settings import local_port, make_environment, read_host_settings, read_local_settings
from devhost.template import Template

if TYPE_CHECKING:
    from socket import socket

    from devhost.host import HostOptions

_log = logging.getLogger("devhost")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit code: 0 done, 1 refused or failed with a text,
    2 wrong usage, 130 interrupted while starting."""
    options = make_parser().parse_args(arguments)
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

        from devhost.host import Host, run_until_signalled
        from devhost.store import Store

        gc.freeze()
        gc.enable()
        data = (options.data or root / ".devhost").resolve()
        store = Store(data)
        try:
            host = Host(_host_options(options, data, listener), settings, environment, template)
            asyncio.run(run_until_signalled(host, template.wait_for_index(), store))
        finally:
            store.close()
    finally:
        template.close()
        gc.freeze()  # else Python collects all garbage before it ends
    return 0


def _host_options(options: argparse.Namespace, data: Path, listener: socket) -> HostOptions:
    from devhost.host import HostOptions

    return HostOptions(
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


if __name__ == "__main__":
    sys.exit(main())
