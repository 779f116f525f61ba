"""What a row of a fleet takes in memory: wide rows make small shards before any shard was measured."""

from __future__ import annotations

from fleetscore.errors import FleetscoreError
from fleetscore.workload import RunContext
from fleetscore.workloads.models.bundles import find_bundle
from fleetscore.workloads.models.scoring import model_features
from fleetscore.workloads.models.settings import FleetSettings

_KEYS_BYTES = 100.0  # keys and time, as read, sorted and written
_FEATURE_BYTES = 25.0  # as read, as sorted, and as the models take it
_OUTPUT_BYTES = 20.0
_KEPT_BYTES = 60.0  # of text


def weigh_row(run: RunContext) -> float:
    """Bytes at the peak of a shard, by row, of the columns that the settings or the models name."""
    settings: FleetSettings = run.settings
    outputs, kept = len(settings.models.outputs), len(settings.data.keep)
    features = len(settings.data.features) or _count_model_features(run, settings)
    return _KEYS_BYTES + features * _FEATURE_BYTES + outputs * _OUTPUT_BYTES + kept * _KEPT_BYTES


def _count_model_features(run: RunContext, settings: FleetSettings) -> int:
    if not run.pins.current:
        return 0
    try:
        return len(model_features(find_bundle(run.store, run.workload, run.pins.current), settings))
    except FleetscoreError as error:  # is reported where it is to score
        if error.retry:
            raise
        return 0
