"""Drift: planted shifts and frozen sensors are found, everything else is left in peace, and the measures are what they say."""

import json
import math
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from app_host import Host
from hypothesis import given
from hypothesis import strategies as st
from toy_workload import write_lines

from fleetscore.errors import MissingBlobError, SettingsError
from fleetscore.models.profiles import summarise
from fleetscore.operations.drift_report import describe_drift
from fleetscore.pipeline.drift import compare
from fleetscore.pipeline.local import run_training, run_window
from fleetscore.pipeline.profiles import merge, read_profile
from fleetscore.records import RunState
from fleetscore.registry import get_workload
from fleetscore.runs.ledgers import read_ledger
from fleetscore.schemas import DRIFTED
from fleetscore.settings import QualityPolicy, read_quality_policy
from fleetscore.store.base import Store

POLICY = QualityPolicy()
FINITE = st.floats(-1e3, 1e3)
SPREAD = st.floats(0.01, 100)


def sketch(**columns: list[float]) -> pa.Table:
    """A sketch of partitions p0, p1, ... of model m."""
    count = len(next(iter(columns.values())))
    keys = [f"p{i}" for i in range(count)]
    return pa.table({"partition": keys, "model": ["m"] * count} | columns)


@given(st.lists(st.tuples(FINITE, SPREAD, FINITE, SPREAD), min_size=1, max_size=20))
def test_the_score_is_the_worst_measure_in_units_of_its_limit(
    rows: list[tuple[float, float, float, float]],
) -> None:
    """Recomputed one by one with plain arithmetic."""
    mean, std, mean0, std0 = (list(column) for column in zip(*rows, strict=True))
    now = sketch(n=[100.0] * len(rows), mean=mean, std=std)
    before = sketch(n=[100.0] * len(rows), mean=mean0, std=std0)
    for line, (m, s, m0, s0) in zip(compare(now, before, POLICY).to_pylist(), rows, strict=True):
        shift, spread = min(abs(m - m0) / s0, 1e6), abs(math.log(s / s0))
        assert line["shift"] == pytest.approx(shift, abs=1e-9)
        assert line["spread"] == pytest.approx(spread, abs=1e-9)
        score = max(shift / POLICY.shift_limit, spread / POLICY.spread_limit)
        assert line["score"] == pytest.approx(score, abs=1e-9)
        assert line["is_drifted"] == (line["score"] > 1)


def test_without_anything_to_compare_with_there_is_no_score() -> None:
    """No profile, an unknown partition, or too few values: nothing is said; missing input is told all the same."""
    now = sketch(n=[100.0, 3.0], mean=[9.0, 9.0], std=[1.0, 1.0])
    before = sketch(n=[100.0, 100.0], mean=[0.0, 0.0], std=[1.0, 1.0])
    assert [line["score"] for line in compare(now, None, POLICY).to_pylist()] == [None, None]
    assert [line["is_drifted"] for line in compare(now, before, POLICY).to_pylist()] == [True, False]
    assert compare(now, before.slice(1), POLICY).to_pylist()[0]["score"] is None
    gaps = now.append_column("missing_share", pa.array([0.9, 0.1]))
    assert [line["worst"] for line in compare(gaps, None, POLICY).to_pylist()] == ["missing", "missing"]
    assert [line["is_drifted"] for line in compare(gaps, None, POLICY).to_pylist()] == [True, False]


def test_a_prediction_that_left_the_fleet_is_found() -> None:
    """A column that only the first run's profile has is compared in units of its spread over the fleet."""
    flat = {"n": [100.0] * 4, "mean": [0.0] * 4, "std": [1.0] * 4}
    before = sketch(**flat, score_mean=[1.0, 2.0, 3.0, 4.0])
    now = sketch(**flat, score_mean=[1.0, 2.0, 3.0, 14.0])
    lines = compare(now, before, POLICY).to_pylist()
    assert lines[3]["prediction"] == pytest.approx(10 / np.std([1, 2, 3, 4]))
    assert [(line["worst"], line["is_drifted"]) for line in lines][3] == ("prediction", True)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.none() | FINITE), min_size=1, max_size=30))
def test_profiles_are_means_and_deviations_of_what_is_there(values: list[tuple[str, float | None]]) -> None:
    """Against numpy, partition by partition; missing values count nowhere."""
    profile = summarise(pa.array([k for k, _ in values]), pa.array([v for _, v in values], pa.float64()))
    for row in profile.to_pylist():
        mine = [v for k, v in values if k == row["partition"] and v is not None]
        assert row["n"] == len(mine)
        if mine:
            assert (row["mean"], row["std"]) == (
                pytest.approx(np.mean(mine), abs=1e-6),
                pytest.approx(np.std(mine), abs=1e-4),
            )


def test_training_counts_before_the_first_run_and_the_first_run_completes_it() -> None:
    """n, mean and std come from training where it knows the partition, all else from the first run."""
    trained = pa.table({"partition": ["a", "c"], "mean": [1.0, 3.0], "std": [0.1, 0.3]})
    first = pa.table({"partition": ["a", "b"], "mean": [7.0, 8.0], "std": [0.7, 0.8], "q": [5.0, 6.0]})
    rows = {row["partition"]: row for row in merge(trained, first).to_pylist()}
    assert rows["a"] == {"partition": "a", "mean": 1.0, "std": 0.1, "q": 5.0}
    assert rows["b"] == {"partition": "b", "mean": 8.0, "std": 0.8, "q": 6.0}
    assert (rows["c"]["mean"], rows["c"]["q"]) == (3.0, None)


def test_limits_are_settings_with_ranges(store: Store) -> None:
    """[quality] is read apart from the workload's own lines; a limit of zero and an unknown line are refused by name."""
    store.write("settings/toy.toml", b"slow_s = 0.1\n[quality]\nshift_limit = 2.0\n")
    assert read_quality_policy(store, "toy").shift_limit == 2.0
    write_lines(store, "2026-01-01T00", [("a", 1, "ok")])
    assert run_window(store, "toy", "2026-01-01T00").state is RunState.PUBLISHED
    for line in (b"shift_limit = 0.0", b"shift = 1.0"):
        store.write("settings/toy.toml", b"[quality]\n" + line)
        with pytest.raises(SettingsError, match="quality"):
            read_quality_policy(store, "toy")


READINGS = "data/sensor_anomaly/more.csv"


def write_hour(store: Store, hour: str, faults: dict[int, Callable[[float], float]]) -> None:
    """120 readings of ten sensors in that hour, around 50 with deviation 5, some of them with a fault."""
    random = np.random.default_rng(int(hour[-2:]))
    lines = ["ts,device,sensor,value"]
    for sensor in range(10):
        change = faults.get(sensor, float)
        for number, value in enumerate(random.normal(50, 5, 120)):
            lines.append(f"{hour}:{number // 2:02d}:{30 * (number % 2):02d}Z,d,{sensor},{change(value):.3f}")
    store.write(f"data/sensor_anomaly/{hour.replace(':', '')}.csv", "\n".join(lines).encode())


def test_planted_faults_are_found_and_nothing_else(
    store: Store, command: Callable[..., tuple[int, str]]
) -> None:
    """A shifted, a frozen and a wild sensor are warned of by name and measure; their results stand; the seven others have no remark."""
    write_hour(store, "2026-01-01T00", {})
    write_hour(
        store, "2026-01-01T01", {3: lambda v: v + 60, 5: lambda v: 50.0, 7: lambda v: 50 + 30 * (v - 50)}
    )
    run_training(store, "sensor_anomaly", "2026-01-01T00", "2026-01-01T01")
    record = run_window(store, "sensor_anomaly", "2026-01-01T01")
    ledger = {row["partition"]: row for row in read_ledger(store, record.request.run).to_pylist()}
    assert {k for k, row in ledger.items() if row["cause"] == DRIFTED} == {"d/3", "d/5", "d/7"}
    assert all(row["outcome"] == "scored" and row["rows"] == 120 for row in ledger.values())
    assert (record.facts["drifted"], [c.cause for c in record.causes]) == (3, [DRIFTED])
    report = describe_drift(store, record.request.run)
    assert {line.partition: line.worst for line in report.worst if (line.score or 0) > 1} == {
        "d/3": "shift", "d/5": "spread", "d/7": "spread",
    }  # fmt: skip
    assert (report.partitions, report.compared, report.drifted) == (10, 10, 3)
    code, said = command("drift", record.request.run, "--limit", "3")
    assert (code, [f"d/{n}" in said for n in (3, 5, 7, 1)]) == (0, [True, True, True, False])
    assert json.loads(command("drift", record.request.run, "--json")[1])["drifted"] == 3


def test_the_profile_is_that_of_the_first_published_run(store: Store) -> None:
    """A later run of the same version changes nothing; collecting twice gives the same drift."""
    for hour in range(3):
        write_hour(store, f"2026-01-01T0{hour}", {})
    run_training(store, "sensor_anomaly", "2026-01-01T00", "2026-01-01T01")
    first = run_window(store, "sensor_anomaly", "2026-01-01T01")
    version = next(iter(first.models))
    profile = read_profile(store, get_workload(store, "sensor_anomaly"), version)
    run_window(store, "sensor_anomaly", "2026-01-01T02")
    assert profile is not None
    assert {"mean", "std", "score_mean"} <= set(profile.column_names)
    assert profile.equals(read_profile(store, get_workload(store, "sensor_anomaly"), version))


def test_the_door_tells_the_same(
    host: Host, host_store: Store, command: Callable[..., tuple[int, str]]
) -> None:
    """A run without sketches has nothing to tell; an unknown run is not there."""
    write_lines(host_store, "2026-01-01T00", [("a", 1, "ok")])
    run = host.post("runs", {"workload": "toy", "window": "2026-01-01T00"}).json()["id"]
    host.ended(run)
    assert host.get(f"runs/{run}/drift")["drifted"] == 0
    assert json.loads(command("drift", run, "--json", "--host", host.url, "--key", host.key)[1]) == host.get(
        f"runs/{run}/drift"
    )
    assert host.get("runs/ghost/drift")["error"]["code"] == "no_run"
    with pytest.raises(MissingBlobError):
        describe_drift(host_store, "ghost")
