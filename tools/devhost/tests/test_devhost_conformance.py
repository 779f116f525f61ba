"""The replay module against the (request, answer) pairs of the SDK's own tests, which its wheel ships."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from devhost.decisions import NonDeterministicError
from devhost.guard import find_mismatch
from devhost.replay import replay

_HERE = Path(__file__).parent
_ROOT = _HERE.parent
_PAIRS = 112
# Two of the SDK's histories are made by hand and hold what their code never asked for: an event that was never
# scheduled, and an activity of another name. The framework would reject them as well.
_IMPOSSIBLE = {"test_retries_can_fail", "test_call_activity_with_none_return"}


@pytest.fixture(scope="module")
def sdk_pairs(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Run the SDK's tests, in a process of their own, and return the pairs they produced."""
    spec = importlib.util.find_spec("azure.durable_functions")
    assert spec is not None and spec.origin is not None
    site = Path(spec.origin).parents[2]
    output = tmp_path_factory.mktemp("sdk") / "pairs.jsonl"
    options = [
        "-q",
        "-p",
        "sdk_capture",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        f"--rootdir={site / 'tests'}",
    ]
    options += ["tests/orchestrator", "tests/tasks", "--ignore=tests/orchestrator/openai_agents"]
    environment = {**os.environ, "SDK_CAPTURE": str(output), "PYTHONPATH": f"{_HERE}{os.pathsep}{_ROOT}"}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options], cwd=site, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return [json.loads(line) for line in output.read_text().splitlines()]


def test_all_possible_histories_of_the_sdk_replay(sdk_pairs: list[dict[str, Any]]) -> None:
    """110 of the 112 histories replay without a disagreement; exactly the two impossible ones are refused."""
    refused = set()
    for pair in sdk_pairs:
        try:
            replay(json.loads(pair["body"])["history"], pair["state"])
        except NonDeterministicError:
            refused.add(pair["test"].rpartition("::")[2])
    assert len(sdk_pairs) == _PAIRS
    assert refused == _IMPOSSIBLE


def test_both_halves_wait_for_the_same_ids(sdk_pairs: list[dict[str, Any]]) -> None:
    """Where an orchestration goes on, the ids that the host waits for are those that the SDK waits for."""
    compared = 0
    for pair in sdk_pairs:
        if (
            pair["test"].rpartition("::")[2] in _IMPOSSIBLE
            or pair["state"].get("error")
            or pair["state"]["isDone"]
        ):
            continue
        found = replay(json.loads(pair["body"])["history"], pair["state"])
        assert set(found.open_ids) == {int(number) for number in pair["waiting"]}, pair["test"]
        compared += 1
    assert compared > 40


def test_guard_raises_no_false_alarm_on_the_sdk_tests(sdk_pairs: list[dict[str, Any]]) -> None:
    """None of the SDK's own orchestrations is mistaken for one that would break in Azure."""
    for pair in sdk_pairs:
        if (
            pair["test"].rpartition("::")[2] in _IMPOSSIBLE
            or pair["state"].get("error")
            or pair["state"]["isDone"]
        ):
            continue
        found = replay(json.loads(pair["body"])["history"], pair["state"])
        waiting = {int(number): label for number, label in pair["waiting"].items()}
        assert find_mismatch(found, waiting, pair["next_id"]) is None, pair["test"]
