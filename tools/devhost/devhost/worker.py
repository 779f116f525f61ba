"""The worker processes: one template that has imported the app, and children forked from it on demand.

The template loads the app before any thread exists, reports to the host what it found, runs the app's
warm-up, then forks a child for every socket the host sends. Children answer calls until their socket closes,
which it does when the host is gone.
"""

import contextlib
import functools
import gc
import io
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import msgspec

from devhost.errors import LoadError
from devhost.failures import Failure, describe, name_of, text_of, trace_of
from devhost.invocation import Invoker
from devhost.loader import LoadedApp, load_app
from devhost.template import bootstrap
from devhost.wire import pack, receive

_log = logging.getLogger("devhost.worker")
_LOOKS_EVERY_S = 0.005  # at a warm-up: the workers wait for it
_UNUSABLE = "%s starts threads, which a fork would lose; workers start without it."
_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def main(arguments: list[str]) -> None:
    """Run as `template FD ROOT` or, started afresh, as `child FD ROOT THREADS`."""
    role, descriptor, root = arguments[0], int(arguments[1]), Path(arguments[2])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # workers end at once: nothing printed may wait in a buffer
            stream.reconfigure(line_buffering=True)
    logging.basicConfig(level=logging.INFO, format=_LOG_FORMAT)
    logging.getLogger("azure").setLevel(logging.WARNING)
    connection = socket.socket(fileno=descriptor)
    if role == "child":
        _serve(connection, load_app(root), int(arguments[3]))
    else:
        with contextlib.suppress(ConnectionError):  # the host refused to start, or ended meanwhile
            _template(connection, root)


def _template(control: socket.socket, root: Path) -> None:
    gc.disable()  # what an import makes stays: a collection would find nothing
    try:
        app = load_app(root)
    except BaseException as error:  # whatever the import of an app raises becomes the host's answer
        trace = "" if isinstance(error, LoadError) else trace_of(error)
        control.sendall(pack({"error": text_of(error) or name_of(error), "trace": trace}))
        return
    _import_sdk()
    control.sendall(pack({"index": msgspec.to_builtins(app.index)}))
    gc.freeze()  # children share these pages; their collections must not touch them
    fresh = _has_threads()
    if not fresh and app.index.warm_up is not None:
        _warm_up(Invoker(app, 1), app.index.warm_up.name)
        gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # ended children need no waiting for
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 16, 1)
        if not message:
            os._exit(0)
        if os.fork() == 0:
            control.close()
            _start_child(descriptors[0], app, root, int(message), fresh)
        os.close(descriptors[0])


def _warm_up(invoker: Invoker, name: str) -> None:
    """Run the app's warm-up in a child, and go on as that child: what it imported is there in every worker.

    Forks do not copy threads. Where the warm-up starts any, or ends its process, the parent goes on as if
    there were none.
    """
    done, doing = os.pipe()
    child = os.fork()
    if child:
        os.close(doing)
        _wait_for_warm_up(child, done, name)
        return
    os.close(done)
    started = time.perf_counter()
    try:
        invoker.run_here(name, {"input": None})
    except BaseException:  # it saves time or does not; nothing depends on it
        _log.exception("%s failed; functions import what they need when they are called.", name)
    if _has_threads():
        _log.warning(_UNUSABLE, name)
        os._exit(1)
    os.close(doing)
    _log.info("%s: %.3f s", name, time.perf_counter() - started)


def _wait_for_warm_up(child: int, done: int, name: str) -> None:
    """Return when the child has ended: once the host is gone, or at once where the warm-up cannot be used."""
    while not select.select([done], [], [], _LOOKS_EVERY_S)[0]:
        if _has_threads(child):
            os.kill(child, signal.SIGKILL)
            _log.warning(_UNUSABLE, name)
            break
    os.close(done)
    os.waitpid(child, 0)


def _import_sdk() -> None:
    """Import what every child needs, once."""
    import azure.durable_functions  # noqa: F401

    import devhost.episode

    devhost.episode.prepare_sdk()


def _start_child(descriptor: int, app: LoadedApp, root: Path, threads: int, fresh: bool) -> None:
    """Become a worker; never returns."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if fresh:
            os.set_inheritable(descriptor, True)
            options = ["child", str(descriptor), str(root), str(threads)]
            program = [sys.executable, "-c", bootstrap(), *options]
            os.execv(sys.executable, program)  # noqa: S606  # our own program
        _serve(socket.socket(fileno=descriptor), app, threads)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)  # a forked child must never run on into its parent's code


def _has_threads(pid: int | None = None) -> bool:
    """Return whether the process, by default this one, has more than one thread, Python's or native: a fork
    would copy none of them.
    """
    tasks = Path(f"/proc/{pid or 'self'}/task")
    return (len(list(tasks.iterdir())) if tasks.exists() else threading.active_count()) > 1


def _serve(connection: socket.socket, app: LoadedApp, threads: int) -> None:
    """Answer calls `[call id, operation, function, payload]` with `[call id, ok, value]` until the host is
    gone.
    """
    _import_sdk()
    gc.enable()
    invoker = Invoker(app, threads)
    lock = threading.Lock()

    def finish(call_id: int, result: Any) -> None:
        frame = _answer(call_id, result)
        with lock:
            connection.sendall(frame)

    try:
        finish(0, os.getpid())
        while True:
            call_id, operation, name, payload = receive(connection)
            if operation == "episode":
                finish(call_id, _episode(app, name, payload))
            else:
                invoker.submit(name, payload, functools.partial(finish, call_id))
    except (EOFError, ConnectionError):
        os._exit(0)  # the host is gone; functions that still run have no receiver for their result


def _answer(call_id: int, result: Any) -> bytes:
    """Return the frame of an answer; a result that cannot be sent becomes a failure that says so."""
    try:
        if not isinstance(result, Failure):
            return pack([call_id, True, result])
    except Exception as error:  # the caller waits for an answer, whatever the result holds
        text = f"{name_of(error)}: the result cannot be sent: {text_of(error)}"
        result = Failure(text, text)
    return pack([call_id, False, {"message": result.message, "trace": result.trace}])


def _episode(app: LoadedApp, name: str, body: bytes) -> dict[str, Any] | Failure:
    from devhost.episode import run_episode

    info = app.index.require(name)
    try:
        episode = run_episode(info.durable_name, app.callables[info.name], body, app.index)
    except Exception as error:
        # An error of the host: the instance fails with it instead of being repeated without end.
        return describe(error)
    return dict(msgspec.to_builtins(episode))
