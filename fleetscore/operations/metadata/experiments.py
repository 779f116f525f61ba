"""Experiments: one run of MLflow for each model set that a training stored, where MLFLOW_TRACKING_URI names a
server; off without it.

Never one per partition: the metrics of all keys are one table beside the run. Sent from an outbox, so that a
server that is down for days misses none and no training waits for one.
"""

from __future__ import annotations

import io
import math
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa

from fleetscore.errors import FleetscoreError, MissingBlobError
from fleetscore.models.model_sets import ModelSet, read_model_set
from fleetscore.operations.metadata import mlflow_api
from fleetscore.operations.metadata.mlflow_api import URL, RunPlace
from fleetscore.operations.metadata.outbox import Entry, Keep
from fleetscore.operations.metadata.outbox_sender import Sender, is_server_address
from fleetscore.pipeline.collect import read_shard_records
from fleetscore.records import RunRecord
from fleetscore.runs.plans import read_plan
from fleetscore.runs.run_records import read_run
from fleetscore.store.base import Store

TABLE = "metrics.csv"
_ID_TAG = "fleetscore.id"
# what one request of MLflow takes, and what every version of it stores
_MOST_PARAMS, _LONGEST_PARAM = (100, 500)


def problem_of_experiments() -> str:
    """Why nothing can be sent to the server that the environment names; "" where it can. A folder or database
    of MLflow is no server.
    """
    return "" if is_server_address(URL) else f"{URL} is no http(s) address of a tracking server."


def hand_over_experiment(store: Store, record: RunRecord, now: datetime) -> None:
    """Note that the training's model set is to be sent, and send it on a thread of its own; nothing without a
    model set, or where experiments are off.
    """
    if record.model_set:
        EXPERIMENTS.hand_over(store, record.request.run, now)


def _send(store: Store, entry: Entry, keep: Keep) -> bool:
    """Send what is left of the training; each step that was taken is not taken again."""
    try:
        record = read_run(store, entry.name)
        model_set = read_model_set(store, record.request.workload, record.model_set)
    except (MissingBlobError, FleetscoreError) as error:
        if getattr(error, "code", "") == "no_model_set" or isinstance(error, MissingBlobError):
            return True  # removed meanwhile
        raise
    place = _place_of(store, record, model_set, entry, keep)
    table = _metrics_of(store, record)
    at_ms = _ms(record.ended or record.updated)
    if "logged" not in entry.steps:
        mlflow_api.log_batch(place.run_id, _numbers(record, table), _params(record, model_set), at_ms)
        keep("logged", "")
    if "table" not in entry.steps and table is not None:
        mlflow_api.put_artifact(place, TABLE, _csv(table))
        keep("table", "")
    mlflow_api.finish_run(place.run_id, at_ms)
    return True


EXPERIMENTS = Sender("mlflow", "experiments", URL, problem_of_experiments, _send)
send_experiments = EXPERIMENTS.send_due


def _place_of(store: Store, record: RunRecord, model_set: ModelSet, entry: Entry, keep: Keep) -> RunPlace:
    """The run of the model set: the one that a try before made, found by its tag where its answer was
    lost.
    """
    if entry.note:
        return mlflow_api.get_run(entry.note)
    address = f"{store.url.rstrip('/')}/models/{model_set.workload}/{model_set.version}"
    identity = str(uuid.uuid5(uuid.NAMESPACE_URL, address))
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or f"fleetscore.{model_set.workload}"
    experiment = mlflow_api.find_experiment(name)
    tags = {
        _ID_TAG: identity,
        "fleetscore.model_set": address,
        "fleetscore.workload": model_set.workload,
        "fleetscore.run": record.request.run,
        "fleetscore.pinned_as": str(record.facts.get("entered", "")),
    }
    started = _ms(record.started or record.request.requested)
    place = mlflow_api.find_run(experiment, _ID_TAG, identity)
    place = place or mlflow_api.create_run(experiment, model_set.version, started, tags)
    keep("created", place.run_id)
    return place


def _metrics_of(store: Store, record: RunRecord) -> pa.Table | None:
    """What each key's training measured, a row per key; None where the kind measures nothing, or the files of
    the run are swept.
    """
    import pyarrow.parquet as pq

    tables = []
    try:
        for shard in read_shard_records(store, read_plan(store, record.request.run)):
            if shard.sketches:
                with store.open(shard.sketches) as source:
                    tables.append(pq.read_table(source))
    except MissingBlobError:
        return None
    return pa.concat_tables(tables, promote_options="permissive") if tables else None


def _numbers(record: RunRecord, table: pa.Table | None) -> dict[str, float]:
    """Partitions by outcome, seconds, cost, and mean and median of each metric over the keys."""
    found = {f"partitions_{outcome}": float(number) for outcome, number in record.counts.items()}
    found |= {"partitions": float(record.partitions), "train_s": record.measured_s}
    cost_usd = record.facts.get("cost_usd")
    if isinstance(cost_usd, int | float):
        found["cost_usd"] = float(cost_usd)
    if table is not None:
        for name in table.column_names:
            found |= _summary(name, table[name])
    return {_key(name): value for name, value in found.items() if math.isfinite(value)}


def _summary(name: str, column: pa.ChunkedArray) -> dict[str, float]:
    import pyarrow.compute as pc

    is_number = pa.types.is_floating(column.type) or pa.types.is_integer(column.type)
    if not is_number or column.null_count == len(column):
        return {}
    median = pc.quantile(column, 0.5)[0].as_py()
    return {f"{name}_mean": float(pc.mean(column).as_py()), f"{name}_median": float(median)}


def _params(record: RunRecord, model_set: ModelSet) -> dict[str, str]:
    """Workload, windows, and the single values of the set's card."""
    request = record.request
    found = {"workload": request.workload, "from": request.window, "to": request.stop}
    found |= {key: text for key, text in _leaves("", model_set.card) if key not in found}
    return {_key(key): text[:_LONGEST_PARAM] for key, text in list(found.items())[:_MOST_PARAMS] if text}


def _leaves(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(f"{prefix}{key}.", value)
        elif isinstance(value, str | int | float | bool):
            yield f"{prefix}{key}", str(value)


def _key(name: str) -> str:
    """The name with the characters that MLflow takes.

    >>> _key("Wärme %")
    'W_rme _'
    """
    return re.sub(r"[^A-Za-z0-9_\-. /]", "_", name)[:250]


def _csv(table: pa.Table) -> bytes:
    from pyarrow import csv

    nested = [f.name for f in table.schema if pa.types.is_nested(f.type)]
    sink = io.BytesIO()
    csv.write_csv(table.drop_columns(nested), sink)
    return sink.getvalue()


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
