"""Judges of the real workloads agree with a recount one by one."""

import csv
import io
from collections import defaultdict

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fleetscore.errors import InputError
from fleetscore.models.model_sets import list_model_sets
from fleetscore.models.pins import pin_challenger, pin_version, read_pins
from fleetscore.operations.champions.verdicts import judge_challenger
from fleetscore.pipeline.local import run_training, run_window
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.schemas import JUDGED
from fleetscore.store.base import Store
from fleetscore.workload import RunContext
from fleetscore.workloads.sensor_anomaly.labelled import labels_folder
from fleetscore.workloads.sensor_anomaly.settings import SensorSettings
from fleetscore.workloads.sensor_anomaly.workload import SensorAnomaly
from fleetscore.workloads.server_load import samples as load_samples
from fleetscore.workloads.server_load.workload import ServerLoad
from fleetscore.workloads.store_sales import contract as sales
from fleetscore.workloads.store_sales.workload import StoreSales

TOLD = (4.0, 5.0, 8.0, 11.0, 20.0)


def test_sensor_verdicts_are_judged_by_labels(store: Store) -> None:
    """The loss is the share of labelled readings called wrongly; the last label of a reading counts; bad files are named."""
    workload = SensorAnomaly()
    report = workload.samples(store, scale=0.02)
    window = report.first
    run_training(store, "sensor_anomaly", window.next(-2).key, window.key)
    champion = read_pins(store, "sensor_anomaly").current
    store.write("settings/sensor_anomaly.toml", b"nu = 0.2\n")
    run_training(store, "sensor_anomaly", window.next(-2).key, window.key)
    other = next(v for v in list_model_sets(store, "sensor_anomaly") if v != champion)
    pin_version(store, "sensor_anomaly", champion)
    pin_challenger(store, "sensor_anomaly", other)
    run_window(store, "sensor_anomaly", window.key)
    results = read_results(store, read_manifest(store, "sensor_anomaly", window.key))
    assert workload.judge(store, window, results).equals(JUDGED.empty_table())
    rows = results.select(["ts", "device", "sensor", "anomaly"]).to_pylist()[:400]
    wrong: dict[str, list[bool]] = defaultdict(list)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["ts", "device", "sensor", "anomaly"])
    for number, row in enumerate(rows):
        label = row["anomaly"] ^ (number % 7 == 0)
        stamp = row["ts"].isoformat() if number % 2 else row["ts"].isoformat().removesuffix("+00:00")
        writer.writerow([stamp, row["device"], row["sensor"], 1 - label])  # corrected by the line below
        writer.writerow([stamp, row["device"], row["sensor"], label])
        wrong[f"{row['device']}/{row['sensor']}"].append(number % 7 == 0)
    store.write(f"{labels_folder(SensorSettings())}a.csv", text.getvalue().encode())
    judged = {row["partition"]: row for row in workload.judge(store, window, results).to_pylist()}
    assert judged.keys() == wrong.keys()
    for key, flags in wrong.items():
        assert (judged[key]["loss"], judged[key]["cases"]) == (
            pytest.approx(sum(flags) / len(flags)),
            len(flags),
        )
    verdict = judge_challenger(
        store, "sensor_anomaly", window.key, window.next().key, report.first.start, "me"
    )
    assert verdict.champion_loss == pytest.approx(sum(map(sum, wrong.values())) / 400)
    assert verdict.challenger_loss > verdict.champion_loss  # a fifth of all readings are anomalies to it
    store.write(f"{labels_folder(SensorSettings())}b.csv", b"when,what\n1,2\n")
    with pytest.raises(InputError, match=r"b\.csv"):
        workload.judge(store, window, results)


def test_sales_forecasts_are_judged_by_the_sales_that_came(store: Store) -> None:
    """The loss of a store is the mean pinball loss over SKUs, weeks and quantiles; weeks without sales yet are no cases."""
    history = ["store,sku,week,sales,price,deal,feat"]
    for week in range(100, 103):
        history += [f"s1,a,{week},{10 + week - 100},1.0,0,0", f"s2,a,{week},5,1.0,0,0"]
    store.write("data/store_sales/history.csv", "\n".join(history).encode())
    workload = StoreSales()
    window = workload.parse_window("100")
    lines = [
        {"store": s, "sku": "a", "week": str(99 + step), "step": step, **dict(zip(sales.QUANTILE_NAMES, TOLD, strict=True)),
         "fallback": False, "model": "m"}
        for s in ("s1", "s2") for step in range(1, 5)
    ]  # fmt: skip
    judged = {
        row["partition"]: row
        for row in workload.judge(store, window, pa.Table.from_pylist(lines, sales.RESULTS)).to_pylist()
    }
    for key, came in (("s1", [10, 11, 12]), ("s2", [5, 5, 5])):
        losses = [
            max(level * (y - q), (level - 1) * (y - q))
            for y in came
            for level, q in zip(sales.QUANTILES, TOLD, strict=True)
        ]
        assert judged[key]["loss"] == pytest.approx(sum(losses) / len(losses))
        assert judged[key]["cases"] == 3


def test_load_classes_are_judged_by_the_logs_that_came(store: Store) -> None:
    """The loss of a server is the share of its hours with sessions whose class was told wrongly."""
    workload = ServerLoad()
    report = workload.samples(store, scale=0.02)
    window = report.first
    run = RunContext(store, workload, report.stop.next(-1))
    while items := workload.map_items(run):
        for item in items:
            workload.map_item(run, item)
    with store.open(load_samples.TRUTH_PATH) as file:
        truth = pq.read_table(file)
    start, stop = window.end, window.next(2).end
    hours = [row for row in truth.to_pylist() if start <= row["hour"] < stop]
    assert hours
    rows, wrong = [], defaultdict(list)
    for number, row in enumerate(hours):
        told = "low" if number % 3 == 0 else row["load_class"]
        rows.append(
            {
                "server": row["server"],
                "hour": row["hour"],
                "load_class": told,
                "p_low": 1.0,
                "p_medium": 0.0,
                "p_high": 0.0,
                "model": "m",
            }
        )
        wrong[row["server"]].append(told != row["load_class"])
    judged = {
        row["partition"]: row
        for row in workload.judge(
            store, window, pa.Table.from_pylist(rows, workload.result_schema)
        ).to_pylist()
    }
    assert judged.keys() <= wrong.keys()
    assert judged
    for key, row in judged.items():
        assert (row["loss"], row["cases"]) == (
            pytest.approx(sum(wrong[key]) / len(wrong[key])),
            len(wrong[key]),
        )
