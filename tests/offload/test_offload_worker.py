"""The worker's image and entry point: only its own requirements, and exit codes that mean something."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fleetscore.app_settings import AppSettings
from fleetscore.pipeline.local import run_training
from fleetscore.pipeline.offload import give_up, read_given_up, worker_environment
from fleetscore.pipeline.plan import commit_plan
from fleetscore.pipeline.score import read_shard_record
from fleetscore.process_environment import SCORING_ENVIRONMENT
from fleetscore.records import RunRequest, to_json
from fleetscore.runs.plans import read_shard_plans
from fleetscore.runs.run_records import request_run
from fleetscore.store.base import Store
from fleetscore.workloads.sensor_anomaly.workload import SensorAnomaly
from tests.offload.local_app import HERE, ROOT, TOYS, WORKLOADS, lines, markers_of, write_rules
from tests.pipeline.app_host import wait_until
from tests.pipeline.ingestion import taking
from tests.pipeline.toy_workload import write_lines
from worker_image.__main__ import _find_folders

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WINDOW = "2026-01-01T00"


def planned(store: Store, workload: str = "toy", window: str = WINDOW) -> str:
    """A run that is planned with all its shards on Batch; gives its id."""
    run = f"{workload}-{window}"
    request = RunRequest(run, workload, window, 1, NOW, "test")
    request_run(store, request)
    head = commit_plan(store, request, AppSettings(parallelism=1), NOW)
    shards = [replace(shard, placement="batch") for shard in read_shard_plans(store, head)]
    store.write(head.shard_list, to_json(shards))
    return run


def worker(
    store: Store,
    run: str,
    python: str = sys.executable,
    program: Sequence[str] = ("-m", "worker_image"),
    **environment: str,
) -> "subprocess.Popen[str]":
    """A worker of the run's first shard, with nothing in its environment but what Batch and the run tell it."""
    paths = os.pathsep.join(map(str, (ROOT, TOYS, HERE)))
    told = {
        "PATH": os.environ["PATH"], "PYTHONPATH": paths, "FLEETSCORE_WORKLOADS": WORKLOADS, "FLEETSCORE_STORE": store.url,
        "FLEETSCORE_RUN": run, "FLEETSCORE_SHARD": "0", "FLEETSCORE_PURPOSE": "score", "FLEETSCORE_BATCH_PLACEMENT": "batch",
    }  # fmt: skip
    command = [python, *program]
    out = subprocess.PIPE
    return subprocess.Popen(command, cwd="/tmp", env=told | environment, stdout=out, stderr=out, text=True)  # noqa: S108


def test_exit_codes_tell_what_became_of_the_shard(store: Store) -> None:
    """10 with a failed partition; 0 when the record is there already; a record that is read, not written again."""
    write_lines(store, WINDOW, lines(5, p1="fail"))
    run = planned(store)
    first = worker(store, run)
    assert first.wait(60) == 10, first.communicate()
    record = read_shard_record(store, run, 0)
    assert worker(store, run).wait(60) == 0
    assert read_shard_record(store, run, 0) == record


def test_what_is_of_no_use_to_retry_is_given_up_with_the_reason(store: Store) -> None:
    """A setting that no try can cure: 20, the reason for the run to read, and 20 at once the next time."""
    write_lines(store, WINDOW, lines(5))
    run = planned(store)
    store.write("settings/toy.toml", b"no_such_setting = 1\n")
    assert worker(store, run).wait(60) == 20
    assert "no_such_setting" in read_given_up(store, run)[0]
    store.write("settings/toy.toml", b"")
    again = worker(store, run)
    assert again.wait(60) == 20
    assert "was given up" in again.communicate()[0]


def test_the_first_reason_for_giving_up_stays(store: Store) -> None:
    """A second worker that gives up for another reason changes nothing."""
    give_up(store, "r", 3, "first")
    give_up(store, "r", 3, "second")
    assert read_given_up(store, "r") == {3: "first"}


def test_a_worker_that_is_asked_to_stop_accuses_nobody(store: Store) -> None:
    """SIGTERM while it scores: 30, no commit, and no marker that a later attempt would take for a death."""
    write_rules(store, slow_s=0.2)
    write_lines(store, WINDOW, lines(30, **{f"p{i}": "slow" for i in range(30)}))
    run = planned(store)
    asked = worker(store, run)
    wait_until(lambda: markers_of(store, run))
    asked.send_signal(signal.SIGTERM)
    assert asked.wait(60) == 30
    assert markers_of(store, run) == []
    assert read_shard_record(store, run, 0) is None


LIMITED = """
import re, time
from fleetscore.pipeline.attempt_limit import AttemptLimit
with AttemptLimit({began}, 1.0).ending_the_process():
    {work}
"""
ENDLESS, LONG = "re.match('(a+)+$', 'a' * 80 + 'b')", "time.sleep(1.2)"


@pytest.mark.parametrize(
    ("began", "work", "code"),
    [
        ("time.monotonic()", ENDLESS, 1),
        ("time.monotonic() - 0.5", LONG, 0),
        ("time.monotonic() - 7.0", LONG, 0),
        ("None", LONG, 0),
    ],
)
def test_only_a_group_that_had_most_of_the_limit_is_ended_by_it(began: str, work: str, code: int) -> None:
    """Code that lets no thread run is ended, and named on stderr; one that begins late, or in a shared process, is not."""
    command = [sys.executable, "-c", LIMITED.format(began=began, work=work)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == code, done.stderr
    assert ("re/__init__.py" in done.stderr) is (code == 1)


ENDPOINTS_ONLY = {"azure-functions", "azure-functions-durable", "azure-batch", "aiohttp", "pyjwt", "requests"}
"""Packages of the app for endpoints, timers, submission and notices, which no worker has."""


def test_the_worker_s_requirements_are_those_of_the_app() -> None:
    """Each line of worker_image/requirements.txt stands alike in those of the app, which has nothing more for scoring and own code."""
    app = [
        line
        for name in ("", "-telemetry")
        for line in (ROOT / f"requirements{name}.txt").read_text().splitlines()
    ]
    own = [
        line for line in (ROOT / "worker_image" / "requirements.txt").read_text().splitlines() if "==" in line
    ]
    assert own and set(own) <= {line.partition(" #")[0] for line in app}
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    names = {re.split("[=~<>;]", line)[0] for line in lines if line and not line.startswith("#")}
    assert names - {line.partition("==")[0] for line in own} == ENDPOINTS_ONLY


def test_base_images_and_packages_are_pinned() -> None:
    """Every stage names a full version, and pip installs nothing but the pinned list."""
    text = (ROOT / "worker_image" / "Dockerfile").read_text()
    defaults = dict(re.findall(r"^ARG (\w+)=(\S+)", text, re.MULTILINE))
    stages = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    images = [defaults.get(stage.strip("${}"), stage) for stage in stages]
    assert images and all(re.fullmatch(r"python:\d+\.\d+\.\d+-\S+", image) for image in images)
    (installed,) = re.findall(r"pip install (.*?) *\\?$", text, re.MULTILINE)
    assert installed == "--no-cache-dir --no-deps --require-hashes -r /tmp/requirements.lock"


def test_the_image_compiles_every_module_of_the_app_ahead(tmp_path: Path) -> None:
    """After the image's own command, a worker that may write nothing finds each module of the app compiled."""
    text = (ROOT / "worker_image" / "Dockerfile").read_text()
    (command,) = re.findall(r"/opt/worker/bin/python (-m compileall .*?) */app", text)
    app = tmp_path / "app"
    for folder in ("fleetscore", "worker_image"):
        shutil.copytree(
            ROOT / folder, app / folder, ignore=shutil.ignore_patterns("__pycache__", "__compiled__")
        )
    subprocess.run([sys.executable, *command.split(), app], check=True, timeout=100)
    for source in app.rglob("*.py"):
        os.utime(source, (0, 0))  # layers and nodes keep other times
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(app), "PYTHONDONTWRITEBYTECODE": "1"}
    loaded = subprocess.run(
        [sys.executable, "-v", "-c", "import worker_image.__main__, fleetscore.pipeline.score"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True, timeout=100,
    ).stderr  # fmt: skip
    assert re.search(rf"code object from '{app}/fleetscore/pipeline/__pycache__/score", loaded)
    assert not re.findall(rf"code object from '?{app}/\S*\.py'?$", loaded, re.MULTILINE)


def test_the_entry_point_is_named_by_its_path_and_needs_no_variable_of_the_image() -> None:
    """Batch may replace the image's PATH and other variables, so the interpreter finds the app without them."""
    text = (ROOT / "worker_image" / "Dockerfile").read_text()
    assert 'ENTRYPOINT ["/opt/worker/bin/python", "-m", "worker_image"]' in text
    kept = [line for line in text.splitlines() if not line.lstrip().startswith("RUN")]
    assert "app.pth" in text and "PYTHONPATH=" not in "\n".join(kept)


def test_a_worker_needs_neither_path_nor_home_nor_a_shared_folder(store: Store, tmp_path: Path) -> None:
    """With a PATH that leads nowhere, no HOME, and a shared folder that cannot be written, the shard is scored."""
    write_lines(store, WINDOW, lines(5))
    run = planned(store)
    (tmp_path / "shared").write_text("no folder")
    foreign = {"PATH": "/nowhere", "AZ_BATCH_NODE_SHARED_DIR": str(tmp_path / "shared")}
    own = worker(store, run, **foreign, AZ_BATCH_TASK_WORKING_DIR=str(tmp_path))
    assert own.wait(60) == 0, own.communicate()


@pytest.mark.parametrize("is_shared", [True, False])
def test_compiled_code_goes_where_this_process_may_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_shared: bool
) -> None:
    """The node's shared folder if it can be written, else the task's own; HOME is one that can be written."""
    shared, own = tmp_path / "shared", tmp_path / "own"
    own.mkdir()
    if is_shared:
        shared.mkdir()
    for name in ("HOME", "NUMBA_CACHE_DIR"):
        monkeypatch.setenv(name, "/nowhere/at/all")
    monkeypatch.setenv("AZ_BATCH_NODE_SHARED_DIR", str(shared))
    monkeypatch.setenv("AZ_BATCH_TASK_WORKING_DIR", str(own))
    _find_folders()
    assert os.environ["NUMBA_CACHE_DIR"] == str((shared if is_shared else own) / "numba")
    assert os.environ["HOME"] == str(own)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_worker_runs_with_only_its_own_requirements(store: Store, tmp_path: Path) -> None:
    """In a virtual environment that has worker_image/requirements.lock only, a sensor shard and a toy shard are scored and told of."""
    python = clean_environment(tmp_path / "venv")
    report = SensorAnomaly().samples(store, scale=0.02)
    run_training(store, "sensor_anomaly", report.facts["train_from"], report.facts["train_to"])
    write_lines(store, WINDOW, lines(5))
    for workload, window in (("toy", WINDOW), ("sensor_anomaly", report.first.key)):
        run = planned(store, workload, window)
        with taking() as ingestion:
            patient = (str(HERE / "patient_worker.py"),)
            own = worker(store, run, python, patient, **ingestion.environment)
            said = own.communicate(timeout=120)
        assert own.returncode == 0, said
        assert [span["ids"]["run"] for span in ingestion.spans()] == [run], said
        record = read_shard_record(store, run, 0)
        assert record is not None and record.counts.get("scored")
    for kind in ("store_sales", "server_load", "models"):
        for part in ("workload", "scoring", "training"):
            name = f"fleetscore.workloads.{kind}.{part}"
            subprocess.run([python, "-c", f"import {name}"], cwd=ROOT, check=True, timeout=60)
    frame = "import pyarrow as pa; pa.table({'a': [1]}).to_pandas()"  # what own code is given by default
    subprocess.run([python, "-c", frame], cwd=ROOT, check=True, timeout=60)
    listed = subprocess.run(
        [python, "-c", "import azure.functions"], cwd=ROOT, capture_output=True, check=False
    )
    assert listed.returncode != 0


def clean_environment(folder: Path) -> str:
    """A virtual environment with the worker's requirements; gives its Python."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = str(folder / "bin" / "python")
    began = time.monotonic()
    requirements = ROOT / "worker_image" / "requirements.lock"
    quiet = ["--quiet", "--disable-pip-version-check", "--no-compile", "--no-deps", "--require-hashes"]
    subprocess.run([python, "-m", "pip", "install", *quiet, "-r", str(requirements)], check=True)
    telemetry = "import azure.identity, azure.monitor.opentelemetry"  # compiled ahead: a first import can take longer than the worker waits
    subprocess.run([python, "-c", telemetry], check=True)
    print(f"installed in {time.monotonic() - began:.0f} s")  # noqa: T201 - pytest shows it with the failure only
    return python


def test_a_worker_is_told_how_processes_that_score_behave() -> None:
    """One thread a slot, and memory kept for the next pass, unless the run says otherwise."""
    told = worker_environment(AppSettings(), "run", "score")
    assert SCORING_ENVIRONMENT.items() <= told.items()
