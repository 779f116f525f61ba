"""The files of a task on its node: listed, described and read while the node exists."""

import stat
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from devbatch.account import utc_text
from devbatch.answers import account_of, many
from devbatch.errors import ServiceError, conflict, not_found
from devbatch.records import Task
from devbatch.shapes import task_url


async def list_task_files(request: web.Request) -> web.Response:
    """GET …/files: names relative to the task's directory; with `recursive=true` those below as well."""
    task = _task(request)
    root = files_root(task)
    recursive = request.query.get("recursive", "false").lower() == "true"
    url = task_url(account_of(request), task)
    return many(request, "files", _paths(root, recursive), lambda path: _listed(root, path, url))


async def get_task_file(request: web.Request) -> web.Response:
    """GET …/files/{path} gives the bytes, or the `ocp-range`; HEAD gives headers only."""
    task = _task(request)
    path = find_file(files_root(task), request.match_info["path"])
    headers = _headers(path, f"{task_url(account_of(request), task)}/files/{request.match_info['path']}")
    if request.method == "HEAD":
        return web.Response(headers=headers | {"Content-Length": str(path.stat().st_size)})
    if path.is_dir():
        raise ServiceError(400, "InvalidRequestBody", f"{request.match_info['path']} is a directory.")
    content = _ranged(path.read_bytes(), request.headers.get("ocp-range"))
    return web.Response(body=content, headers=headers | {"Content-Type": "application/octet-stream"})


async def delete_task_file(request: web.Request) -> web.Response:
    """DELETE …/files/{path}: removes one file."""
    path = find_file(files_root(_task(request)), request.match_info["path"])
    if path.is_dir():
        raise ServiceError(400, "InvalidRequestBody", f"{request.match_info['path']} is a directory.")
    path.unlink()
    return web.Response()


def files_root(task: Task) -> Path:
    """The directory of a task; raises ServiceError (409) when it has not run yet or its files are gone."""
    if task.directory is None:
        raise conflict("TaskFilesUnavailable", "The task has no files yet: it has not started on a node.")
    if not task.directory.exists():
        is_kept = task.pool is not None and task.node is not None and task.node.id.lower() in task.pool.nodes
        if is_kept and task.state == "completed":
            raise conflict(
                "TaskFilesCleanedup", "The files of the task are gone: retention over, or disk lost."
            )
        raise conflict("TaskFilesUnavailable", "The files of the task are gone with the node that it ran on.")
    return task.directory


def find_file(root: Path, name: str) -> Path:
    """The file of that name below the root; raises ServiceError (404) for none, or one outside the root."""
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()) or not path.exists():
        raise not_found("File", name)
    return path


def _task(request: web.Request) -> Task:
    return account_of(request).task(request.match_info["job_id"], request.match_info["task_id"])


def _paths(root: Path, recursive: bool) -> list[Path]:
    return sorted(root.rglob("*") if recursive else root.iterdir())


def _listed(root: Path, path: Path, url: str) -> dict[str, Any]:
    name = path.relative_to(root).as_posix()
    entry: dict[str, Any] = {"name": name, "url": f"{url}/files/{name}", "isDirectory": path.is_dir()}
    if not path.is_dir():
        entry["properties"] = {
            "creationTime": utc_text(_changed(path)),
            "lastModified": utc_text(_changed(path)),
            "contentLength": str(path.stat().st_size),
            "contentType": "application/octet-stream",
            "fileMode": _mode(path),
        }
    return entry


def _headers(path: Path, url: str) -> dict[str, str]:
    changed = format_datetime(_changed(path), usegmt=True)
    return {
        "Last-Modified": changed,
        "ocp-creation-time": changed,
        "ocp-batch-file-isdirectory": "True" if path.is_dir() else "False",
        "ocp-batch-file-url": url,
        "ocp-batch-file-mode": _mode(path),
    }


def _changed(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _mode(path: Path) -> str:
    return f"0o{stat.S_IFMT(path.stat().st_mode) | stat.S_IMODE(path.stat().st_mode):o}"


def _ranged(content: bytes, wanted: str | None) -> bytes:
    """The bytes from first to last, both included; an open end reads to the end of the file."""
    if wanted is None:
        return content
    try:
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        return content[int(first) : int(last) + 1 if last else None]
    except ValueError as error:
        raise ServiceError(
            416, "InvalidRange", f"The range {wanted!r} is not valid: bytes=first-last is expected."
        ) from error
