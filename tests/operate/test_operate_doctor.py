"""The doctor finds each planted fault by name, says what to fix, and calls nothing ok that it did not look at."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from app_host import Host
from toy_workload import write_lines

from fleetscore.app_settings import AppSettings
from fleetscore.batch.interface import PoolState
from fleetscore.errors import CapacityError
from fleetscore.models.model_sets import read_model_set
from fleetscore.models.pins import read_pins
from fleetscore.operations.doctor import checks as doctor
from fleetscore.operations.doctor.checks import examine, judge_clock
from fleetscore.operations.doctor.findings import Diagnosis
from fleetscore.operations.notices.notice import Notice
from fleetscore.operations.notices.targets import QUEUE
from fleetscore.pipeline.local import run_training, run_window
from fleetscore.records import to_json
from fleetscore.store.base import Store

WINDOW = "2026-01-01T00"


def now() -> datetime:
    """The time."""
    return datetime.now(UTC)


def of(diagnosis: Diagnosis, check: str) -> set[str]:
    """The states of a check's findings."""
    return {finding.state for finding in diagnosis.findings if finding.check == check}


@pytest.fixture
def trained(store: Store) -> Store:
    """A store with data and a pinned model set."""
    write_lines(store, WINDOW, [("a", 1, "ok")])
    run_training(store, "toy", WINDOW, "2026-01-01T01")
    return store


def test_a_healthy_store_is_healthy_and_is_left_as_it_was(trained: Store) -> None:
    """Everything that was looked at is ok; what was not says so; the probe is gone."""
    before = {entry.path: entry.etag for entry in trained.list("")}
    diagnosis = examine(trained, AppSettings(webhook_url="http://127.0.0.1:9/", webhook_private=1), now)
    assert diagnosis.healthy
    assert [of(diagnosis, check) for check in ("settings", "schedules", "store", "clock", "notices")] == [
        {"ok"}
    ] * 5
    assert [of(diagnosis, check) for check in ("queue", "batch", "quota")] == [{"not checked"}] * 3
    assert "ok" in of(diagnosis, "models")
    assert {entry.path: entry.etag for entry in trained.list("")} == before


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_damaged_model_set_is_found(trained: Store, damage: str) -> None:
    """A file that is missing or has another size is named, with the command to pin another."""
    version = read_pins(trained, "toy").current
    name = next(iter(read_model_set(trained, "toy", version).files))
    path = f"models/toy/{version}/{name}"
    trained.delete(path) if damage == "gone" else trained.write(path, b"")
    diagnosis = examine(trained, AppSettings(), now)
    wrong = [finding for finding in diagnosis.findings if finding.state == "wrong"]
    assert not diagnosis.healthy
    assert [(finding.check, name in finding.detail, "models pin" in finding.fix) for finding in wrong] == [
        ("models", True, True)
    ]


def test_wrong_settings_and_schedules_are_found(
    trained: Store, command: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown line of a workload's settings and a schedule that is none are each told, and the command exits with 1."""
    trained.write("settings/toy.toml", b"[run]\nlook_back = 3\n")
    monkeypatch.setenv("FLEETSCORE_STORE_SALES_SCHEDULE", "every monday")
    code, said = command("doctor", "--json")
    told = json.loads(said)
    wrong = {finding["check"] for finding in told["findings"] if finding["state"] == "wrong"}
    assert (code, told["healthy"], {"settings", "schedules"} <= wrong) == (1, False, True)
    code, said = command("doctor")
    assert (code, "look_back" in said, "FLEETSCORE_STORE_SALES_SCHEDULE" in said) == (1, True, True)


def test_a_clock_that_is_off_is_wrong_either_way(trained: Store) -> None:
    """A minute may pass, more may not; measured against the store's own time."""
    assert [judge_clock(s).state for s in (0.0, -59.0, 61.0, -61.0)] == ["ok", "ok", "wrong", "wrong"]
    off = examine(trained, AppSettings(), lambda: now() + timedelta(minutes=10))
    assert of(off, "clock") == {"wrong"}


class Pool:
    """A pool as the service would tell of it."""

    def __init__(self, **facts: object) -> None:
        told = {
            "state": "active", "usable_nodes": 0, "current_dedicated": 0, "current_spot": 0, "target_dedicated": 0, "target_spot": 0,
            "most_dedicated": 2, "most_spot": 10, "slots_per_node": 4, "vm_size": "Standard_D4ads_v5",
        } | facts  # fmt: skip
        self._state = PoolState(**told)  # type: ignore[arg-type]  # fields by name

    def pool_state(self) -> PoolState:
        """How it stands."""
        if self._state.state == "missing":
            raise CapacityError("There is no pool.", fix="Deploy it.")
        return self._state


@pytest.mark.parametrize(
    ("facts", "quota", "batch", "quotas"),
    [
        ({}, "dedicated_cores = 8\nspot_cores = 40", "ok", {"ok"}),
        ({}, "dedicated_cores = 0\nspot_cores = 40", "ok", {"ok", "wrong"}),
        ({}, "", "ok", {"not checked"}),
        ({"problems": ("resize failed: AccountCoreQuotaReached",)}, "", "wrong", {"not checked"}),
        ({"most_dedicated": 0, "most_spot": 0}, "", "wrong", {"not checked"}),
        ({"state": "missing"}, "", "wrong", {"not checked"}),
    ],
)
def test_a_pool_that_cannot_work_is_found_before_a_run_needs_it(
    trained: Store,
    monkeypatch: pytest.MonkeyPatch,
    facts: dict[str, object],
    quota: str,
    batch: str,
    quotas: set[str],
) -> None:
    """Resize errors, no nodes, no pool, and a quota that is too small, with the number of cores to request."""
    from fleetscore.pipeline.cost import _SHIPPED

    text = _SHIPPED.read_text()
    trained.write("settings/prices.toml", (text.split("[quota]")[0] + f"\n[quota]\n{quota}\n").encode())
    monkeypatch.setattr(doctor, "connect_compute", lambda app: Pool(**facts))
    app = AppSettings(
        batch_endpoint="https://x.westeurope.batch.azure.com", batch_image="x.azurecr.io/w@sha256:0"
    )
    diagnosis = examine(trained, app, now)
    assert of(diagnosis, "batch") == {batch}
    assert of(diagnosis, "quota") == quotas
    if quota.startswith("dedicated_cores = 0"):
        assert any("Request 8 dedicated cores" in finding.fix for finding in diagnosis.findings)


def test_queues_are_looked_at(trained: Store, azurite: str) -> None:
    """A queue that is missing is wrong, one that is there tells about how many messages wait."""
    from azure.core.exceptions import ResourceNotFoundError
    from azure.storage.queue import QueueServiceClient

    endpoint = next(part for part in azurite.split(";") if part.startswith("QueueEndpoint=")).split("=", 1)[1]
    service = QueueServiceClient.from_connection_string(azurite)
    service.create_queue("doctor-completions").send_message("x")
    with suppress(ResourceNotFoundError):  # another test of this process may have sent notices
        service.delete_queue(QUEUE)
    app = AppSettings(queue_service=endpoint, completion_queue="doctor-completions")
    found = [finding for finding in examine(trained, app, now).findings if finding.check == "queue"]
    assert [finding.state for finding in found] == ["ok", "wrong"]
    assert "about 1 messages" in found[0].detail


def test_a_task_hub_queue_that_nobody_takes_from_is_named(
    trained: Store, azurite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue whose oldest message has waited too long is wrong, with its age and what to do; one with a fresh message is ok."""
    from azure.storage.queue import QueueServiceClient

    endpoint = next(part for part in azurite.split(";") if part.startswith("QueueEndpoint=")).split("=", 1)[1]
    service = QueueServiceClient.from_connection_string(azurite)
    for number in range(2):
        service.create_queue(f"doctorhub-control-0{number}")
    service.get_queue_client("doctorhub-control-01").send_message("x")
    app = AppSettings(hub_queue_service=endpoint, task_hub="DoctorHub")
    assert of(examine(trained, app, now), "task hub") == {"ok"}
    monkeypatch.setattr(doctor, "_HUB_WAIT_S", -60.0)  # a message cannot be made to have waited
    (found,) = [finding for finding in examine(trained, app, now).findings if finding.check == "task hub"]
    assert (found.state, "doctorhub-control-01" in found.detail, "cancel --force" in found.fix) == (
        "wrong",
        True,
        True,
    )
    assert of(examine(trained, AppSettings(), now), "task hub") == {"not checked"}


def test_data_without_models_overdue_windows_and_waiting_notices_are_warnings(store: Store) -> None:
    """They are told with what to do, and do not make the deployment unhealthy."""
    write_lines(store, WINDOW, [("a", 1, "ok")])
    store.write("notices/pending/x.json", to_json(Notice("x", "drift", "toy", "It drifted.", now())))
    diagnosis = examine(store, AppSettings(), now)
    assert diagnosis.healthy
    assert ("warning" in of(diagnosis, "models"), of(diagnosis, "notices")) == (True, {"warning"})


def test_windows_that_were_never_started_are_one_finding(trained: Store) -> None:
    """However many they are: one line, and the one backfill that runs exactly them."""
    hours = [now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=n) for n in (6, 5, 4, 3)]
    keys = [f"{hour:%Y-%m-%dT%H}" for hour in hours]
    write_lines(trained, keys[0], [("a", 1, "ok")])
    run_window(trained, "toy", keys[0])
    trained.write("settings/toy.toml", b"[run]\noverdue_s = 60.0\n")
    found = [
        f for f in examine(trained, AppSettings(), now).findings if f.check == "runs" and "toy" in f.detail
    ]
    assert [(f.state, f"windows of toy, {keys[1]} to " in f.detail) for f in found] == [("warning", True)]
    assert f"fleetscore backfill toy --from {keys[1]} --to " in found[0].fix


def test_the_app_examines_itself(host: Host, command: Callable[..., tuple[int, str]]) -> None:
    """GET /api/doctor and `doctor --host`."""
    assert host.get("doctor")["healthy"]
    code, said = command("doctor", "--host", host.url, "--key", host.key)
    assert (code, "Nothing is wrong." in said) == (0, True)
