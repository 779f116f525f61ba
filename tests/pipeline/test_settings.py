"""Settings are typed, have defaults, and name the line at fault."""

import os
from pathlib import Path

import pytest
from toy_workload import ToySettings

from fleetscore.app_settings import AppSettings, read_app_settings
from fleetscore.errors import SettingsError
from fleetscore.operations.doctor.workloads import judge_settings
from fleetscore.pipeline.cost import find_prices, read_prices
from fleetscore.registry import find_workload, find_workloads, get_workload, read_policy
from fleetscore.settings import RunPolicy, read_workload_settings
from fleetscore.store.base import Store
from fleetscore.store.local import LocalStore


def test_without_a_file_every_setting_has_its_default(store: Store) -> None:
    """A new store needs no settings."""
    assert read_workload_settings(store, "toy", ToySettings) == ToySettings()
    assert read_policy(store, "toy") == RunPolicy()
    assert read_app_settings({}) == AppSettings()


def test_a_file_changes_what_it_names(store: Store) -> None:
    """The workload's own lines and its [run] table are read apart."""
    store.write("settings/toy.toml", b"slow_s = 1.5\n[run]\nerror_threshold = 0.5\n")
    assert read_workload_settings(store, "toy", ToySettings).slow_s == 1.5
    assert read_policy(store, "toy").error_threshold == 0.5


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"slow_s = 'x'", "slow_s"),
        (b"speed = 1", "no setting 'speed'"),
        (b"[run]\nthreshold = 1", "no setting 'threshold'"),
        (b"[run]\nerror_threshold = nan", "error_threshold is nan; it must be from 0 to 1"),
        (b"[run]\nerror_threshold = 1.0000001", "error_threshold is 1.0000001; it must be from 0 to 1"),
        (b"[run]\nerror_threshold = -1", "error_threshold"),
        (b"[run]\nwatermark_s = inf", "watermark_s"),
        (b"[run]\nwatermark_s = 1e300", "watermark_s"),
        (b"[run]\nmax_attempts = 0", "max_attempts"),
        (b"x = " + b"[" * 5_000 + b"]" * 5_000, "not TOML"),
        (b"slow_s = ", "not TOML"),
        (b"\xff", "not TOML"),
    ],
)
def test_a_wrong_line_is_named(store: Store, text: bytes, says: str) -> None:
    """Wrong type, unknown name and broken syntax each say what and where."""
    store.write("settings/toy.toml", text)
    with pytest.raises(SettingsError, match=says):
        read_workload_settings(store, "toy", ToySettings)
        read_policy(store, "toy")


@pytest.mark.parametrize("text", ["many", "-1", "5000"])
def test_a_number_out_of_range_names_variable_and_range(text: str) -> None:
    """FLEETSCORE_PARALLELISM takes 0 to 1024."""
    with pytest.raises(SettingsError, match="0 to 1024") as caught:
        read_app_settings({"FLEETSCORE_PARALLELISM": text})
    assert caught.value.field == "FLEETSCORE_PARALLELISM"


def test_a_folder_in_the_place_of_the_prices_makes_costs_unknown(tmp_path: Path) -> None:
    """It is named, where the prices that ship were taken without a word."""
    store = LocalStore(tmp_path / "store")
    (store.root / "settings" / "prices.toml").mkdir(parents=True)
    with pytest.raises(SettingsError, match=r"prices\.toml is a folder"):
        read_prices(store)
    assert find_prices(store).problem.startswith("Costs are unknown: settings/prices.toml is a folder")


def test_a_named_pipe_in_the_place_of_the_prices_makes_costs_unknown(tmp_path: Path) -> None:
    """What is no regular file is named, and no run waits for it or ends by it."""
    store = LocalStore(tmp_path / "store")
    (store.root / "settings").mkdir(parents=True)
    os.mkfifo(store.root / "settings" / "prices.toml")
    with pytest.raises(SettingsError, match=r"prices\.toml is no regular file"):
        read_prices(store)
    assert "settings/prices.toml is no regular file" in find_prices(store).problem


def test_a_named_pipe_in_the_place_of_settings_is_an_error_of_settings(tmp_path: Path) -> None:
    """It is told as wrong settings with its path, not as a store that failed."""
    store = LocalStore(tmp_path / "store")
    (store.root / "settings").mkdir(parents=True)
    os.mkfifo(store.root / "settings" / "sensor_anomaly.toml")
    with pytest.raises(SettingsError, match=r"sensor_anomaly\.toml is no regular file"):
        get_workload(store, "sensor_anomaly")
    assert "no regular file" in find_workload(store, "sensor_anomaly").reason


@pytest.mark.parametrize("name", ["sensor_anomaly", "vans"])
def test_a_link_in_a_circle_in_the_place_of_settings_is_an_error_of_settings(
    tmp_path: Path, name: str
) -> None:
    """A symbolic link that leads to itself is named as the settings' fault, also of a workload that needs none."""
    store = LocalStore(tmp_path / "store")
    (store.root / "settings").mkdir(parents=True)
    (store.root / "settings" / f"{name}.toml").symlink_to(f"{name}.toml")
    with pytest.raises(SettingsError, match=rf"settings/{name}\.toml .* leads in a circle"):
        get_workload(store, name)


def test_a_link_in_a_circle_in_the_place_of_settings_is_wrong_to_the_doctor(tmp_path: Path) -> None:
    """Where defaults would do, the doctor does not call settings right that no run can read."""
    store = LocalStore(tmp_path / "store")
    (store.root / "settings").mkdir(parents=True)
    (store.root / "settings" / "sensor_anomaly.toml").symlink_to("sensor_anomaly.toml")
    listed = next(one for one in find_workloads(store) if one.name == "sensor_anomaly")
    found = judge_settings(store, listed)
    assert (found.state, "leads in a circle" in found.detail) == ("wrong", True)


def test_a_folder_in_the_place_of_settings_is_an_error(tmp_path: Path) -> None:
    """What stands at a settings path and is no file is named by the run and by the doctor, and is no default."""
    store = LocalStore(tmp_path / "store")
    (store.root / "settings" / "sensor_anomaly.toml").mkdir(parents=True)
    with pytest.raises(SettingsError, match=r"sensor_anomaly\.toml is a folder"):
        read_policy(store, "sensor_anomaly")
    with pytest.raises(SettingsError, match=r"sensor_anomaly\.toml is a folder"):
        get_workload(store, "sensor_anomaly")
    found = judge_settings(store, find_workload(store, "sensor_anomaly"))
    assert (found.state, found.detail) == (
        "wrong",
        "sensor_anomaly: settings/sensor_anomaly.toml is a folder.",
    )
    listed = next(one for one in find_workloads(store) if one.name == "sensor_anomaly")
    assert judge_settings(store, listed).state == "wrong"
