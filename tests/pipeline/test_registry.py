"""Kinds are found by being there, workloads by being named; what is wrong with one costs only that one."""

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fleetscore.capabilities import Judges, Trains, require
from fleetscore.errors import InputError, SettingsError, StoreError
from fleetscore.models.pins import read_pins
from fleetscore.operations.known_workloads import find_named
from fleetscore.operations.watchdog import find_trouble
from fleetscore.pipeline.local import run_window
from fleetscore.registry import (
    _installed,
    find_workload,
    find_workloads,
    get_workload,
    kind_names,
    load_kind,
    workload_names,
)
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.store.base import Store
from fleetscore.testing import check_workload
from fleetscore.workloads.sensor_anomaly.workload import SensorAnomaly

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = (ROOT / "docs" / "examples" / "pumps.py").read_text()
HOUR = "2026-11-20T14"
OLD_SEAM = "from fleetscore.workloads.base import Workload, WindowRequest\n\nclass Old(Workload):\n    name = 'old'\n"


@pytest.fixture
def fleets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write modules of the package `fleets`, in a folder on the path."""
    folder = tmp_path / "sources" / "fleets"
    folder.mkdir(parents=True)
    monkeypatch.syspath_prepend(str(folder.parent))
    for name in [name for name in sys.modules if name == "fleets" or name.startswith("fleets.")]:
        monkeypatch.delitem(sys.modules, name)

    def write(name: str, text: str) -> None:
        (folder / f"{name}.py").write_text(text)

    yield write
    for name in [name for name in sys.modules if name == "fleets" or name.startswith("fleets.")]:
        del sys.modules[name]


def test_the_example_of_the_how_to_is_a_kind_of_at_most_fifty_lines(store: Store, fleets: Any) -> None:
    """The example, put into fleets/ and named by a settings file, keeps every promise and publishes its results."""
    assert len(EXAMPLE.splitlines()) <= 50
    fleets("pumps", EXAMPLE)
    store.write("settings/pumps.toml", b'kind = "pumps"\n')
    store.write(f"data/pumps/{HOUR}.csv", b"pump,pressure\na,1.0\na,3.0\nb,\nc,5.5\n")
    assert check_workload(get_workload(store, "pumps"), store).outcomes == {"scored": 2, "failed": 1}
    record = run_window(store, "pumps", HOUR)
    assert record.counts == {"failed": 1, "scored": 2} or record.state == "unpublished"
    store.write(f"data/pumps/{HOUR}.csv", b"pump,pressure\na,1.0\na,3.0\nc,5.5\n")
    assert run_window(store, "pumps", HOUR).state == "published"
    rows = read_results(store, read_manifest(store, "pumps", HOUR)).to_pylist()
    assert rows == [{"pump": "a", "mean": 2.0, "max": 3.0}, {"pump": "c", "mean": 5.5, "max": 5.5}]


def test_an_installed_package_adds_its_kind(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kind that an installed package names under the entry point group is a kind like any other, and runs."""
    package = tmp_path / "site"
    metadata = package / "acme_pumps-1.0.dist-info"
    metadata.mkdir(parents=True)
    (package / "acme_pumps.py").write_text(EXAMPLE)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-pumps\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[fleetscore.kinds]\npumps = acme_pumps\n")
    monkeypatch.syspath_prepend(str(package))
    _installed.cache_clear()
    try:
        store.write("settings/pumps.toml", b'kind = "pumps"\n')
        store.write(f"data/pumps/{HOUR}.csv", b"pump,pressure\na,1.0\nc,5.5\n")
        assert "pumps" in kind_names()
        assert run_window(store, "pumps", HOUR).counts == {"scored": 2}
    finally:
        monkeypatch.undo()
        _installed.cache_clear()


def test_kinds_are_found_without_a_list(fleets: Any) -> None:
    """Folders of fleetscore/workloads/, modules of fleets/ and FLEETSCORE_WORKLOADS are kinds; none is imported by being listed."""
    fleets("pumps", "raise RuntimeError('imported')")
    assert {"pumps", "sensor_anomaly", "server_load", "store_sales", "toy"} <= set(kind_names())
    shipped = {path.parent.name for path in (ROOT / "fleetscore" / "workloads").glob("*/workload.py")}
    assert shipped <= set(kind_names())


def test_a_second_workload_of_a_kind_has_its_own_name_settings_models_and_runs(store: Store) -> None:
    """Two workloads of sensor_anomaly on the same data share the data and nothing else."""
    store.write("settings/night_watch.toml", b'kind = "sensor_anomaly"\nreject_limit = 0.5\n')
    report = SensorAnomaly().samples(store, scale=0.02)
    night = get_workload(store, "night_watch")
    assert isinstance(night, SensorAnomaly)
    assert (night.name, night.settings.reject_limit, night.data_prefixes()) == (
        "night_watch",
        0.5,
        ("data/sensor_anomaly/",),
    )
    assert get_workload(store, "sensor_anomaly").settings.reject_limit == 0.1
    record = run_window(store, "night_watch", report.first.key)
    assert record.request.run == f"night_watch-{report.first.key}"
    assert read_pins(store, "night_watch").current == ""
    assert store.stat(f"results/sensor_anomaly/{report.first.key}/manifest.json") is None


def test_where_the_data_lies_is_a_setting(store: Store) -> None:
    """[data] path moves a workload's input; an empty path is refused by name."""
    store.write("settings/site_b.toml", b'kind = "sensor_anomaly"\n[data]\npath = "data/site_b"\n')
    assert get_workload(store, "site_b").data_prefixes() == ("data/site_b/",)
    store.write("settings/site_b.toml", b'kind = "sensor_anomaly"\n[data]\npath = ""\n')
    with pytest.raises(SettingsError, match="path"):
        get_workload(store, "site_b")


BROKEN = {
    "no_kind": (b"reject_limit = 0.5\n", "names no kind"),
    "other_kind": (b'kind = "nonsense"\n', "There is no kind 'nonsense'"),
    "not_toml": (b"kind = ", "not TOML"),
    "bad_line": (b'kind = "sensor_anomaly"\nspeed = 1\n', "no setting 'speed'"),
    "bad_run": (b'kind = "sensor_anomaly"\n[run]\nspeed = 1\n', "no setting 'speed'"),
    "bad_zone": (b'kind = "sensor_anomaly"\ntimezone = "Mars/Olympus"\n', "no time zone"),
    "kind_number": (b"kind = 3\n", "names no kind"),
    "Upper": (b'kind = "sensor_anomaly"\n', "cannot be the name"),
    "old": (b'kind = "old"\n', "cannot be imported"),
    "raising": (b'kind = "raising"\n', "RuntimeError: no licence"),
    "nothing": (b'kind = "nothing"\n', "it has none"),
    "half": (b'kind = "half"\n', "does not implement score"),
}


def test_a_broken_workload_costs_only_itself(store: Store, fleets: Any) -> None:
    """Each fault of a settings file or of a kind's module is the reason of that workload; all others work, and the watchdog too."""
    fleets("old", OLD_SEAM)
    fleets("raising", "raise RuntimeError('no licence')\n")
    fleets("nothing", "x = 1\n")
    fleets("half", EXAMPLE.replace("def score(", "def scores("))
    store.write("settings/prices.toml", b"not = toml = either")
    for name, (text, _) in BROKEN.items():
        store.write(f"settings/{name}.toml", text)
    found = {known.name: known for known in find_workloads(store)}
    assert found.keys() == {*BROKEN, "sensor_anomaly", "server_load", "store_sales", "toy"}
    for name, (_, reason) in BROKEN.items():
        assert reason in found[name].reason, name
        assert found[name].fix, name
        with pytest.raises((SettingsError, InputError)):
            get_workload(store, name) if name != "bad_run" else found[name].ready()
    assert [name for name, known in found.items() if not known.reason] == [
        "sensor_anomaly",
        "server_load",
        "store_sales",
        "toy",
    ]
    assert "Convert an older kind" in found["old"].fix
    told = {notice.workload for notice in find_trouble(store, _now()) if notice.kind == "workload_broken"}
    assert told == set(BROKEN)


class Unanswering:
    """A store that does not answer for one path."""

    def __init__(self, store: Store, path: str, error: StoreError) -> None:
        self.store, self.path, self.error = store, path, error

    def read(self, path: str) -> bytes:
        """Read, or raise."""
        if path == self.path:
            raise self.error
        return self.store.read(path)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


def test_a_workload_is_not_broken_because_the_store_does_not_answer(store: Store) -> None:
    """An outage is raised, so that what asked asks again: called broken, a workload would be published without its checks, and
    somebody told; a file that stays unreadable is broken."""
    store.write("settings/pumps.toml", b'kind = "toy"')
    outage: Any = Unanswering(store, "settings/pumps.toml", StoreError("It did not answer."))
    with pytest.raises(StoreError, match="did not answer"):
        find_workload(outage, "pumps")
    lasting: Any = Unanswering(store, "settings/pumps.toml", StoreError("Denied.", retry=False))
    assert find_workload(lasting, "pumps").reason
    assert not find_workload(store, "pumps").reason


def test_a_class_of_the_older_form_is_named_with_the_page_that_converts_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A class that FLEETSCORE_WORKLOADS names, with methods of the older form, is broken, and others go on."""

    class Older(SensorAnomaly):
        def discover(self, store: Any, request: Any) -> Any:  # type: ignore[override]  # the older form
            return pa.table({})

    monkeypatch.setattr(sys.modules[__name__], "Older", Older, raising=False)
    monkeypatch.setenv("FLEETSCORE_WORKLOADS", f"older={__name__}:Older,gone=no.such.module:Kind")
    found = {known.name: known for known in find_workloads(store)}
    assert "older form" in found["older"].reason
    assert "add-a-workload" in found["older"].fix
    assert "no.such.module" in found["gone"].reason
    assert not found["store_sales"].reason


def test_an_unknown_name_lists_the_known_ones(store: Store) -> None:
    """A name without a file, a reserved one and one that is no name are unknown; the error lists what there is."""
    for name in ("pomps", "prices", "../escape", "A"):
        with pytest.raises(InputError, match="store_sales"):
            get_workload(store, name)


def test_runs_of_a_workload_that_is_not_known_here_stay_visible(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a kind is gone its runs are still listed, and the workload needs attention."""
    store.write(f"data/toy/{HOUR}.csv", b"a,1,ok\n")
    run_window(store, "toy", HOUR)
    monkeypatch.delenv("FLEETSCORE_WORKLOADS", raising=False)
    assert "toy" not in workload_names(store)
    known = {each.name: each for each in find_named(store)}
    assert "no workload of this name" in known["toy"].reason
    assert known["toy"].workload is None


def test_a_missing_capability_is_one_sentence(store: Store) -> None:
    """`require` gives the kind where it has the capability, else says what it lacks."""
    toy = get_workload(store, "toy")
    assert require(toy, Trains) is toy
    with pytest.raises(InputError, match=r"^toy cannot judge results against actuals\."):
        require(toy, Judges)


def test_shipped_kinds_load(store: Store) -> None:
    """Every kind that ships can be loaded and has a workload of its own name without a file."""
    for name in ("sensor_anomaly", "server_load", "store_sales"):
        assert get_workload(store, name).name == load_kind(name).name == name


def _now() -> Any:
    from datetime import UTC, datetime

    return datetime(2026, 11, 20, 16, tzinfo=UTC)
