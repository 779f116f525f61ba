"""new: a workload from a folder of data and a folder of models, every guess told, nothing overwritten."""

from __future__ import annotations

import gzip
import json
import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from fleetscore.cli.program import run_command
from fleetscore.pipeline.local import run_window
from fleetscore.registry import get_workload
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.store import open_store
from fleetscore.workloads.models.data_guess import guess_time, look_at_data
from tests.model_fleets.conftest import MIDNIGHT, fitted, telemetry

pytestmark = pytest.mark.usefixtures("shared_import_process")
VANS = ["VAN-1", "VAN-2", "VAN-3"]


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Telemetry of two days, local times without a zone, and a pickled model per van, as a team hands them over."""
    (tmp_path / "telemetry").mkdir()
    (tmp_path / "models").mkdir()
    for day in range(2):
        frame = telemetry(VANS, start=MIDNIGHT + timedelta(days=day))
        frame["recorded_at"] = frame["recorded_at"].dt.tz_convert("Europe/Berlin").dt.tz_localize(None)
        frame.to_parquet(tmp_path / "telemetry" / f"2026-11-2{1 + day}.parquet")
    for at, van in enumerate(VANS):
        (tmp_path / "models" / f"{van}.pkl").write_bytes(pickle.dumps(fitted(at)))
    return tmp_path


def make(folders: Path, *words: str, name: str = "vans") -> int:
    """The exit code of `new` with the folders' data, copied."""
    data = ["--data", str(folders / "telemetry"), "--copy", "--store", str(folders / "store")]
    return run_command(["new", name, *data, *words])


def settings_of(folders: Path, name: str = "vans") -> Any:
    """The settings that were written, as the workload reads them."""
    return get_workload(open_store(str(folders / "store")), name).settings


def test_a_fleet_is_made_of_two_folders(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Data is copied, models are imported and pinned, and the guessed settings score the window as they are."""
    models = str(folders / "models")
    assert (
        make(folders, "--models", models, "--trust-pickles", "--timezone", "Europe/Berlin", "--output", "kwh")
        == 0
    )
    assert "van_id" in capsys.readouterr().out
    settings = settings_of(folders)
    assert settings.partition == ("van_id",)
    assert settings.key_patterns == ("{van_id}",)
    assert settings.data.paths == ("data/vans/{window:%Y-%m-%d}.parquet",)
    assert (settings.data.time, settings.data.features) == ("recorded_at", ("speed", "load_kg"))
    record = run_window(open_store(str(folders / "store")), "vans", "2026-11-21")
    assert dict(record.counts) == {"scored": 3}
    assert record.rows == 60


def test_a_feature_that_one_model_takes_and_the_data_lacks_is_told_and_left_out(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One model with a column of its own costs no other van: the line has what most models take, as a guess."""
    frame = telemetry(["VAN-X"]).assign(ghost=1.0)
    odd = Ridge().fit(frame[["speed", "ghost"]], frame["speed"])
    (folders / "models" / f"{VANS[0]}.pkl").write_bytes(pickle.dumps(odd))
    assert make(folders, "--models", str(folders / "models"), "--trust-pickles", "--json") == 0
    told = {one["line"]: one for one in json.loads(capsys.readouterr().out)["guesses"]}
    assert (told["features"]["certainty"], told["features"]["why"]) == ("guess", "the data lacks ghost")
    assert settings_of(folders).data.features == ("speed", "load_kg")


def test_every_guess_is_told_with_how_sure_it_is(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON has each line with its certainty and reason; what was given counts as given."""
    models = str(folders / "models")
    assert make(folders, "--models", models, "--trust-pickles", "--window", "day", "--json") == 0
    told = {one["line"]: one for one in json.loads(capsys.readouterr().out)["guesses"]}
    assert told["key"]["certainty"] == "sure"
    assert told["window"]["certainty"] == "given"
    assert told["timezone"]["certainty"] == "guess"
    assert "no zone" in told["timezone"]["why"]


def test_no_pickle_is_executed_without_trust(folders: Path, tmp_path: Path) -> None:
    """A pickle that would write a file is refused, it writes none, and no workload is made."""
    mark = tmp_path / "executed"

    class Evil:
        def __reduce__(self) -> Any:
            return open, (str(mark), "w")

    for van in VANS:
        (folders / "models" / f"{van}.pkl").write_bytes(pickle.dumps(Evil()))
    assert make(folders, "--models", str(folders / "models")) == 2
    assert not mark.exists()
    assert not (folders / "store" / "settings" / "vans.toml").exists()


def test_nothing_is_overwritten(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is taken, and other data where the copy would go, are refused; both stay as they were."""
    assert make(folders) == 0
    before = (folders / "store" / "settings" / "vans.toml").read_bytes()
    assert make(folders) == 2
    assert "settings/vans.toml is there already" in capsys.readouterr().err
    assert (folders / "store" / "settings" / "vans.toml").read_bytes() == before
    other = folders / "store" / "data" / "trucks" / "2026-11-21.parquet"
    other.parent.mkdir()
    other.write_bytes(b"other")
    assert make(folders, name="trucks") == 2
    assert "data/trucks/2026-11-21.parquet is there already, with other content" in capsys.readouterr().err
    assert other.read_bytes() == b"other"


def test_a_new_store_is_announced_where_it_is_created(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A refusal before anything is written says nothing of a store, and creates none."""
    assert make(folders, "--partition", "ghost") == 2
    assert "There was no store" not in capsys.readouterr().err
    assert not (folders / "store").exists()
    assert make(folders) == 0
    assert "There was no store" in capsys.readouterr().err
    assert make(folders, name="trucks") == 0
    assert "There was no store" not in capsys.readouterr().err


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_an_import_of_which_a_file_is_refused_exits_with_10(
    folders: Path, as_json: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten models of which one is cut short: nine are stored, and the code is 10, with and without --json."""
    assert make(folders, "--window", "day") == 0
    for at in range(10):
        (folders / "models" / f"VAN-{at}.pkl").write_bytes(pickle.dumps(fitted(at)))
    words = ["import-models", "vans", "--from", str(folders / "models"), "--trust-pickles", *as_json]
    words += ["--store", str(folders / "store"), "--yes"]
    assert run_command(words) == 0
    cut = folders / "models" / "VAN-4.pkl"
    cut.write_bytes(cut.read_bytes()[:-100])
    capsys.readouterr()
    assert run_command(words) == 10
    said = capsys.readouterr()
    assert "VAN-4.pkl" in said.err
    assert ("refused" in json.loads(said.out)["counts"]) if as_json else ("1 refused" in said.out)


@pytest.mark.parametrize("name", ["models", "sensor_anomaly", "Vans", "prices"])
def test_names_that_cannot_be_a_workload_are_refused(folders: Path, name: str) -> None:
    """Kinds, their own workloads, capitals and files of other meaning are no names."""
    assert make(folders, name=name) == 2


@pytest.mark.parametrize(
    ("names", "key", "partition"),
    [
        ({"depot-0": 0, "depot-1": 1}, "{depot}", "van_id"),
        ({"any name": 0}, "", "van_id"),
        ({f"model_{van}": at for at, van in enumerate(VANS)}, "model_{van_id}", "van_id"),
        ({"depot-0/VAN-1": 0, "depot-1/VAN-2": 1, "depot-0/VAN-3": 2}, "{depot}/{van_id}", "depot"),
    ],
)
def test_names_of_files_give_the_key_and_the_partition(
    folders: Path, names: dict[str, int], key: str, partition: str
) -> None:
    """Models of vans, of depots, in folders of both, and one of all: each gives its pattern, and who has an outcome."""
    for file in (folders / "models").iterdir():
        file.unlink()
    for name, seed in names.items():
        path = folders / "models" / f"{name}.pkl"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(pickle.dumps(fitted(seed)))
    assert make(folders, "--models", str(folders / "models"), "--trust-pickles") == 0
    settings = settings_of(folders)
    assert settings.key_patterns == (key,)
    assert partition in settings.partition
    record = run_window(open_store(str(folders / "store")), "vans", "2026-11-21")
    assert record.counts.get("scored") == 3


@pytest.mark.slow
def test_models_of_vans_depots_and_all_give_keys_that_are_tried_in_this_order(folders: Path) -> None:
    """Vans with a model of their own are scored by it, one without by its depot's; who has neither gets that of all."""
    for file in (folders / "models").iterdir():
        file.unlink()
    for at, name in enumerate(("VAN-1", "depot-0", "default")):
        (folders / "models" / f"{name}.pkl").write_bytes(pickle.dumps(fitted(at)))
    assert make(folders, "--models", str(folders / "models"), "--trust-pickles") == 0
    settings = settings_of(folders)
    assert (settings.key_patterns, settings.partition) == (("{van_id}", "{depot}", ""), ("van_id",))
    store = open_store(str(folders / "store"))
    run_window(store, "vans", "2026-11-21")
    found = read_results(store, read_manifest(store, "vans", "2026-11-21")).to_pandas()
    keys = {van: set(rows.model_key) for van, rows in found.groupby("van_id")}
    assert keys == {"VAN-1": {"VAN-1"}, "VAN-2": {""}, "VAN-3": {"depot-0"}}


@pytest.mark.slow
def test_a_manifests_keys_name_the_column_and_the_index_of_pandas_is_none(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The column that holds the manifest's keys is the partition, whatever the files are called; a column of row
    numbers is neither that nor a feature. Keys that no column holds ask for --key.
    """
    for file in (folders / "telemetry").iterdir():
        frame = pd.read_parquet(file)
        frame.index = pd.Index([at // 2 for at in range(len(frame))])
        frame.to_parquet(file, index=True)
    lines = ["key,file"]
    for at, van in enumerate(VANS):
        (folders / "models" / f"{van}.pkl").rename(folders / "models" / f"m{at}x.pkl")
        lines.append(f"{van},m{at}x.pkl")
    (folders / "listed.csv").write_text("\n".join(lines))
    words = [
        "--models",
        str(folders / "models"),
        "--manifest",
        str(folders / "listed.csv"),
        "--trust-pickles",
    ]
    assert make(folders, *words) == 0
    settings = settings_of(folders)
    assert (settings.key_patterns, settings.partition) == (("{van_id}",), ("van_id",))
    assert list(settings.data.features) == ["speed", "load_kg"]
    (folders / "listed.csv").write_text("\n".join(lines).replace("VAN-", "van "))
    assert make(folders, *words, name="others") == 2
    assert "--key" in capsys.readouterr().err


def test_what_cannot_be_guessed_is_asked_for_by_its_option(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Model names that no column has, data outside the store and a column that is not there: each names the option."""
    for at, file in enumerate(sorted((folders / "models").iterdir())):
        file.rename(folders / "models" / f"m{at}x.pkl")
    models = ["--models", str(folders / "models"), "--trust-pickles"]
    assert make(folders, *models) == 2
    assert "--manifest" in capsys.readouterr().err
    assert make(folders, *models, "--time", "nope") == 2
    assert "recorded_at" in capsys.readouterr().err
    words = ["new", "vans", "--data", str(folders / "telemetry"), "--store", str(folders / "store")]
    assert run_command(words) == 2
    assert "--copy" in capsys.readouterr().err


def test_csv_with_semicolons_commas_and_german_times_is_read(tmp_path: Path) -> None:
    """Separator, decimal comma and the form of times are found; numbers are numbers."""
    text = "van;at;speed\nA;21.11.2026 08:00;12,5\nA;21.11.2026 09:00;13,5\nB;21.11.2026 08:00;1\n"
    store = open_store(str(tmp_path))
    store.write("data/x.csv", text.encode())
    guess = look_at_data(store, "data/")
    assert guess.written == {"separator": ";", "decimal": ","}
    assert guess.rows["speed"].to_pylist() == [12.5, 13.5, 1.0]
    time = guess_time(guess.rows, "UTC")
    assert time is not None
    assert (time.column, time.format) == ("at", "%d.%m.%Y %H:%M")


@pytest.mark.parametrize("others", [True, False])
def test_files_that_are_no_text_are_told_with_their_right_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], others: bool
) -> None:
    """A compressed file named .csv is told with what to do; the others give the separator and the columns."""
    (tmp_path / "telemetry").mkdir()
    lines = "van;at;speed\n" + "".join(f"VAN-{at % 3};2026-11-21T0{at}:00:00Z;1,5\n" for at in range(9))
    if others:
        (tmp_path / "telemetry" / "2026-11-21.csv").write_text(lines)
    (tmp_path / "telemetry" / "2026-11-22.csv").write_bytes(gzip.compress(lines.encode()))
    assert make(tmp_path) == (0 if others else 2)
    told = capsys.readouterr().err
    assert "2026-11-22.csv is compressed with gzip" in told
    assert "Name it 2026-11-22.csv.gz, or unpack it." in told
    if others:
        assert (settings_of(tmp_path).data.separator, settings_of(tmp_path).data.decimal) == (";", ",")


def test_dates_in_names_that_rows_contradict_narrow_nothing(folders: Path) -> None:
    """A file whose rows are of another day than its name says keeps the plain glob, so that no row is lost."""
    day = folders / "telemetry" / "2026-11-22.parquet"
    pd.read_parquet(day).to_parquet(folders / "telemetry" / "2026-11-25.parquet")
    day.unlink()
    assert make(folders) == 0
    assert settings_of(folders).data.paths == ("data/vans/**/*.parquet",)


def test_hours_in_names_make_windows_of_hours(folders: Path) -> None:
    """Files named by hour are listed by it, and a run covers an hour; escaped names of models are names of vans."""
    for path in (folders / "telemetry").iterdir():
        path.unlink()
    vans = ["VAN 1", "VAN/2", "VAN-3"]
    for hour in (10, 11):
        frame = telemetry(vans, start=datetime(2026, 11, 21, hour, tzinfo=UTC))
        frame["recorded_at"] = pd.date_range(f"2026-11-21T{hour}:00Z", periods=len(frame), freq="30s")
        frame.to_parquet(folders / "telemetry" / f"20261121T{hour}.parquet")
    (folders / "models" / "VAN-1.pkl").rename(folders / "models" / "VAN%201.pkl")
    (folders / "models" / "VAN-2.pkl").rename(folders / "models" / "VAN%2F2.pkl")
    assert make(folders, "--models", str(folders / "models"), "--trust-pickles") == 0
    settings = settings_of(folders)
    assert settings.data.paths == ("data/vans/{window:%Y%m%dT%H}.parquet",)
    assert settings.window == "hour"
    assert settings.key_patterns == ("{van_id}",)
    record = run_window(open_store(str(folders / "store")), "vans", "2026-11-21T10")
    assert dict(record.counts) == {"scored": 3}


def test_keys_that_are_given_are_tried_in_their_order_and_no_file_is_left_unsaid(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Several --key are several patterns; with "" alone a folder's model named default is taken, the others refused."""
    (folders / "models" / "VAN-3.pkl").rename(folders / "models" / "default.pkl")
    models = ["--models", str(folders / "models"), "--trust-pickles"]
    assert make(folders, *models, "--key", "{van_id}", "--key", "") == 0
    assert settings_of(folders).key_patterns == ("{van_id}", "")
    assert make(folders, *models, "--key", "", name="all") == 10
    assert settings_of(folders, "all").key_patterns == ("",)
    assert "VAN-1.pkl: The name 'VAN-1' does not fit 'default'." in capsys.readouterr().err


def test_models_that_the_manifest_does_not_name_are_said_with_examples(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """new, import-models and check say how many models of the folder were passed over, and which; the set's card keeps them."""
    (folders / "models" / "keys.csv").write_text("key,file\nVAN-1,VAN-1.pkl\n")
    said = "2 models of the folder were passed over, since the manifest does not name them: VAN-2.pkl, VAN-3.pkl."
    models, store = str(folders / "models"), ["--store", str(folders / "store")]
    make(folders, "--models", models, "--trust-pickles", "--partition", "van_id", "--key", "{van_id}")
    assert said in capsys.readouterr().err
    words = ["vans", "--from", models, "--trust-pickles", *store]
    assert run_command(["import-models", *words, "--json"]) == 0
    answer = capsys.readouterr()
    assert said in answer.err
    assert json.loads(answer.out)["counts"]["unnamed"] == 2
    assert json.loads(answer.out)["set"]["card"]["unnamed"] == ["VAN-2.pkl", "VAN-3.pkl"]
    assert run_command(["check", *words]) == 10
    assert said in capsys.readouterr().out


def test_text_of_windows_is_read_with_its_letters_and_the_guess_is_said(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """CSV that is no UTF-8, its first other letter far down, makes a workload that knows every partition."""
    frame = telemetry(["Koln", *[f"van {at}" for at in range(40)], "K\u00f6ln"], rows=20)
    (folders / "csv").mkdir()
    frame.to_csv(folders / "csv" / "2026-11-21.csv", index=False, encoding="cp1252")
    store = str(folders / "store")
    words = ["--data", str(folders / "csv"), "--copy", "--partition", "van_id", "--store", store]
    assert run_command(["new", "vans", *words]) == 0
    assert "the text is no UTF-8" in " ".join(capsys.readouterr().out.split())
    assert settings_of(folders).source.encoding == "cp1252"
    guess = look_at_data(open_store(store), "data/vans/")
    assert "K\u00f6ln" in guess.rows["van_id"].to_pylist()
    assert guess.faults == ()


def test_rows_of_the_sample_that_cannot_be_read_are_said(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row that is cut short is named with its file and line when the workload is made, and by check."""
    frame = telemetry(VANS)
    (folders / "csv").mkdir()
    lines = frame.to_csv(index=False).splitlines()
    lines[7] = "VAN-1,depot"
    (folders / "csv" / "2026-11-21.csv").write_text("\n".join(lines))
    store = ["--store", str(folders / "store")]
    words = ["--data", str(folders / "csv"), "--copy", "--partition", "van_id", "--models"]
    assert run_command(["new", "vans", *words, str(folders / "models"), "--trust-pickles", *store]) == 0
    assert (
        "2026-11-21.csv: 1 rows rejected (bad_row); first at line 8: 'VAN-1,depot'."
        in capsys.readouterr().err
    )
    assert run_command(["check", "vans", *store]) == 10
    said = " ".join(capsys.readouterr().out.split())
    assert "1 rows cannot be read, such as 'VAN-1,depot' in line 8 of data/vans/2026-11-21.csv." in said
