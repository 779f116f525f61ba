"""From an empty folder to published, scheduled and offloaded results of a fleet of one's own: commands only, equal to a plain loop."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fleetscore.cli.local_cloud import local_storage
from fleetscore.operations.due.windows import submit_due
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.store import open_store
from tests.model_fleets.conftest import FEATURES, MIDNIGHT, telemetry

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
VANS = [f"VAN-{number:04d}" for number in range(9)]
WITHOUT_MODEL, SILENT = VANS[7], VANS[8]
DAY = "2026-11-21"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a team hands over: two days of telemetry, and models of vans, of depots and of all, written by joblib."""
    root = tmp_path_factory.mktemp("team")
    for name in ("telemetry", "models", "depots", "all"):
        (root / name).mkdir()
    for day in range(2):
        frame = telemetry(VANS[:8], rows=50, start=MIDNIGHT + timedelta(days=day))
        frame["recorded_at"] = frame["recorded_at"].dt.tz_convert("Europe/Berlin").dt.tz_localize(None)
        frame.to_parquet(root / "telemetry" / f"2026-11-2{1 + day}.parquet")
    for at, van in enumerate(VANS):
        if van != WITHOUT_MODEL:
            joblib.dump(model(at), root / "models" / f"{van}.joblib")
    for at in range(2):
        joblib.dump(model(at), root / "depots" / f"depot-{at}.joblib")
    joblib.dump(model(1), root / "all" / "fleet.joblib")
    return root


def model(seed: int) -> Any:
    """A fitted model of one of three families."""
    random = np.random.default_rng(seed)
    x = pd.DataFrame({"speed": random.gamma(4, 12, 200), "load_kg": random.uniform(0, 1200, 200)})
    kinds = [
        make_pipeline(StandardScaler(), Ridge()),
        HistGradientBoostingRegressor(max_iter=20, random_state=seed),
        RandomForestRegressor(10, max_depth=6, random_state=seed),
    ]
    return kinds[seed % 3].fit(x, 0.1 + 0.002 * x.speed + seed * 0.01 * x.load_kg)


def fleetscore(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a user does, in the team's folder."""
    done = subprocess.run(
        [sys.executable, "-m", "fleetscore", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 10), done.stderr
    return done


def loop(folder: Path, models: Any) -> pd.DataFrame:
    """The plain loop: each van's rows of the day through the model that `models` gives for it."""
    rows = pd.read_parquet(folder / "telemetry" / f"{DAY}.parquet")
    parts = [
        mine.assign(kwh=joblib.load(path).predict(mine[FEATURES]))
        for van, mine in rows.groupby("van_id")
        if (path := models(van, mine.depot.iloc[0])).exists()
    ]
    return pd.concat(parts).sort_values(["van_id", "recorded_at"], ignore_index=True)


def assert_equal(found: pd.DataFrame, wanted: pd.DataFrame) -> None:
    """The same rows, trees to the last bit and linear models within 1e-12."""
    found = found.sort_values(["van_id", "recorded_at"], ignore_index=True)
    assert found["van_id"].tolist() == wanted["van_id"].tolist()
    np.testing.assert_allclose(found["kwh"], wanted["kwh"], rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "models", "path", "counts"),
    [
        (
            "vans",
            "models",
            lambda f, van, _: f / "models" / f"{van}.joblib",
            {"scored": 7, "skipped": 1, "late": 1},
        ),
        ("vans_depot", "depots", lambda f, _, depot: f / "depots" / f"{depot}.joblib", {"scored": 8}),
        ("vans_all", "all", lambda f, *_: f / "all" / "fleet.joblib", {"scored": 8}),
    ],
)
def test_three_commands_publish_what_the_plain_loop_gives(
    folder: Path, name: str, models: str, path: Any, counts: dict[str, int]
) -> None:
    """new, run, results: models of vans, of depots and of all publish the loop's predictions; no Python is written."""
    options = [
        "--models",
        models,
        "--copy",
        "--trust-pickles",
        "--timezone",
        "Europe/Berlin",
        "--output",
        "kwh",
    ]
    fleetscore(folder, "new", name, "--data", "telemetry", *options, "--schedule", "0 30 3 * * *")
    run = json.loads(fleetscore(folder, "run", name, "--window", DAY, "--json").stdout)
    assert run["record"]["counts"] == counts
    fleetscore(folder, "results", name, "--window", DAY, "--out", f"{name}.parquet")
    assert_equal(
        pd.read_parquet(folder / f"{name}.parquet"), loop(folder, lambda van, depot: path(folder, van, depot))
    )


@pytest.mark.parametrize("name", ["vans_depot", "vans_all"])
def test_a_van_that_falls_silent_is_late_where_models_are_shared(folder: Path, name: str) -> None:
    """A van that was seen the day before and sends nothing is late, although no model is its own."""
    day = folder / ".fleetscore" / "store" / "data" / name / "2026-11-22.parquet"
    frame = pd.read_parquet(day)
    frame[frame.van_id != VANS[0]].to_parquet(day)
    run = json.loads(fleetscore(folder, "run", name, "--window", "2026-11-22", "--json").stdout)
    assert run["record"]["counts"] == {"scored": 7, "late": 1}


def test_the_schedule_that_new_wrote_starts_the_window(folder: Path) -> None:
    """At half past three the day before is due, and it is the app's timer that submits it."""
    store = open_store(str(folder / ".fleetscore" / "store"))
    due = submit_due(store, datetime(2026, 11, 23, 2, 31, tzinfo=UTC))
    assert ("vans", "2026-11-22") in {(one.request.workload, one.request.window) for one in due}


def test_the_local_cloud_offloads_the_fleet_with_the_same_results(folder: Path) -> None:
    """`fleetscore cloud` runs the store's own fleet with its shards on the local Batch service; the rows are the loop's."""
    words = [
        "--workload",
        "vans",
        "--store",
        ".fleetscore/store",
        "--from",
        DAY,
        "--folder",
        "cloud",
        "--json",
    ]
    answer = json.loads(fleetscore(folder, "cloud", *words).stdout)
    assert answer["placed"][0]["batch_shards"] >= 1
    assert answer["placed"][0]["inline_shards"] == 0
    with local_storage(folder / "cloud" / "storage") as storage:
        store = open_store(f"{storage.blobs}/own-fleets")
        rows = read_results(store, read_manifest(store, "vans", DAY)).to_pandas()
    assert_equal(rows, loop(folder, lambda van, _: folder / "models" / f"{van}.joblib"))
