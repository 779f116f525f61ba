"""samples, draw, import-models, runs, show: what they write and what they say."""

import json
import pickle
from pathlib import Path
from xml.etree import ElementTree

from said import Command
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from fleetscore.models.pins import read_pins
from fleetscore.store.base import Store


def test_samples_say_what_they_wrote_and_what_comes_next(command: Command, store: Store) -> None:
    """The windows, the size, what is planted; the same seed gives the same bytes."""
    told = json.loads(command("samples", "sensor_anomaly", "--scale", "0.01", "--json").out)
    assert (told["first"], told["stop"]) == ("2026-03-04T00", "2026-03-05T00")
    assert told["rows"] > 0
    before = {entry.path: entry.etag for entry in store.list("data/")}
    contents = {path: store.read(path) for path in before}
    said = command("samples", "sensor_anomaly", "--scale", "0.01")
    train, backfill = (line.removeprefix("  next").strip() for line in said.out.splitlines()[-2:])
    assert train == "fleetscore train sensor_anomaly --from 2026-03-02T00 --to 2026-03-04T00"
    assert backfill == "fleetscore backfill sensor_anomaly --from 2026-03-04T00 --to 2026-03-05T00"
    assert {path: store.read(path) for path in contents} == contents


def test_draw_makes_pictures_of_what_is_published(command: Command, estate: Store, tmp_path: Path) -> None:
    """The newest published window by default; a window that is not published is refused with the command that runs it."""
    del estate
    told = json.loads(command("draw", "sensor_anomaly", "--folder", str(tmp_path / "p"), "--json").out)
    (path,) = told["pictures"]
    assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    said = command("draw", "sensor_anomaly", "--window", "2026-03-04T09", "--folder", str(tmp_path / "p"))
    assert said.code == 2
    assert "fleetscore run sensor_anomaly --window 2026-03-04T09" in said.err


def test_models_made_elsewhere_are_imported_and_pinned(
    command: Command, store: Store, tmp_path: Path
) -> None:
    """A folder of pickled pipelines becomes a model set; with --no-pin nothing else changes."""
    folder = tmp_path / "models"
    folder.mkdir()
    model = make_pipeline(StandardScaler(), OneClassSVM(gamma=0.01, nu=0.1)).fit(
        [[float(n)] for n in range(20)]
    )
    (folder / "model_7_2").write_bytes(pickle.dumps(model))
    first = json.loads(
        command("import-models", "sensor_anomaly", "--from", str(folder), "--no-pin", "--json").out
    )
    assert first["card"]["imported_from"] == "models"
    assert read_pins(store, "sensor_anomaly").current == ""
    said = command("import-models", "sensor_anomaly", "--from", str(folder))
    assert said.code == 0, said.err
    assert read_pins(store, "sensor_anomaly").current != ""


class Runs:
    """Its pickle runs a command when it is loaded by ordinary means."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, ("touch /tmp/fleetscore-was-here",)


def test_a_pickle_that_would_run_something_is_refused(command: Command, tmp_path: Path) -> None:
    """Exit code 2, the name of what it would have called, and nothing is run."""
    (tmp_path / "model_1_1").write_bytes(pickle.dumps(Runs()))
    said = command("import-models", "sensor_anomaly", "--from", str(tmp_path))
    assert said.code == 2
    assert "system" in said.err
    assert not Path("/tmp/fleetscore-was-here").exists()  # noqa: S108  # the path that the pickle names


def test_runs_and_show_read_the_store_without_a_host(command: Command, estate: Store) -> None:
    """Newest first, as a table or JSON; show has counts, causes and the paths of manifest and ledger."""
    del estate
    listed = json.loads(command("runs", "--json").out)
    assert listed[0]["run"] == "sensor_anomaly-2026-03-04T00"
    assert len(listed) == 2
    assert len(json.loads(command("runs", "--limit", "1", "--json").out)) == 1
    assert "79 scored," in command("runs").out  # the cell is folded: a piped table has 100 columns
    shown = json.loads(command("show", "sensor_anomaly-2026-03-04T00", "--json").out)
    assert shown["verdict"] == "with_failures"
    text = command("show", "sensor_anomaly-2026-03-04T00").out
    assert "81 expected: 79 scored, 1 skipped, 1 late" in text
    assert "results/sensor_anomaly/2026-03-04T00/manifest.json" in text


def test_an_empty_store_says_how_to_begin(command: Command) -> None:
    """No runs is no error."""
    said = command("runs")
    assert said.code == 0
    assert "fleetscore run WORKLOAD --window WINDOW" in said.out
    assert json.loads(command("runs", "--json").out) == []
