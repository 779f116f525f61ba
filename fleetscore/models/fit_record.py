"""What a check of a fleet of models found: records that `fleetscore check` shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Misfit:
    """Something of a workload's settings, data and models that does not fit, found before any run.

    error: it costs rows or partitions. warning: it may be meant. note: good to know.
    """

    severity: Literal["error", "warning", "note"]
    cause: str
    subject: str  # the file, column, setting, partition or model at fault; the first where there are several
    detail: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class FitCheck:
    """What a check of a workload's settings, data and models read and tried, and what does not fit."""

    workload: str
    models_from: str  # version of the model set, or the folder
    models: int
    files: int
    files_read: int
    rows: int
    partitions: int
    rows_per_model: int  # tried at most
    scored: int  # models that answered their rows
    results: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # output -> least and largest
    misfits: tuple[Misfit, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether nothing but notes was found."""
        return all(one.severity == "note" for one in self.misfits)
