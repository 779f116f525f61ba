"""Training: one model for all servers, chosen between a random forest and boosting on the last days of the
span.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.errors import BugError
from fleetscore.models.profiles import PROFILE_FILE, pack_profile, summarise
from fleetscore.workload import ModelSetDraft, RunContext, Scored, Shard, Trained
from fleetscore.workloads.server_load.discovery import FLEET, read_hours
from fleetscore.workloads.server_load.examples import (
    SEED,
    Examples,
    build_examples,
    columns_to_learn,
    split_examples,
)
from fleetscore.workloads.server_load.features import ALL_FEATURES, FEATURES, LOOKBACK_HOURS
from fleetscore.workloads.server_load.grammar import UNITS
from fleetscore.workloads.server_load.labels import CLASSES, classify
from fleetscore.workloads.server_load.load_quantiles import (
    LOAD_FILE,
    fit_load,
    has_expected_load,
    measure_load,
)
from fleetscore.workloads.server_load.metrics import Metrics, measure
from fleetscore.workloads.server_load.months import hour_of, moment_of
from fleetscore.workloads.server_load.scoring import MODEL_FILE
from fleetscore.workloads.server_load.settings import ServerLoadSettings
from fleetscore.workloads.server_load.trees import (
    ModelFacts,
    Trees,
    dump_trees,
    pack_boosting,
    pack_forest,
    predict,
)

_CARD_FILE = "card.json"
_WEEK_HOURS = 168


@dataclass(frozen=True, slots=True)
class Fitted:
    """A candidate after fitting, with its measures on hours that it did not see."""

    trees: Trees
    metrics: Metrics
    fit_s: float


def fit(kind: str, examples: Examples, settings: ServerLoadSettings) -> Trees:
    """Fit one candidate and pack it."""
    if kind == "load":
        return fit_load(examples, settings)
    facts = ModelFacts(
        "forest" if kind == "forest" else "boosting",
        ALL_FEATURES[: examples.features.shape[1]],
        settings.medium_above,
        settings.high_above,
        settings.country,
    )
    features = columns_to_learn(examples.features)
    if kind == "forest":
        from sklearn.ensemble import RandomForestClassifier

        forest = RandomForestClassifier(
            settings.forest_trees, max_depth=settings.forest_depth, random_state=SEED, n_jobs=2
        )
        return pack_forest(forest.fit(features, examples.labels), facts)
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    boosting = HistGradientBoostingClassifier(
        max_iter=150,
        learning_rate=0.05,
        max_leaf_nodes=8,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=SEED,
    )
    # its threads wait by spinning: on a shared machine two are up to ten times slower than one
    with threadpool_limits(1):
        boosting.fit(features, examples.labels)
    return pack_boosting(boosting, facts)


def judge(kind: str, learnt: Examples, unseen: Examples, settings: ServerLoadSettings) -> Fitted:
    """Fit a candidate on some examples and measure it on others."""
    begun = time.perf_counter()
    trees = fit(kind, learnt, settings)
    fit_s = time.perf_counter() - begun
    return Fitted(trees, measure(unseen.labels, predict(trees, unseen.features).argmax(axis=1)), fit_s)


def able_candidates(examples: Examples, settings: ServerLoadSettings) -> list[str]:
    """The candidates that can learn from the examples: boosting needs all three classes, the
    load's quantiles hours with an expected load.
    """
    able: dict[str, bool] = {
        "forest": True,
        "boosting": len(np.unique(examples.labels)) == len(CLASSES),
        "load": has_expected_load(examples),
    }
    return [kind for kind in settings.candidates if able[kind]] or ["forest"]


def baselines(examples: Examples, settings: ServerLoadSettings) -> dict[str, Metrics]:
    """What needs no model: the most frequent class, and the class of 48 hours ago (the most frequent one
    where that is missing).
    """
    common = _most_frequent(examples)
    return {
        "most_frequent": measure(examples.labels, np.full(len(examples.labels), common)),
        "class_of_48_hours_ago": measure(examples.labels, _class_before(examples, 48, common, settings)),
    }


def card_baselines(learnt: Examples, unseen: Examples, settings: ServerLoadSettings) -> dict[str, Metrics]:
    """`baselines` of the unseen examples, and two that know the week: the class of 168 hours ago, and the
    most frequent class of the server's hour of the week among those learnt from. Both are the most frequent
    class where they know nothing.
    """
    week = _class_before(unseen, 168, _most_frequent(unseen), settings)
    return baselines(unseen, settings) | {
        "class_of_168_hours_ago": measure(unseen.labels, week),
        "server_and_hour_of_week": measure(unseen.labels, _class_of_hour_of_week(learnt, unseen)),
    }


def _most_frequent(examples: Examples) -> int:
    return int(np.bincount(examples.labels, minlength=len(CLASSES)).argmax())


def _class_before(examples: Examples, lag: int, common: int, settings: ServerLoadSettings) -> Any:
    before = examples.features[:, FEATURES.index(f"peakLoadLag{lag}")]
    return np.where(np.isnan(before), common, classify(before, settings.medium_above, settings.high_above))


def _class_of_hour_of_week(learnt: Examples, unseen: Examples) -> Any:
    """Per unseen example the most frequent class of its server and hour of the week (UTC) among those
    learnt from.
    """
    keys, place = np.unique(learnt.server * _WEEK_HOURS + learnt.hour % _WEEK_HOURS, return_inverse=True)
    counts = np.zeros((len(keys), len(CLASSES)), np.int64)
    np.add.at(counts, (place, learnt.labels), 1)
    wanted = unseen.server * _WEEK_HOURS + unseen.hour % _WEEK_HOURS
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, counts.argmax(axis=1)[at], _most_frequent(learnt))


def train_shard(run: RunContext, shard: Shard) -> Trained:
    """Choose the better candidate on the span's last `test_days`, fit it again on the whole span, and pack
    it with its card.
    """
    settings: ServerLoadSettings = run.settings
    begun = time.perf_counter()
    start, end = run.span
    first, stop = hour_of(start.start), hour_of(end.start)
    hours = read_hours(run.store, run.inputs, first - LOOKBACK_HOURS, stop, servers=settings.wanted_servers)
    examples = build_examples(hours, first, stop, settings)
    split = stop - settings.test_days * 24
    learnt, unseen = split_examples(examples, split, settings)
    fitted = {kind: judge(kind, learnt, unseen, settings) for kind in able_candidates(learnt, settings)}
    best = max(fitted, key=lambda kind: fitted[kind].metrics.f1)
    facts = {
        "model": best,
        "metrics": asdict(fitted[best].metrics),
        "candidates": {kind: asdict(f.metrics) | {"fit_s": round(f.fit_s, 2)} for kind, f in fitted.items()},
        "baselines": {
            name: asdict(metrics) for name, metrics in card_baselines(learnt, unseen, settings).items()
        },
        "load_at_most": _load_at_most(learnt, unseen, settings),
        "learnt_from": {"first": start.key, "stop": end.key, "server_hours": len(examples.labels)},
        "judged_from": f"{moment_of(split):%Y-%m-%d}",
    }
    files = {
        MODEL_FILE: dump_trees(fit(best, examples, settings)),
        **_load_file(examples, settings),
        PROFILE_FILE: pack_profile(
            summarise(hours["server"], pc.divide(hours["load"].cast(pa.float64()), UNITS))
        ),
        _CARD_FILE: msgspec.json.encode(facts | _definitions(settings)),
    }
    seconds = time.perf_counter() - begun
    settled = Scored.of(shard.keys, input_rows=hours.num_rows, rows=len(examples.labels), seconds=seconds)
    return Trained(files, settled.outcomes, _metrics_table(fitted[best].metrics))


def _load_at_most(learnt: Examples, unseen: Examples, settings: ServerLoadSettings) -> dict[str, float]:
    return measure_load(fit_load(learnt, settings), unseen) if has_expected_load(learnt) else {}


def _load_file(examples: Examples, settings: ServerLoadSettings) -> dict[str, bytes]:
    return {LOAD_FILE: dump_trees(fit_load(examples, settings))} if has_expected_load(examples) else {}


def _definitions(settings: ServerLoadSettings) -> dict[str, Any]:
    """What the model's numbers mean, for its card."""
    return {
        "classes": list(CLASSES),
        "medium_above": settings.medium_above,
        "high_above": settings.high_above,
        "country": settings.country,
        "features": list(ALL_FEATURES),
        "missing_values": "kept: an hour without sessions is no load, not 0",
    }


def _metrics_table(metrics: Metrics) -> pa.Table:
    values = {"rows": float(metrics.rows), "accuracy": metrics.accuracy, "precision": metrics.precision}
    values |= {"recall": metrics.recall, "f1": metrics.f1}
    return pa.table({"partition": [FLEET]} | {name: [value] for name, value in values.items()})


def assemble_set(parts: Iterable[Mapping[str, bytes]]) -> ModelSetDraft:
    """The model set of the one shard there is."""
    shards = list(parts)
    if len(shards) != 1:
        raise BugError(f"server_load trains one model in one shard; got {len(shards)}.")
    card = msgspec.json.decode(shards[0][_CARD_FILE])
    return ModelSetDraft({name: data for name, data in shards[0].items() if name != _CARD_FILE}, card)
