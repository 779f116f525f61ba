"""The host's side of the template: the process that has imported the app, and forks a worker whenever it is
asked to.

It is started before the host imports the rest of itself, so this module imports nothing that takes long.
"""

import logging
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from devhost.errors import LoadError, TemplateLostError

if TYPE_CHECKING:
    from devhost.functions import FunctionIndex

_log = logging.getLogger("devhost")


class Template:
    """The process that has imported the app; every worker is forked from it. It is started again when it
    dies.
    """

    def __init__(self, root: Path, environment: dict[str, str]) -> None:
        self._root = root
        self._environment = environment
        self._reviving = threading.Lock()
        self._index: FunctionIndex | None = None
        self.generation = 0  # how often it was started again
        self._launch()

    def _launch(self) -> None:
        ours, theirs = socket.socketpair()
        self._control = ours
        program = [sys.executable, "-c", bootstrap(), "template", str(theirs.fileno()), str(self._root)]
        self.process = subprocess.Popen(
            program,
            pass_fds=[theirs.fileno()],
            env=self._environment,
            cwd=self._root,
            start_new_session=True,  # Ctrl-C is for the host alone, which drains first
        )
        theirs.close()

    def wait_for_index(self) -> "FunctionIndex":
        """Block until the app is loaded; raises LoadError with the reason when it cannot be.

        A process that a signal ends while it loads is started once more: it may have met a moment without
        memory.
        """
        try:
            self._index = self._receive_index()
        except EOFError:
            if self.process.wait() < 0:
                _log.warning("The process that loads the app was killed; it is started once more.")
                self._control.close()
                self._launch()
            try:
                self._index = self._receive_index()
            except EOFError as error:
                raise LoadError(
                    f"the app's process ended with code {self.process.wait()} while it loaded"
                ) from error
        return self._index

    def _receive_index(self) -> "FunctionIndex":
        import msgspec

        from devhost.functions import FunctionIndex
        from devhost.wire import receive

        answer = receive(self._control)
        if "error" in answer:
            raise LoadError("\n".join(part for part in (answer["trace"].rstrip(), answer["error"]) if part))
        return msgspec.convert(answer["index"], FunctionIndex)

    def fork(self, threads: int) -> socket.socket:
        """Start a worker with a pool of `threads` and return the socket that it answers on.

        Raises TemplateLostError when the process has ended; see `revive`.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(self._control, [str(threads).encode().ljust(16)], [theirs.fileno()])
            except OSError as error:
                ours.close()
                raise TemplateLostError("the process that holds the app has ended") from error
        return ours

    def revive(self, generation: int) -> None:
        """Start the process again, unless that was done since `generation`; blocks until the app is loaded.

        Raises LoadError when the app cannot be loaded any more or has other functions than when the host
        started.
        """
        with self._reviving:
            if generation != self.generation:
                return
            _log.warning("The process that holds the app has ended; it is started again.")
            known = self._index
            self.close()
            self._launch()
            if self.wait_for_index() != known:
                raise LoadError(
                    "the app's functions have changed since the host started; start the host again"
                )
            self.generation += 1

    def close(self) -> None:
        """End the template, which holds nothing that could be lost; workers end when their sockets close."""
        self._control.close()
        self.process.kill()
        self.process.wait()


def bootstrap() -> str:
    """Return a program for `python -c` that runs `main` of devhost.worker, wherever the package lies."""
    package_parent = str(Path(__file__).resolve().parent.parent)
    return (
        f"import sys; sys.path[:] = [p for p in sys.path if p] + [{package_parent!r}]; "
        "from devhost.worker import main; main(sys.argv[1:])"
    )
