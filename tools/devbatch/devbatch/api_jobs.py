"""The operations on jobs and tasks, by their place in the REST interface."""

from functools import partial
from typing import Any

from aiohttp import web

from devbatch.account import Account, utc_text
from devbatch.answers import account_of, check_conditions, done, json_answer, many, one, read_object
from devbatch.errors import ServiceError
from devbatch.jobs import change_job, create_job, delete_job, disable_job, enable_job, terminate_job
from devbatch.records import Job, Task
from devbatch.shapes import error_shape, job_shape, task_counts_shape, task_shape, task_url
from devbatch.specs import DisableSpec, TerminateSpec, read_spec
from devbatch.tasks import (
    add_collection,
    add_task,
    delete_task,
    reactivate_task,
    replace_constraints,
    terminate_task,
)


async def post_job(request: web.Request) -> web.Response:
    """POST /jobs → 201."""
    account = account_of(request)
    job = create_job(account, await read_object(request))
    return done(201, request, job.stamps, f"{account.url}/jobs/{job.spec.id}")


async def list_jobs(request: web.Request) -> web.Response:
    """GET /jobs → 200."""
    account = account_of(request)
    return many(request, "jobs", account.jobs.values(), partial(job_shape, account))


async def get_job(request: web.Request) -> web.Response:
    """GET /jobs/{id} → 200."""
    job = _job(request)
    return one(request, "jobs", job_shape(account_of(request), job), job.stamps)


async def patch_job(request: web.Request) -> web.Response:
    """PATCH /jobs/{id} → 200."""
    job = _job(request)
    change_job(account_of(request), job, await read_object(request))
    return done(200, request, job.stamps)


async def post_terminate_job(request: web.Request) -> web.Response:
    """POST /jobs/{id}/terminate → 202."""
    job = _job(request)
    wanted = read_spec(await read_object(request), TerminateSpec)
    terminate_job(account_of(request), job, wanted.terminate_reason or "UserTerminate")
    return done(202, request, job.stamps)


async def post_disable_job(request: web.Request) -> web.Response:
    """POST /jobs/{id}/disable → 202."""
    job = _job(request)
    wanted = read_spec(await read_object(request), DisableSpec)
    disable_job(account_of(request), job, wanted.disable_tasks)
    return done(202, request, job.stamps)


async def post_enable_job(request: web.Request) -> web.Response:
    """POST /jobs/{id}/enable → 202."""
    job = _job(request)
    enable_job(account_of(request), job)
    return done(202, request, job.stamps)


async def remove_job(request: web.Request) -> web.Response:
    """DELETE /jobs/{id} → 202; the job is gone once nothing of it runs."""
    job = _job(request)
    delete_job(account_of(request), job)
    return done(202, request, job.stamps)


async def get_task_counts(request: web.Request) -> web.Response:
    """GET /jobs/{id}/taskcounts → 200."""
    return one(
        request, "taskcounts", task_counts_shape(account_of(request).job(request.match_info["job_id"]))
    )


async def post_task(request: web.Request) -> web.Response:
    """POST /jobs/{id}/tasks → 201."""
    account = account_of(request)
    task = add_task(account, account.job(request.match_info["job_id"]), await read_object(request))
    return done(201, request, task.stamps, task_url(account, task))


async def post_task_collection(request: web.Request) -> web.Response:
    """POST /jobs/{id}/addtaskcollection → 200, with a result for each task, in the order given."""
    account = account_of(request)
    bodies = (await read_object(request)).get("value")
    if not isinstance(bodies, list) or not all(isinstance(body, dict) for body in bodies):
        raise ServiceError(400, "MissingRequiredProperty", "value must be a list of tasks.")
    job = account.job(request.match_info["job_id"])
    results = add_collection(account, job, bodies)
    added = [_added(account, job, body, result) for body, result in zip(bodies, results, strict=True)]
    return json_answer({"value": added})


async def list_tasks(request: web.Request) -> web.Response:
    """GET /jobs/{id}/tasks → 200."""
    account = account_of(request)
    job = account.job(request.match_info["job_id"])
    return many(request, "tasks", job.tasks.values(), partial(task_shape, account))


async def get_task(request: web.Request) -> web.Response:
    """GET /jobs/{id}/tasks/{id} → 200."""
    task = _task(request)
    return one(request, "tasks", task_shape(account_of(request), task), task.stamps)


async def put_task(request: web.Request) -> web.Response:
    """PUT /jobs/{id}/tasks/{id} → 200: replaces the constraints."""
    task = _task(request)
    replace_constraints(task, await read_object(request))
    return done(200, request, task.stamps)


async def remove_task(request: web.Request) -> web.Response:
    """DELETE /jobs/{id}/tasks/{id} → 200."""
    delete_task(account_of(request), _task(request))
    return done(200, request)


async def post_terminate_task(request: web.Request) -> web.Response:
    """POST /jobs/{id}/tasks/{id}/terminate → 204."""
    task = _task(request)
    terminate_task(account_of(request), task)
    return done(204, request, task.stamps)


async def post_reactivate_task(request: web.Request) -> web.Response:
    """POST /jobs/{id}/tasks/{id}/reactivate → 204."""
    task = _task(request)
    reactivate_task(account_of(request), task)
    return done(204, request, task.stamps)


def _job(request: web.Request) -> Job:
    """The job of a request, after its If-Match and If-None-Match hold."""
    job = account_of(request).job(request.match_info["job_id"])
    check_conditions(request, job.stamps)
    return job


def _task(request: web.Request) -> Task:
    task = account_of(request).task(request.match_info["job_id"], request.match_info["task_id"])
    check_conditions(request, task.stamps)
    return task


def _added(account: Account, job: Job, body: dict[str, Any], result: Task | ServiceError) -> dict[str, Any]:
    """The entry of one task in the answer to a collection."""
    if isinstance(result, ServiceError):
        entry = {"status": "clienterror", "taskId": str(body.get("id", "")), "error": error_shape(result)}
        present = job.tasks.get(str(body.get("id", "")).lower())
        return entry if present is None else entry | {"location": task_url(account, present)}
    return {
        "status": "success",
        "taskId": result.spec.id,
        "eTag": result.stamps.etag,
        "lastModified": utc_text(result.stamps.modified),
        "location": task_url(account, result),
    }
