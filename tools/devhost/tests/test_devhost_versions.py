"""Versions of orchestrations: which instances get which, and which an app runs."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from devhost.settings import HostSettings
from devhost.versions import compare_versions, version_refusal

_APP = """
import azure.functions as func
import azure.durable_functions as df
app = df.DFApp()

@app.orchestration_trigger(context_name="context")
def own(context):
    return context.version

@app.orchestration_trigger(context_name="context")
def family(context):
    plain = yield context.call_sub_orchestrator("own")
    named = yield context.call_sub_orchestrator("own", version="0.5")
    return [context.version, plain, named]

@app.orchestration_trigger(context_name="context")
def waiting(context):
    result = yield context.wait_for_external_event("go")
    return [context.version, result]
"""


def _host_json(version: str | None, **more: str) -> dict[str, str]:
    durable = ({} if version is None else {"defaultVersion": version}) | more
    return {"host.json": json.dumps({"version": "2.0", "extensions": {"durableTask": durable}})}


def _run(host: Any, name: str, **query: str) -> dict[str, Any]:
    return dict(host.wait_for(host.post(f"orchestrators/{name}", params=query).json()["id"]))


@pytest.mark.parametrize(
    ("one", "other", "order"),
    [
        ("1", "1", 0),
        ("1.2", "1.10", -1),
        ("2.0", "1.10", 1),
        ("", "1", -1),
        ("1", "", 1),
        ("b", "A", 1),
        ("10", "9", -1),
    ],
)
def test_versions_are_compared_as_azure_does(one: str, other: str, order: int) -> None:
    """Dotted numbers compare by number, everything else as text without case, and no version comes first."""
    assert compare_versions(one, other) == order


@pytest.mark.parametrize(
    ("match", "version", "is_refused"),
    [
        ("CurrentOrOlder", "2.1", True),
        ("CurrentOrOlder", "1.9", False),
        ("CurrentOrOlder", None, False),
        ("Strict", "1.9", True),
        ("Strict", None, True),
        ("Strict", "2.0", False),
        ("None", "9.9", False),
    ],
)
def test_strategies_decide_what_runs(match: str, version: str | None, is_refused: bool) -> None:
    """An app of version 2.0 refuses what its strategy says; an app without a version refuses nothing."""
    settings = HostSettings(default_version="2.0", version_match=match)
    assert bool(version_refusal(version, settings)) == is_refused
    assert version_refusal(version, HostSettings(version_match=match)) == ""


def test_without_default_version_there_is_none(make_host: Any) -> None:
    """Without defaultVersion a version is null, in code and status, unless the start gives one."""
    host = make_host(_APP, files=_host_json(None)).start()
    status = _run(host, "own")
    assert status["output"] is None and "version" not in status
    assert _run(host, "own", version="7")["output"] == "7"
    assert _run(host, "family")["output"] == [None, None, "0.5"]


def test_default_version_is_given_to_starts_and_children(make_host: Any) -> None:
    """With defaultVersion every status has a version; a child without one gets it, and an empty one stays
    empty.
    """
    host = make_host(_APP, files=_host_json("1.0")).start()
    status = _run(host, "family")
    assert (status["version"], status["output"]) == ("1.0", ["1.0", "1.0", "0.5"])
    empty = _run(host, "own", version="")
    assert (empty["version"], empty["output"]) == ("", "")


def test_instances_of_a_newer_app_wait_for_it(make_host: Any, wait_until: Any) -> None:
    """Under an older app they stay untouched, events are accepted, and they go on when the newer app is back."""
    host = make_host(_APP, files=_host_json("2.0")).start()
    instance_id = host.post("orchestrators/waiting").json()["id"]
    host.wait_for(instance_id, "Running")
    host.stop()
    (host.app / "host.json").write_text(_host_json("1.0")["host.json"])
    host.start()
    assert host.post(f"instances/{instance_id}/raiseEvent/go", json="x").status_code == 202
    wait_until(lambda: f"waiting {instance_id} waits for another app" in host.log)
    assert host.status(instance_id)["runtimeStatus"] == "Running"
    assert _run(host, "own")["output"] == "1.0"
    host.stop()
    (host.app / "host.json").write_text(_host_json("2.0")["host.json"])
    assert host.start().wait_for(instance_id)["output"] == ["2.0", "x"]


def test_strict_and_fail_ends_what_does_not_match(make_host: Any) -> None:
    """With Strict and Fail an instance of another version ends Failed, with a text that names both."""
    files = _host_json("2.0", versionMatchStrategy="Strict", versionFailureStrategy="Fail")
    host = make_host(_APP, files=files).start()
    status = _run(host, "own", version="1.0")
    assert status["runtimeStatus"] == "Failed"
    assert status["output"] == "The orchestration version '1.0' does not match the worker version '2.0'."
    assert _run(host, "own")["output"] == "2.0"


def test_databases_of_the_first_layout_are_taken_over(make_host: Any) -> None:
    """A database in which an instance without a version had an empty one is converted at the start."""
    host = make_host(_APP, files=_host_json(None)).start()
    instance_id = host.post("orchestrators/waiting").json()["id"]
    host.wait_for(instance_id, "Running")
    host.stop()
    path: Path = host.data / "devhost.sqlite"
    with sqlite3.connect(path) as database:
        script = database.execute("SELECT sql FROM sqlite_master WHERE name = 'instance'").fetchone()[0]
        old = script.replace("version TEXT,", "version TEXT NOT NULL,")
        database.execute("UPDATE instance SET version = ''")
        for step in (
            "ALTER TABLE instance RENAME TO kept",
            "DROP INDEX instance_created",
            old,
            "INSERT INTO instance SELECT * FROM kept",
            "DROP TABLE kept",
            "CREATE INDEX instance_created ON instance (created)",
            "PRAGMA user_version = 1",
        ):
            database.execute(step)
    database.close()
    host.start()
    host.post(f"instances/{instance_id}/raiseEvent/go", json="x")
    assert host.wait_for(instance_id)["output"] == [None, "x"]
