"""The user that tasks run as.

This process's, or as an option a fresh one each, as on a node of the real service.

A node makes a user for each task and maps it into the container: its id is in no user database, it owns
nothing but its task's directory, and PATH and HOME are whatever the node has. As an image's files are
readable by every user, a fresh user may read here what the service may read, and write only what it owns or
what is open to all.
"""

import itertools
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from devbatch.errors import ConfigurationError

#: The search path of a plain Linux machine: none of the folders that the service itself was started with.
FOREIGN_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
FIRST_USER_ID: Final = 200_000
_SETPRIV: Final = "/usr/bin/setpriv"
_READ_ALL: Final = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
_user_ids: Final[Iterator[int]] = itertools.count(FIRST_USER_ID)


def foreign_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without HOME and with the search path of a plain machine, whatever stood there."""
    return {name: value for name, value in environment.items() if name != "HOME"} | {"PATH": FOREIGN_PATH}


def fresh_user_id() -> int | None:
    """An id that no other task has; None where this process may not change users."""
    return next(_user_ids) if os.geteuid() == 0 else None


def words_as_user(words: Sequence[str], user_id: int) -> list[str]:
    """The words that run a command as a user who reads everything and writes only what is its own."""
    identity = (f"--reuid={user_id}", f"--regid={user_id}", "--clear-groups")
    return [_SETPRIV, *identity, *_READ_ALL, "--", *words]


def check_users_can_change() -> None:
    """Raises ConfigurationError where root cannot start a process as another user that reads everything."""
    if os.geteuid() != 0:
        return
    try:
        tried = subprocess.run(words_as_user(["/bin/true"], FIRST_USER_ID), capture_output=True, check=False)
    except OSError as error:
        raise ConfigurationError(f"--foreign-environment needs {_SETPRIV} (util-linux): {error}") from error
    if tried.returncode != 0:
        problem = tried.stderr.decode(errors="replace").strip()
        raise ConfigurationError(
            f"--foreign-environment cannot run tasks as other users: {problem}; start the service with the "
            "capability DAC_READ_SEARCH, or as another user than root"
        )


def hand_over(directory: Path, user_id: int) -> None:
    """Gives a task's directory, with what is in it, to the task's user."""
    for path in (directory, *directory.rglob("*")):
        os.chown(path, user_id, user_id)


def share(directory: Path) -> None:
    """Lets every task of the node read and write in a directory; what one makes there belongs to it."""
    directory.chmod(0o777)
