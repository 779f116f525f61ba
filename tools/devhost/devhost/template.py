"""The host's side of the template: the process that has imported the app, and forks a worker whenever it is asked to.

It is started before the host imports the rest of itself, so this module imports nothing that takes long.
"""

import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from devhost.errors import HostError, LoadError

if TYPE_CHECKING:
    from devhost.functions import FunctionIndex


class Template:
    """The process that has imported the app; every worker is forked from it."""

    def __init__(self, root: Path, environment: dict[str, str]) -> None:
        ours, theirs = socket.socketpair()
        self._control = ours
        program = [sys.executable, "-c", bootstrap(), "template", str(theirs.fileno()), str(root)]
        self.process = subprocess.Popen(
            program,
            pass_fds=[theirs.fileno()],
            env=environment,
            cwd=root,
            start_new_session=True,  # Ctrl-C is for the host alone, which drains first
        )
        theirs.close()

    def wait_for_index(self) -> "FunctionIndex":
        """Block until the app is loaded; raises LoadError with the reason when it cannot be."""
        import msgspec

        from devhost.functions import FunctionIndex, FunctionInfo
        from devhost.wire import receive

        try:
            answer = receive(self._control)
        except EOFError as error:
            raise LoadError(
                f"the app's process ended with code {self.process.wait()} while it loaded"
            ) from error
        if "error" in answer:
            raise LoadError("\n".join(part for part in (answer["trace"].rstrip(), answer["error"]) if part))
        return FunctionIndex(msgspec.convert(answer["functions"], list[FunctionInfo]))

    def fork(self, threads: int) -> socket.socket:
        """Start a worker with a pool of `threads` and return the socket that it answers on."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(self._control, [str(threads).encode().ljust(16)], [theirs.fileno()])
            except OSError as error:
                raise HostError("the process that holds the app has ended; start the host again") from error
        return ours

    def close(self) -> None:
        """End the template, which holds nothing that could be lost; workers end when their own sockets close."""
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
