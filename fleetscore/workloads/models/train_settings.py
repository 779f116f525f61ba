"""The [train] and [judge] tables of a workload of kind `models`: training without code, and what results
are compared with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from fleetscore.schedules import parse_schedule

_NAMED = re.compile(r"sklearn(\.[a-z][a-z0-9_]*)+\.[A-Z][A-Za-z0-9]*|lightgbm\.LGBM(Regressor|Classifier)")
_HOLDOUT = re.compile(r"last ([1-9][0-9]?)\s?%")


@dataclass(frozen=True, slots=True)
class TrainTable:
    """The [train] table: the estimator of each model key, its target, and how a new model set comes into
    use.
    """

    estimator: str | tuple[str, ...] = ()  # by import path; several are the steps of a pipeline
    params: Mapping[str, Any] = field(default_factory=dict)  # of the estimator, the last step of a pipeline
    target: str = ""  # the column that is learned
    holdout: str = "last 20%"  # by time, of each key: what the metrics are measured on; "": none
    rows_min: int = 30  # a key with fewer rows is not trained
    days: int = 90  # of data that a scheduled training reads
    schedule: str = ""  # NCRONTAB; "": on demand only
    only: Literal["all", "drifted", "new"] = "all"
    enters: Literal["challenger", "if better", "pinned"] = "challenger"

    def __post_init__(self) -> None:
        for name in self.estimators:
            if not _NAMED.fullmatch(name) or "._" in name:
                raise ValueError(
                    f"train.estimator is {name!r}; by name are taken sklearn.MODULE.CLASS and lightgbm.LGBMRegressor or "
                    "LGBMClassifier. Any other import path would run code of yours: train elsewhere and import the models"
                )
        if bool(self.estimators) != bool(self.target):
            raise ValueError("train needs estimator and target; one of them is missing")
        if self.holdout and self.holdout_share is None:
            raise ValueError(
                f'train.holdout is {self.holdout!r}; it must be like "last 20%", at most 50, or ""'
            )
        if not 1 <= self.rows_min <= 10**9 or not 1 <= self.days <= 36_500:
            raise ValueError("train.rows_min and train.days must be at least 1")
        if self.schedule:
            parse_schedule(self.schedule, where="train.schedule")

    @property
    def estimators(self) -> tuple[str, ...]:
        """The import paths, in the order of a pipeline."""
        return (self.estimator,) if isinstance(self.estimator, str) else self.estimator

    @property
    def holdout_share(self) -> float | None:
        """The share of each key's rows, the last ones, that metrics are measured on; None without one."""
        found = _HOLDOUT.fullmatch(self.holdout)
        return int(found[1]) / 100 if found and int(found[1]) <= 50 else None


@dataclass(frozen=True, slots=True)
class JudgeTable:
    """The [judge] table: the column that says what came, which results are compared with."""

    actual: str = ""
