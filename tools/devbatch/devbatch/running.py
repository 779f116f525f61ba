"""Runs one attempt of a task as a local process, in its own directory and process group."""

import asyncio
import os
import shlex
import shutil
import signal
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from devbatch.durations import parse_duration
from devbatch.records import Failure, Node, Pool, Task
from devbatch.scheduling import Attempt
from devbatch.settings import Settings
from devbatch.users import foreign_environment, fresh_user_id, hand_over, share, words_as_user

#: The part of the service's environment that tasks inherit: what a program needs to start.
INHERITED: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")
#: Below this much free space the real service marks a node as full; here only a variable that tasks can read.
RESERVED_DISK_BYTES: Final = 1_000_000


def task_directory(node: Node, task: Task) -> Path:
    """The directory of a task on a node; `wd` below it is the working directory."""
    return node.directory / "workitems" / task.job.spec.id / "job-1" / task.spec.id


def task_environment(task: Task, node: Node, pool: Pool, settings: Settings, url: str) -> dict[str, str]:
    """The environment of a task: inherited, the service's `--env`, the job's, the task's, then AZ_BATCH_*."""
    directory = task_directory(node, task)
    reserved = {
        "AZ_BATCH_ACCOUNT_NAME": "devbatch",
        "AZ_BATCH_ACCOUNT_URL": url + "/",
        "AZ_BATCH_JOB_ID": task.job.spec.id,
        "AZ_BATCH_NODE_ID": node.id,
        "AZ_BATCH_NODE_IS_DEDICATED": "true" if node.is_dedicated else "false",
        "AZ_BATCH_NODE_MOUNTS_DIR": str(node.directory / "fsmounts"),
        "AZ_BATCH_NODE_ROOT_DIR": str(node.directory),
        "AZ_BATCH_NODE_SHARED_DIR": str(node.directory / "shared"),
        "AZ_BATCH_NODE_STARTUP_DIR": str(node.directory / "startup"),
        "AZ_BATCH_POOL_ID": pool.id,
        "AZ_BATCH_TASK_DIR": str(directory),
        "AZ_BATCH_TASK_ID": task.spec.id,
        "AZ_BATCH_TASK_RESERVED_EPHEMERAL_DISK_SPACE_BYTES": str(RESERVED_DISK_BYTES),
        "AZ_BATCH_TASK_WORKING_DIR": str(directory / "wd"),
    }
    named = (*task.job.spec.common_environment_settings, *task.spec.environment_settings)
    given = {name: os.environ[name] for name in INHERITED if name in os.environ} | dict(settings.environment)
    if settings.has_foreign_environment:
        given = foreign_environment(given)
    return {**given, **{setting.name: setting.value for setting in named}, **reserved}


def command_words(task: Task, images: Mapping[str, tuple[str, ...]]) -> list[str] | Failure:
    """The words to execute, without a shell: the image's command, then the task's; or why there are none."""
    try:
        words = shlex.split(task.spec.command_line)
    except ValueError as error:
        return Failure("usererror", "CommandLaunchFailed", f"The command line cannot be split: {error}.")
    container = task.spec.container_settings
    if container is None:
        return words
    prefix = _image_command(container.image_name, images)
    if prefix is None:
        message = (
            f"No command stands for the image {container.image_name!r}; start the service with "
            f"--image {container.image_name}='COMMAND'."
        )
        return Failure("usererror", "ContainerInvalidImage", message)
    return [*prefix, *words]


def _image_command(image: str, images: Mapping[str, tuple[str, ...]]) -> tuple[str, ...] | None:
    """The command of an image by its full name, else by its name without digest, else without tag."""
    no_digest = image.partition("@")[0]
    head, slash, last = no_digest.rpartition("/")
    no_tag = head + slash + last.partition(":")[0]
    return next((images[name] for name in (image, no_digest, no_tag) if name in images), None)


async def run_attempt(task: Task, node: Node, pool: Pool, settings: Settings, url: str) -> Attempt:
    """How one attempt of a task ended; never raises for what the task does.

    The task's files of an earlier attempt on the same node are replaced. An attempt is stopped by
    `stop_task`, or here when the task's own wall-clock limit is reached.
    """
    words = command_words(task, settings.images)
    if isinstance(words, Failure):
        return Attempt(failure=words)
    directory = task_directory(node, task)
    _make_directories(directory, node)
    user_id = fresh_user_id() if settings.has_foreign_environment else None
    if user_id is not None:
        share(node.directory / "shared")
        hand_over(directory, user_id)
    task.directory = directory
    if task.spec.container_settings is not None:
        task.execution.container_id = uuid.uuid4().hex
    environment = task_environment(task, node, pool, settings, url)
    try:
        process = await _start(words, directory, environment, user_id)
    except (OSError, ValueError) as error:  # ValueError: a NUL in a word, an impossible variable name
        code = "CommandProgramNotFound" if isinstance(error, FileNotFoundError) else "CommandLaunchFailed"
        return Attempt(failure=Failure("usererror", code, f"The command cannot be started: {error}."))
    task.process_group = process.pid
    try:
        return await _watch(task, process)
    finally:
        kill_group(process.pid)  # processes that the task left running
        task.process_group = None


async def _start(
    words: list[str], directory: Path, environment: Mapping[str, str], user_id: int | None
) -> asyncio.subprocess.Process:
    if user_id is not None:
        _check_program(words[0], environment)
        words = words_as_user(words, user_id)
    with (directory / "stdout.txt").open("wb") as out, (directory / "stderr.txt").open("wb") as err:
        return await asyncio.create_subprocess_exec(
            *words,
            cwd=directory / "wd",
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )


def _check_program(program: str, environment: Mapping[str, str]) -> None:
    """Raises FileNotFoundError for a program that does not exist, as starting it without `setpriv` does."""
    if shutil.which(program, path=environment["PATH"]) is None and not program.startswith("."):
        raise FileNotFoundError(f"{program!r} is not in {environment['PATH']}")


async def _watch(task: Task, process: asyncio.subprocess.Process) -> Attempt:
    if task.ending is not None:  # stopped while the process was being started
        kill_group(process.pid)
    limit = task.spec.constraints.max_wall_clock_time
    limit_s = None if limit is None else parse_duration(limit, "maxWallClockTime")
    try:
        async with asyncio.timeout(limit_s):
            code = await process.wait()
    except TimeoutError:
        task.ending = task.ending or "wall clock"
        kill_group(process.pid)
        code = await process.wait()
    return Attempt(exit_code=code if code >= 0 else 128 - code, ending=task.ending)


def kill_group(process_group: int) -> None:
    """Kills every process of a group without notice, as the loss of a machine does."""
    with suppress(ProcessLookupError):  # all of them have ended
        os.killpg(process_group, signal.SIGKILL)


def _make_directories(directory: Path, node: Node) -> None:
    if directory.exists():
        shutil.rmtree(directory)
    (directory / "wd").mkdir(parents=True)
    for name in ("shared", "startup"):
        (node.directory / name).mkdir(exist_ok=True)
