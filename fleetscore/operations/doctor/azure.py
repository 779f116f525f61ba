"""The doctor's questions about Azure itself: what nobody could see before a deployment, asked where this
process runs.

Each finding answers a line of docs/azure_unproven.md. Where this is not Azure it says what it answers for
instead.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

from fleetscore.app_settings import AppSettings
from fleetscore.batch import connect_compute
from fleetscore.batch.interface import Compute, JobSpec, ShardTaskSpec, TaskState
from fleetscore.errors import FleetscoreError
from fleetscore.operations.doctor.findings import Diagnosis, Finding
from fleetscore.operations.doctor.requests import examine_requests
from fleetscore.store.base import Store

PROBE_MARK = "PROBE "
_LOOK_EVERY_S = 5.0
_TASK_LIMIT_S = 300.0


def examine_azure(store: Store, app: AppSettings, now: Callable[[], datetime], wait_s: float) -> Diagnosis:
    """Check platform, package, kernels, the pool's formula, a container task, and storage requests.

    The task is submitted to the pool and waited for up to `wait_s` seconds; with 0 none is.
    """
    checks: list[tuple[str, Callable[[], Iterable[Finding]]]] = [
        ("platform", _platform),
        ("package", lambda: [describe_package(Path(__file__).resolve().parents[2])]),
        ("kernels", _kernels),
        ("autoscale", lambda: _autoscale(app, now())),
        ("container", lambda: _container(app, wait_s)),
        ("requests", lambda: [examine_requests(store, app, now())]),
    ]
    found = tuple(finding for check, find in checks for finding in _guarded(check, find))
    return Diagnosis(all(finding.state != "wrong" for finding in found), found)


def _guarded(check: str, find: Callable[[], Iterable[Finding]]) -> list[Finding]:
    try:
        return list(find())
    except FleetscoreError as error:
        return [Finding(check, "wrong", error.message, error.fix or "See docs/reference/errors.md.")]


def _platform() -> Iterator[Finding]:
    site = os.environ.get("WEBSITE_SITE_NAME")
    python = f"Python {sys.version.split()[0]} at {sys.executable}"
    if site:
        yield Finding("platform", "ok", f"The function app {site}, {python}.")
    else:
        detail = f"This process is not on Azure; package and kernels are those of this machine ({python})."
        yield Finding("platform", "not checked", detail, "Ask the app: fleetscore doctor --azure --host URL")


def describe_package(folder: Path) -> Finding:
    """Where the code lies, on which kind of mount, whether it can be written, and whether its modules are
    compiled.
    """
    mount, kind = _mount_of(folder)
    written = "can be written" if os.access(folder, os.W_OK) else "is read-only"
    is_compiled = Path(cache_from_source(__file__)).exists()
    compiled = "compiled modules are used" if is_compiled else "no module is compiled ahead"
    detail = f"{folder} ({kind} at {mount}) {written}; {compiled}."
    fix = "Deploy the package of `make package`, which holds compiled modules."
    return Finding("package", "ok" if is_compiled else "warning", detail, fix)


def _mount_of(folder: Path) -> tuple[str, str]:
    """The mount that holds the folder and its kind; Linux only, elsewhere both are unknown."""
    try:
        lines = Path("/proc/mounts").read_text().splitlines()
    except OSError:
        return "an unknown mount", "unknown"
    mounts = [line.split()[1:3] for line in lines]
    holding = [(place, kind) for place, kind in mounts if folder.is_relative_to(place)]
    return max(holding, key=lambda mount: len(mount[0]), default=("/", "unknown"))


def _kernels() -> Iterator[Finding]:
    """Whether compiled code is loaded in this process, or had to be made."""
    from fleetscore.kernels import cache
    from fleetscore.kernels.ahead import compile_one
    from fleetscore.kernels.compiled import processor

    before = cache.COUNTS["compiled"]
    compile_one()
    yield judge_kernels(cache.COUNTS["compiled"] - before, processor(), str(cache.own_folder()))


def judge_kernels(compiled: int, processor: str, kept_in: str) -> Finding:
    """What it means that so many loops had to be compiled."""
    detail = f"for {processor}; new ones are kept in {kept_in}"
    if not compiled:
        return Finding("kernels", "ok", f"Compiled code was loaded, {detail}.")
    fix = "Build image and package on Linux with `make package` and worker_image/Dockerfile, which compile ahead."
    return Finding("kernels", "warning", f"Code had to be compiled, {detail}.", fix)


def _autoscale(app: AppSettings, now: datetime) -> Iterator[Finding]:
    if not app.batch_endpoint:
        yield Finding("autoscale", "not checked", "No Batch account is set (FLEETSCORE_BATCH_ENDPOINT).")
        return
    pool, found = app.batch_pool, connect_compute(app).evaluation()
    if not found.by_formula:
        yield Finding(
            "autoscale", "not checked", f"The pool {pool} has a fixed size: no formula is evaluated."
        )
    elif found.error:
        yield Finding(
            "autoscale",
            "wrong",
            f"The formula of {pool} failed: {found.error}",
            "Correct infra/autoscale.formula.",
        )
    elif found.evaluated is None:
        detail = (
            f"The formula of {pool} was never evaluated; the service does so every {found.interval_s:.0f} s."
        )
        yield Finding("autoscale", "warning", detail, "Ask again after that time.")
    else:
        ago_s = (now - found.evaluated).total_seconds()
        detail = f"The formula of {pool} was last evaluated at {found.evaluated:%Y-%m-%d %H:%M:%S} UTC, {ago_s:.0f} s ago: {found.result}"
        late = ago_s > 2 * found.interval_s
        fix = "The service is late: runs on a cold pool wait for it. Ask again, then ask Azure's support."
        yield Finding("autoscale", "warning" if late else "ok", detail, fix)


def _container(app: AppSettings, wait_s: float) -> Iterator[Finding]:
    """What a task of the worker image finds on a node."""
    if not app.batch_endpoint or not app.batch_image:
        yield Finding(
            "container", "not checked", "No Batch account and worker image are set, so no task can be asked."
        )
    elif not wait_s:
        detail = "No task was submitted: an endpoint cannot wait for a node."
        yield Finding(
            "container", "not checked", detail, "Run it with the app's settings: fleetscore doctor --azure"
        )
    else:
        yield _probe(connect_compute(app), app, wait_s)


def _probe(compute: Compute, app: AppSettings, wait_s: float) -> Finding:
    """Submit a task that describes itself, wait for it, and end its job whatever comes."""
    name = f"doctor-{uuid.uuid4().hex[:12]}"
    job = JobSpec(
        name,
        "doctor",
        app.batch_image,
        {"FLEETSCORE_PURPOSE": "probe"},
        _TASK_LIMIT_S,
        wait_s + _TASK_LIMIT_S,
        0,
    )
    try:
        compute.submit(job, [ShardTaskSpec("probe", {})])
        task = _wait_for(compute, name, wait_s)
        said = compute.read_output(name, "probe", "stdout.txt").decode(errors="replace") if task else ""
        words = (
            ""
            if PROBE_MARK in said
            else compute.read_output(name, "probe", "stderr.txt").decode(errors="replace")[-500:]
        )
    finally:
        compute.terminate(name, "asked for by doctor")
    return judge_task(task, said, words, wait_s)


def _wait_for(compute: Compute, job: str, wait_s: float) -> TaskState | None:
    """The task once it is over; None after `wait_s`. The pool is woken meanwhile."""
    seen, end = "", time.monotonic() + wait_s
    while time.monotonic() < end:
        seen = compute.wake_pool(seen)
        over = [task for task in compute.list_tasks(job) if task.is_over]
        if over:
            return over[0]
        time.sleep(min(_LOOK_EVERY_S, max(0.0, end - time.monotonic())))
    return None


def judge_task(task: TaskState | None, said: str, words: str, wait_s: float) -> Finding:
    """What the task's own description means, or why there is none."""
    if task is None:
        fix = (
            "A cold pool takes minutes: wait longer with --wait, or see the findings on autoscale and quota."
        )
        return Finding("container", "wrong", f"The task did not end within {wait_s:.0f} s.", fix)
    line = next((text for text in said.splitlines() if text.startswith(PROBE_MARK)), "")
    if not line:
        detail = f"The task ended with code {task.exit_code} and did not describe itself. {task.failure} {words}".strip()
        return Finding("container", "wrong", detail, "Deploy the worker image of this version.")
    probe: Mapping[str, Any] = json.loads(line.removeprefix(PROBE_MARK))
    values, kernels = probe["values"], probe["kernels"]
    detail = (
        f"PATH {values['PATH']!r}, HOME {values['HOME']!r}, uid {probe['uid']}, {probe['cores']} cores, {probe['python']}; "
        f"{kernels['loaded']} kernels loaded and {kernels['compiled']} compiled for {probe['processor']}, kept in {kernels['kept_in']}; "
        f"{probe['import_cpu_s']} CPU s to import. Variables: {', '.join(probe['variables'])}"
    )
    fix = "The image holds no code for this node's processor: see docs/decisions/0013-compiled-ahead.md."
    return Finding("container", "warning" if kernels["compiled"] else "ok", detail, fix)
