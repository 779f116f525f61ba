"""The chapters of the demo: one per workload, with how big its samples are and what was trained on them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from fleetscore.capabilities import MakesSamples, SampleReport
from fleetscore.registry import load_kind, shipped_kinds
from fleetscore.typed_json import decode_json

SEED = 7


@dataclass(frozen=True, slots=True)
class Chapter:
    """What is ready of a workload: its samples, and the model set that was trained on them ("" before); or
    data of its own, of which nobody knows what was planted in it.
    """

    workload: str
    scale: float
    first: str  # the first window to run
    stop: str  # the window after the last
    train_first: str
    train_stop: str
    partitions: int
    rows: int
    planted: tuple[str, ...]
    model_set: str = ""
    sampled: bool = True


@dataclass(frozen=True, slots=True)
class DemoState:
    """What a demo folder holds already: demo.json."""

    chapters: Mapping[str, Chapter] = field(default_factory=dict)
    schema: int = 1


def demo_workloads() -> list[str]:
    """The workloads that the demo shows: those that ship, need no settings file and have sample data,
    sorted.
    """
    return [kind for kind in sorted(shipped_kinds()) if issubclass(load_kind(kind), MakesSamples)]


def chapter_of(workload: str, scale: float, report: SampleReport) -> Chapter:
    """The chapter of samples that were just written; without a span to train on in their facts, they need
    no training.
    """
    facts: Mapping[str, Any] = report.facts
    return Chapter(
        workload,
        scale,
        report.first.key,
        report.stop.key,
        str(facts.get("train_from", "")),
        str(facts.get("train_to", "")),
        report.partitions,
        report.rows,
        report.remarks,
    )


def read_state(folder: Path) -> DemoState:
    """What the folder holds; nothing if it is new or its state cannot be read."""
    try:
        return decode_json((folder / "demo.json").read_bytes(), DemoState)
    except (FileNotFoundError, msgspec.DecodeError):
        return DemoState()


def keep_chapter(folder: Path, chapter: Chapter) -> None:
    """Write the chapter to the folder's state."""
    chapters = dict(read_state(folder).chapters) | {chapter.workload: chapter}
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / "demo.json.new"
    temporary.write_bytes(msgspec.json.encode(DemoState(chapters)))
    temporary.replace(folder / "demo.json")


def forget_other_scales(folder: Path, scales: Mapping[str, float]) -> None:
    """Empty the demo folder if it holds samples of another size: two sizes in one store would be mixed."""
    kept = read_state(folder).chapters
    if any(name in scales and chapter.scale != scales[name] for name, chapter in kept.items()):
        shutil.rmtree(folder / "store", ignore_errors=True)
        (folder / "demo.json").unlink(missing_ok=True)
