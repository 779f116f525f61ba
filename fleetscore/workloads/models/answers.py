"""What models answer of blocks of rows, as the workload's settings say: method, trust, and how classes are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy.typing as npt

from fleetscore.models.packs.base import Indices
from fleetscore.models.packs.bundle import Bundle
from fleetscore.models.packs.library import trusted_models
from fleetscore.models.packs.shard_scoring import ShardScores, number_classes, score_shard
from fleetscore.models.trust import find_distrust
from fleetscore.workloads.models.settings import FleetSettings


def score_models(
    workload: str,
    settings: FleetSettings,
    bundle: Bundle,
    keys: Sequence[str],
    offsets: Indices,
    columns: Mapping[str, npt.NDArray[Any]],
    features: Sequence[str],
) -> ShardScores:
    """As `score_shard`; models kept as pickles answer where the workload is trusted, and classes are numbers where
    `output_type` says so.
    """
    table = settings.models
    trusted = not find_distrust(workload, is_trusted=table.trusted)
    with trusted_models() if trusted else nullcontext():
        scores = score_shard(bundle, keys, offsets, columns, table.method, features)
    return number_classes(scores, table.method) if table.output_type == "number" else scores
