"""The HTTP server: routes, checks that come before every operation, start and stop."""

import asyncio
import logging
import os
import shutil
import signal
import socket
import uuid
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web

from devbatch import api_jobs, api_pools, files
from devbatch.account import Account
from devbatch.answers import refusal
from devbatch.certificates import make_certificate, tls_context
from devbatch.control import ACCOUNT, FAULTS, control_routes
from devbatch.engine import run_engine
from devbatch.errors import ConfigurationError, ServiceError
from devbatch.faults import FaultBook, Handler, apply_fault
from devbatch.pools import create_from_file
from devbatch.settings import Settings
from devbatch.users import check_users_can_change

API_VERSION: Final = "2025-06-01"
BODY_LIMIT_BYTES: Final = 1024 * 1024
#: What a query may name; $skiptoken is of the service's own links to a next page.
_PARAMETERS: Final = frozenset(
    [
        "api-version",
        "timeout",
        "maxresults",
        "$filter",
        "$select",
        "$expand",
        "$skiptoken",
        "recursive",
        "force",
    ]
)

logger = logging.getLogger(__name__)

#: (method, path, name of the operation as the Python client writes it, handler)
OPERATIONS: Final[tuple[tuple[str, str, str, Callable[[web.Request], Awaitable[web.Response]]], ...]] = (
    ("POST", "/pools", "create_pool", api_pools.post_pool),
    ("GET", "/pools", "list_pools", api_pools.list_pools),
    ("GET", "/pools/{pool_id}", "get_pool", api_pools.get_pool),
    ("HEAD", "/pools/{pool_id}", "pool_exists", api_pools.head_pool),
    ("PATCH", "/pools/{pool_id}", "update_pool", api_pools.patch_pool),
    ("DELETE", "/pools/{pool_id}", "delete_pool", api_pools.remove_pool),
    ("POST", "/pools/{pool_id}/resize", "resize_pool", api_pools.post_resize),
    ("POST", "/pools/{pool_id}/stopresize", "stop_pool_resize", api_pools.post_stop_resize),
    ("POST", "/pools/{pool_id}/removenodes", "remove_nodes", api_pools.post_remove_nodes),
    ("POST", "/pools/{pool_id}/enableautoscale", "enable_pool_auto_scale", api_pools.post_enable_autoscale),
    (
        "POST",
        "/pools/{pool_id}/disableautoscale",
        "disable_pool_auto_scale",
        api_pools.post_disable_autoscale,
    ),
    (
        "POST",
        "/pools/{pool_id}/evaluateautoscale",
        "evaluate_pool_auto_scale",
        api_pools.post_evaluate_autoscale,
    ),
    ("GET", "/pools/{pool_id}/nodes", "list_nodes", api_pools.list_nodes),
    ("GET", "/pools/{pool_id}/nodes/{node_id}", "get_node", api_pools.get_node),
    ("GET", "/nodecounts", "list_pool_node_counts", api_pools.list_node_counts),
    ("POST", "/jobs", "create_job", api_jobs.post_job),
    ("GET", "/jobs", "list_jobs", api_jobs.list_jobs),
    ("GET", "/jobs/{job_id}", "get_job", api_jobs.get_job),
    ("PATCH", "/jobs/{job_id}", "update_job", api_jobs.patch_job),
    ("DELETE", "/jobs/{job_id}", "delete_job", api_jobs.remove_job),
    ("POST", "/jobs/{job_id}/terminate", "terminate_job", api_jobs.post_terminate_job),
    ("POST", "/jobs/{job_id}/disable", "disable_job", api_jobs.post_disable_job),
    ("POST", "/jobs/{job_id}/enable", "enable_job", api_jobs.post_enable_job),
    ("GET", "/jobs/{job_id}/taskcounts", "get_job_task_counts", api_jobs.get_task_counts),
    ("POST", "/jobs/{job_id}/tasks", "create_task", api_jobs.post_task),
    ("POST", "/jobs/{job_id}/addtaskcollection", "create_task_collection", api_jobs.post_task_collection),
    ("GET", "/jobs/{job_id}/tasks", "list_tasks", api_jobs.list_tasks),
    ("GET", "/jobs/{job_id}/tasks/{task_id}", "get_task", api_jobs.get_task),
    ("PUT", "/jobs/{job_id}/tasks/{task_id}", "replace_task", api_jobs.put_task),
    ("DELETE", "/jobs/{job_id}/tasks/{task_id}", "delete_task", api_jobs.remove_task),
    ("POST", "/jobs/{job_id}/tasks/{task_id}/terminate", "terminate_task", api_jobs.post_terminate_task),
    ("POST", "/jobs/{job_id}/tasks/{task_id}/reactivate", "reactivate_task", api_jobs.post_reactivate_task),
    ("GET", "/jobs/{job_id}/tasks/{task_id}/files", "list_task_files", files.list_task_files),
    ("GET", "/jobs/{job_id}/tasks/{task_id}/files/{path:.+}", "download_task_file", files.get_task_file),
    (
        "HEAD",
        "/jobs/{job_id}/tasks/{task_id}/files/{path:.+}",
        "get_task_file_properties",
        files.get_task_file,
    ),
    ("DELETE", "/jobs/{job_id}/tasks/{task_id}/files/{path:.+}", "delete_task_file", files.delete_task_file),
)


class _Stopped(Exception):  # noqa: N818 - not an error: a signal asks the service to stop
    """Ends the task group that owns the engine and all attempts."""


def make_app(account: Account, faults: FaultBook) -> web.Application:
    """The web application over an account."""
    app = web.Application(middlewares=[_answer_errors], client_max_size=BODY_LIMIT_BYTES)
    app[ACCOUNT], app[FAULTS] = account, faults
    for method, path, operation, handler in OPERATIONS:
        app.router.add_route(method, path, _checked(operation, handler))
    app.add_routes(control_routes())
    return app


async def serve(settings: Settings, port: int, announce: Callable[[str], None]) -> None:
    """Runs the service until SIGINT or SIGTERM; every task that still runs is then killed.

    Writes `address.json` into the data folder once requests are answered, and removes it at the end. Raises
    ConfigurationError when the folder is in use, the port is taken, or users cannot be changed.
    """
    _prepare_folder(settings.data)
    if settings.has_foreign_environment:
        check_users_can_change()
    ca_path = make_certificate(settings.data)
    listener = _listen(port)
    url = f"https://127.0.0.1:{listener.getsockname()[1]}"
    running = asyncio.TaskGroup()
    account = Account(settings, url, running)
    _make_pools(account)
    try:
        async with running:
            running.create_task(run_engine(account))
            runner = web.AppRunner(make_app(account, FaultBook()), access_log=None, shutdown_timeout=0.5)
            await runner.setup()
            await web.SockSite(runner, listener, ssl_context=tls_context(settings.data)).start()
            _write_address(settings.data, url, ca_path)
            announce(url)
            try:
                await _stop_signal()
            finally:
                await runner.cleanup()
            raise _Stopped
    except* _Stopped:
        logger.info("stopped")
    finally:
        (settings.data / "address.json").unlink(missing_ok=True)


def _make_pools(account: Account) -> None:
    """Creates the pools of the settings; raises ConfigurationError for one that is refused."""
    for entry in account.settings.pools:
        try:
            create_from_file(account, entry)
        except ServiceError as error:
            raise ConfigurationError(f"The pool {entry.body['id']!r} is refused: {error}") from error


def _checked(operation: str, handler: Handler) -> Handler:
    """A handler behind the common steps: injected faults, checks of version and authorization."""

    async def handle(request: web.Request) -> web.StreamResponse:
        async def authorized(request: web.Request) -> web.StreamResponse:
            check_request(request.query, request.headers)
            return await handler(request)

        return await apply_fault(request.app[FAULTS].next_fault(operation), request, authorized)

    return handle


def check_request(query: Mapping[str, str], headers: Mapping[str, str]) -> None:
    """Raises ServiceError: 400 for another api-version or none and for parameters that no operation has, 403
    without a bearer token.

    Any bearer token is accepted: no authority that could check it exists locally. Account keys are refused,
    as by an account that allows identities only.
    """
    version = query.get("api-version")
    if version is None:
        raise ServiceError(
            400,
            "MissingRequiredQueryParameter",
            "A required query parameter was not specified for this request: api-version.",
            {"QueryParameterName": "api-version"},
        )
    if version != API_VERSION:
        raise ServiceError(
            400,
            "InvalidQueryParameterValue",
            f"The api-version {version!r} is not known here; {API_VERSION} is.",
            {"QueryParameterName": "api-version"},
        )
    if unknown := [name for name in query if name.lower() not in _PARAMETERS]:
        raise ServiceError(
            400,
            "UnsupportedQueryParameter",
            f"The query parameter {unknown[0]} is not supported.",
            {"QueryParameterName": unknown[0], "QueryParameterValue": query[unknown[0]]},
        )
    if not headers.get("Authorization", "").startswith("Bearer "):
        raise ServiceError(
            403, "AuthenticationFailed", "A bearer token is expected; account keys are not allowed."
        )


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        response = await handler(request)
    except ServiceError as error:
        response = refusal(error)
    except web.HTTPRequestEntityTooLarge:
        response = refusal(
            ServiceError(413, "RequestBodyTooLarge", f"The body exceeds {BODY_LIMIT_BYTES} bytes.")
        )
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed):
        message = f"{request.method} {request.path} is not an operation of the local Batch service."
        response = refusal(ServiceError(400, "UnsupportedByLocalService", message))
    response.headers["request-id"] = str(uuid.uuid4())
    client_id = request.headers.get("client-request-id")
    if client_id and request.headers.get("return-client-request-id", "").lower() == "true":
        response.headers["client-request-id"] = client_id
    return response


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise ConfigurationError(f"--port {port} cannot be used: {error}") from error


def _prepare_folder(data: Path) -> None:
    """Makes the data folder, and removes what an earlier service left there; refuses one that is in use."""
    address = data / "address.json"
    if address.exists():
        pid = msgspec.json.decode(address.read_bytes())["pid"]
        if Path(f"/proc/{pid}").exists():
            raise ConfigurationError(
                f"--data {data} is in use by the service with process id {pid}; if that is another program, "
                "delete address.json there"
            )
        address.unlink()
    data.mkdir(parents=True, exist_ok=True)
    if (data / "key.pem").exists() and (data / "nodes").exists():  # the key marks the folder
        shutil.rmtree(data / "nodes")


def _write_address(data: Path, url: str, ca_path: Path) -> None:
    content = msgspec.json.encode({"url": url, "ca_path": str(ca_path.resolve()), "pid": os.getpid()})
    partial = data / "address.json.partial"
    partial.write_bytes(content)
    partial.replace(data / "address.json")


async def _stop_signal() -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    await stopped.wait()
