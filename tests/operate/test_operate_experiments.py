"""Experiments: a model set is one run of MLflow, sent once, and a server that is away costs no training anything."""

import csv
import io
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
import requests
from mlflow_server import tracking
from notice_receiver import Receiver, receiving
from toy_workload import Toy, write_lines

from fleetscore.models.model_sets import ModelSet
from fleetscore.operations.doctor.outboxes import find_trouble_of_experiments
from fleetscore.operations.metadata import mlflow_api
from fleetscore.operations.metadata.experiments import _params, hand_over_experiment, send_experiments
from fleetscore.operations.metadata.outbox import enter, list_pending
from fleetscore.pipeline.local import run_training, run_window
from fleetscore.records import RunRecord
from fleetscore.store.base import Store
from fleetscore.workload import RunContext, Shard, Trained

WINDOW = "2026-01-01T00"
NOW = datetime(2026, 1, 2, tzinfo=UTC)
SECRET = "geheim-key-123"


def measured(self: Toy, run: RunContext, shard: Shard, train: Any = Toy.train) -> Trained:
    """What the toy trains, with a row of metrics per key; one of them is no number."""
    rows = [{"partition": key, "mae": float(number), "note": "ü,"} for number, key in enumerate(shard.keys)]
    return replace(
        train(self, run, shard), metrics=pa.Table.from_pylist([*rows[:-1], {**rows[-1], "mae": None}])
    )


@pytest.fixture
def trained(store: Store, monkeypatch: pytest.MonkeyPatch) -> RunRecord:
    """A training of three partitions that has stored a model set."""
    monkeypatch.setattr(Toy, "train", measured)
    store.write("settings/toy.toml", b"[run]\nbatch_shard_s = 1000.0\n")
    write_lines(store, WINDOW, [(key, 1, "ok") for key in ("a", "b", "c")])
    return run_training(store, "toy", WINDOW, "2026-01-01T01")


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A server that refuses everything, named by the environment with a token."""
    with receiving() as receiver:
        receiver.refusals, receiver.answer = 1000, f"no, {SECRET}".encode()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", receiver.url.partition("/hook")[0])
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", SECRET)
        yield receiver


@pytest.mark.slow
@pytest.mark.timeout(1800)  # the first time MLflow is installed
def test_a_model_set_is_one_run_of_a_real_server(
    store: Store, trained: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parameters, metrics over the keys, the table of metrics and the set's address in one run; sent again it stays one."""
    with tracking() as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        enter(store, "mlflow", trained.request.run, NOW)
        assert send_experiments(store, NOW) == 1, [entry.refusal for entry in list_pending(store, "mlflow")]
        (run,) = server.runs("fleetscore.toy")
        tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
        assert tags["fleetscore.model_set"] == f"{store.url}/models/toy/{trained.model_set}"
        assert tags["fleetscore.pinned_as"] == "current"
        assert (run["info"]["run_name"], run["info"]["status"]) == (trained.model_set, "FINISHED")
        params = {each["key"]: each["value"] for each in run["data"]["params"]}
        assert params == {
            "workload": "toy", "from": WINDOW, "to": "2026-01-01T01", "kind": "toy", "run": trained.request.run
        }  # fmt: skip
        metrics = {each["key"]: each["value"] for each in run["data"]["metrics"]}
        assert (metrics["partitions"], metrics["partitions_scored"]) == (3, 3)
        table = artifact(server.url, run)
        assert sorted(row["partition"] for row in table) == ["a", "b", "c"]
        known = [float(row["mae"]) for row in table if row["mae"]]
        assert metrics["mae_mean"] == pytest.approx(sum(known) / len(known))
        hand_over_experiment(store, trained, NOW)
        store.delete(f"outbox/mlflow/done/{trained.request.run}.json")
        enter(store, "mlflow", trained.request.run, NOW)
        assert send_experiments(store, NOW) == 1
        assert len(server.runs("fleetscore.toy")) == 1
    assert [finding.state for finding in find_trouble_of_experiments(store, NOW)] == ["ok"]


def artifact(url: str, run: Any) -> list[dict[str, str]]:
    """The rows of the run's table of metrics."""
    folder = run["info"]["artifact_uri"].removeprefix("mlflow-artifacts:").strip("/")
    answer = requests.get(f"{url}/api/2.0/mlflow-artifacts/artifacts/{folder}/metrics.csv", timeout=60)
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text)))


@pytest.mark.parametrize("status", [400, 404, 500, 302])
def test_a_server_that_refuses_is_seen_by_the_doctor(
    store: Store, trained: RunRecord, refusing: Receiver, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The model set waits, with status and text for the doctor, and the token in no log."""
    refusing.refusal = status
    enter(store, "mlflow", trained.request.run, NOW)
    with caplog.at_level(logging.DEBUG):
        assert send_experiments(store, NOW) == 0
        assert send_experiments(store, NOW) == 0  # not due yet
    assert refusing.asked == 1
    (finding,) = find_trouble_of_experiments(store, NOW)
    assert (finding.check, finding.state) == ("mlflow", "warning")
    assert f"answered {status}: no, ***" in finding.detail
    assert SECRET not in caplog.text + finding.detail


def test_an_answer_that_trickles_is_given_up(
    store: Store, trained: RunRecord, refusing: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that sends its answer byte by byte holds neither this model set nor the next one's turn for long."""
    monkeypatch.setattr(mlflow_api, "_TOTAL_S", 0.3)
    refusing.answer, refusing.pause_s, refusing.refusal = b"x" * 2000, 0.05, 200
    enter(store, "mlflow", trained.request.run, NOW)
    assert send_experiments(store, NOW) == 0
    (entry,) = list_pending(store, "mlflow")
    assert "does not answer: not all within" in entry.refusal


def test_what_nobody_tries_to_send_is_seen_by_the_doctor(
    store: Store, trained: RunRecord, refusing: Receiver
) -> None:
    """A model set that waits although no try was refused is a warning once its time is well over."""
    enter(store, "mlflow", trained.request.run, NOW)
    assert [found.state for found in find_trouble_of_experiments(store, NOW)] == ["ok"]
    (finding,) = find_trouble_of_experiments(store, NOW + timedelta(minutes=11))
    assert finding.state == "warning"
    assert "1 model sets wait" in finding.detail
    assert "Nothing tries to send them" in finding.detail


@pytest.mark.parametrize("answer", [b"", b"[]", b"<html>", b"{}", b'{"experiment": 5}'])
def test_an_answer_of_another_form_is_a_refusal(
    store: Store, trained: RunRecord, refusing: Receiver, answer: bytes
) -> None:
    """A server that is no MLflow and answers with 200 leaves the model set waiting, with a reason."""
    refusing.refusals, refusing.answer = 1000, answer
    refusing.refusal = 200
    enter(store, "mlflow", trained.request.run, NOW)
    assert send_experiments(store, NOW) == 0
    (entry,) = list_pending(store, "mlflow")
    assert "MLflow server at 127.0.0.1 answered" in entry.refusal


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/geheim-key-123", "sqlite:///x.db", "mlruns", "http://["]
)
def test_a_server_that_is_away_or_none_costs_nothing(
    store: Store, trained: RunRecord, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """Nothing is raised, the address is in no message, and after four days the model set is given up."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    enter(store, "mlflow", trained.request.run, NOW)
    assert send_experiments(store, NOW) == 0
    (finding,) = find_trouble_of_experiments(store, NOW)
    assert finding.state == "warning"
    assert SECRET not in finding.detail
    assert send_experiments(store, NOW + timedelta(days=5)) == 0
    assert list(list_pending(store, "mlflow")) == []


def test_scoring_makes_no_experiment_and_neither_does_training_without_a_server(
    store: Store, trained: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a model set is sent, and only where a server is named."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    hand_over_experiment(store, trained, NOW)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    hand_over_experiment(store, run_window(store, "toy", WINDOW), NOW)
    assert list(store.list("outbox/")) == []


def test_parameters_are_what_mlflow_takes(trained: RunRecord) -> None:
    """Single values of a card only, cut and with plain names, and a hundred at most."""
    card: dict[str, Any] = {f"key {number} ü%": "x" * 9000 for number in range(300)}
    card |= {"nested": {"deep": {"alpha": 0.1}}, "list": [1, 2], "none": None}
    params = _params(trained, ModelSet("toy", "v", NOW, {}, {"nested": card["nested"], **card}))
    assert len(params) == 100
    assert params["nested.deep.alpha"] == "0.1"
    assert {len(text) <= 500 for text in params.values()} == {True}
    assert "list" not in params
