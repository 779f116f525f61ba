"""What to do next: about a partition of a run, and about a workload without models."""

from __future__ import annotations

from typing import Any

from fleetscore.capabilities import ImportsFleets, ImportsModels, Trains
from fleetscore.errors import FleetscoreError
from fleetscore.records import FINAL, GOOD, Outcome, RunRecord, RunRequest
from fleetscore.registry import find_workload, workload_names
from fleetscore.store.base import Store
from fleetscore.workload import Workload

_MODEL_CAUSES = frozenset({"no_model", "bad_model", "corrupt_model", "no_model_set", "model_features"})


def advise(record: RunRecord, partition: str, outcome: str, cause: str, ways: str) -> str:
    """What to do next about a partition with this outcome, as one sentence; "" when there is nothing to do.

    `ways` are the commands that give the workload models.

    >>> from datetime import UTC, datetime
    >>> from fleetscore.records import RunRequest, RunState
    >>> request = RunRequest("r", "sensor_anomaly", "2018-08-28T23", 1, datetime.now(UTC), "me")
    >>> advise(RunRecord(request, RunState.PUBLISHED, datetime.now(UTC)), "7/2", "late", "no_data", "")
    'When its data has come: fleetscore retry r --only missing'
    """
    request = record.request
    run, workload = request.run, request.workload
    if not outcome:
        ended = record.state in FINAL
        return (
            f"The run ended before it was settled: {_again(request)}" if ended else "Wait: it is under way."
        )
    if request.purpose == "train":
        return f"Fix what the cause names, then: {_again(request)}" if Outcome(outcome) not in GOOD else ""
    if cause in _MODEL_CAUSES:
        made = f"Make a model ({ways}), or pin" if ways else "Pin"
        return f"{made} one that is there (fleetscore models pin {workload}), then: fleetscore retry {run}"
    by_outcome = {
        Outcome.LATE: f"When its data has come: fleetscore retry {run} --only missing",
        Outcome.FAILED: f"Fix what the cause names, then: fleetscore retry {run}",
        Outcome.QUARANTINED: f"Look at its input and its model, then: fleetscore retry {run} --partition {partition!r}",
    }
    return by_outcome.get(Outcome(outcome), "")


def _again(request: RunRequest) -> str:
    """The command that does the run's work once more; a training has no rounds."""
    if request.purpose == "train":
        return f"fleetscore train {request.workload} --from {request.window} --to {request.stop}"
    return f"fleetscore retry {request.run}"


def ways_to_models(store: Store, workload: str) -> str:
    """The commands that give the workload models, by what its kind and its settings allow; "" for none."""
    if workload not in workload_names(store):
        return ""
    kind: Any = find_workload(store, workload).workload
    ways = [f"fleetscore train {workload} --from A --to B"] if kind is not None and can_train(kind) else []
    if isinstance(kind, ImportsModels | ImportsFleets):
        ways.append(f"fleetscore import-models {workload} --from FOLDER")
    return " or ".join(ways)


def can_train(kind: Workload) -> bool:
    """Whether the kind trains, and the workload's settings say how."""
    if not isinstance(kind, Trains):
        return False
    try:
        kind.check_training()
    except FleetscoreError:
        return False
    return True
