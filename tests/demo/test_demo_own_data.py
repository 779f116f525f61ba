"""Data of one's own on the local cloud: run and drawn as samples are, and judged by nothing."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fleetscore import Fleet
from fleetscore.capabilities import MakesSamples, require
from fleetscore.cli.demo.chapters import chapter_of
from fleetscore.cli.demo.tour import run_chapter, train_models
from fleetscore.cli.follow import Interrupted
from fleetscore.registry import get_workload
from fleetscore.store import open_store


@pytest.mark.slow
def test_a_shipped_kind_runs_data_of_which_no_truth_is_known(tmp_path: Path) -> None:
    """A chapter of data that is no sample is published and drawn, where a kind could judge its samples."""
    store = open_store(str(tmp_path / "store"))
    kind = get_workload(store, "sensor_anomaly")
    report = require(kind, MakesSamples).samples(store, scale=0.01)
    store.delete("samples/sensor_anomaly/truth.parquet")
    chapter = replace(chapter_of(kind.name, 0.01, report), stop=report.first.next().key, sampled=False)
    (tmp_path / "pictures").mkdir()
    with Fleet(store.url, host_folder=tmp_path / "host") as fleet:
        summary = run_chapter(fleet, store, tmp_path, train_models(fleet, tmp_path, chapter))
    assert summary.windows_published == 1 and not summary.judged
    assert [Path(path).stat().st_size > 0 for path in summary.pictures] == [True]


def test_ctrl_c_names_the_command_that_goes_on(tmp_path: Path) -> None:
    """The local cloud is continued by its own command, and not by the demo's."""
    chapter: Any = SimpleNamespace(workload="toy", first="2026-01-01T00", stop="2026-01-01T01")

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    fleet: Any = SimpleNamespace(
        start_backfill=lambda *_, **__: SimpleNamespace(id="b"), wait_backfill=interrupt
    )
    with pytest.raises(Interrupted, match=r"Continue: fleetscore cloud, with the same options$"):
        run_chapter(
            fleet, open_store(str(tmp_path)), tmp_path, chapter, "fleetscore cloud, with the same options"
        )
    with pytest.raises(Interrupted, match=r"Continue: fleetscore demo$"):
        run_chapter(fleet, open_store(str(tmp_path)), tmp_path, chapter)
