"""Finish a run: publish it, learn its speed, close its record; a second call changes nothing."""

from __future__ import annotations

from datetime import datetime

from fleetscore.errors import ConflictError
from fleetscore.pipeline.absent import card_absent, describe_absent
from fleetscore.pipeline.collect import read_collected, read_shard_records
from fleetscore.pipeline.drift import with_models
from fleetscore.pipeline.profiles import read_sketches, remember_first
from fleetscore.pipeline.publish import publish_run
from fleetscore.pipeline.rates import learn_rates
from fleetscore.pipeline.run_cost import make_bill
from fleetscore.pipeline.run_events import summarise_events
from fleetscore.pipeline.tags import tag_facts
from fleetscore.pipeline.training_entry import entered_as
from fleetscore.records import Ending, RunRequest, RunState
from fleetscore.runs.ledgers import read_ledger
from fleetscore.runs.manifests import read_manifest
from fleetscore.runs.plans import read_plan
from fleetscore.runs.run_records import record_ending
from fleetscore.store.base import Store
from fleetscore.store.paths import profile_path
from fleetscore.store.tables import has_table


def finish_run(store: Store, request: RunRequest, now: datetime) -> Ending:
    """Publish the collected run if it may be, and write how it ended into its record."""
    try:
        ending = publish_run(store, request, now)
    except ConflictError as conflict:
        ending = Ending(RunState.UNPUBLISHED, str(conflict))
    collected = read_collected(store, request.run)
    facts = {**make_bill(store, request.run, collected), **tag_facts(store, request.workload)}
    if collected.drifted:
        facts["drifted"] = collected.drifted
    if ending.table_version is not None:
        facts["table_version"] = ending.table_version
    if ending.model_set:
        facts["entered"] = entered_as(store, request.workload, ending.model_set)
        absent = describe_absent(card_absent(store, request.workload, ending.model_set), request.workload)
        facts |= {"absent": absent} if absent else {}
    if ending.state is RunState.PUBLISHED and request.purpose == "score":
        remember_profiles(store, request.run)
        anomalies = summarise_events(store, read_manifest(store, request.workload, request.window))
        facts |= {"anomalies": anomalies} if anomalies else {}
    record_ending(store, request.run, ending, collected, now, facts)
    learn_rates(store, request.run)
    return ending


def remember_profiles(store: Store, run: str) -> None:
    """Keep how the run looked, of the model sets that it was the first to publish with."""
    head = read_plan(store, run)
    versions = [version for version in head.models if version]
    if all(has_table(store, profile_path(head.request.workload, version)) for version in versions):
        return
    sketches = read_sketches(store, read_shard_records(store, head))
    if sketches is not None:
        known = with_models(sketches, read_ledger(store, run))
        remember_first(store, head.request.workload, known.drop_columns("model"), known["model"])
