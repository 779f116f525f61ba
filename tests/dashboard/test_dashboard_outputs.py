"""The picture of any workload: outputs over time, their spread, extreme partitions and rows, without code of the kind's."""

from collections.abc import Iterator
from datetime import timedelta
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pytest
from app_host import Host, running
from test_dashboard_drawn import publish

from fleetscore.dashboard.charts.output_figures import Series, draw_series
from fleetscore.dashboard.charts.published import Drawing
from fleetscore.dashboard.picture_files import write_pictures
from fleetscore.dashboard.results_view import read_results_view
from fleetscore.errors import InputError
from fleetscore.pipeline.local import run_window
from fleetscore.registry import get_workload
from fleetscore.store import open_store
from fleetscore.store.base import Store
from tests.model_fleets.conftest import MIDNIGHT, SETTINGS, fitted, pin_models, telemetry, write_rows

VANS = ["VAN-1", "VAN-2", "VAN/3 & <b>"]
DAYS = ("2026-11-21", "2026-11-22")


@pytest.fixture(scope="module")
def vans(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two published days of three vans with a model each."""
    store = open_store(str(tmp_path_factory.mktemp("vans") / "store"))
    store.write("settings/vans.toml", SETTINGS.encode())
    for at, day in enumerate(DAYS):
        write_rows(store, telemetry(VANS, rows=50, start=MIDNIGHT + timedelta(days=at)), f"{day}.parquet")
    pin_models(store, {van.replace("/", "%2F"): fitted(10 * at) for at, van in enumerate(VANS)})
    pin_models(store, {van: fitted(10 * at) for at, van in enumerate(VANS)})
    for day in DAYS:
        run_window(store, "vans", day)
    return store


def drawn(store: Store, workload: str, window: str = "", partitions: tuple[str, ...] = ()) -> Drawing:
    """The window's drawing."""
    drawing = read_results_view(store, workload, window, partitions).drawing
    assert drawing is not None
    return drawing


def test_a_fleet_of_models_is_drawn_over_its_published_days(vans: Store) -> None:
    """A panel per van with the rows of both days, a histogram of every output, each van's mean, and the newest rows."""
    drawing = drawn(vans, "vans")
    assert drawing.partitions == ("VAN%2F3 & <b>", "VAN-1", "VAN-2")
    assert "VAN-1: 100 rows, kwh" in drawing.picture
    assert "kwh: how 150 values are spread" in drawing.picture
    assert "<b>" not in drawing.picture
    means = [one.mean for one in drawing.extremes]
    assert means == sorted(means, reverse=True)
    assert [one.rows for one in drawing.extremes] == [50, 50, 50]
    assert set(drawing.rows[0]) == {"van_id", "recorded_at", "depot", "kwh", "model_key"}
    assert drawing.rows[0]["recorded_at"] >= drawing.rows[-1]["recorded_at"]


def test_the_asked_partition_is_drawn_alone_and_an_unknown_one_is_named(vans: Store) -> None:
    """Of the first day only its own fifty rows are there; a van without rows is an error that names it."""
    drawing = drawn(vans, "vans", DAYS[0], ("VAN-2",))
    assert "VAN-2: 50 rows" in drawing.picture
    assert {row["van_id"] for row in drawing.rows} == {"VAN-2"}
    with pytest.raises(InputError, match="'VAN-9' has no published rows"):
        drawn(vans, "vans", DAYS[0], ("VAN-9",))


def test_a_kind_without_a_picture_of_its_own_is_drawn_by_its_columns(filled: Store) -> None:
    """The toy's only number is its output; it has no time, so that rows stand in their windows by their place."""
    drawing = drawn(filled, "toy", "2026-01-01T00")
    assert "doubled: how 30 values are spread" in drawing.picture
    assert drawing.extremes[0].partition == "p29"
    assert drawing.extremes[0].mean == 58


def test_labels_are_counted_instead_of_drawn_over_time(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Results of text are bars by how often each is given."""
    store = open_store(str(tmp_path_factory.mktemp("labels")))
    settings = SETTINGS.replace('output = "kwh"', 'output = "kwh"\noutput_type = "text"')
    store.write("settings/vans.toml", settings.encode())
    rows = {"van_id": ["a"] * 5, "kwh": ["high", "low", "high", None, "<i>"], "model_key": ["a"] * 5}
    schema = pa.schema([(name, pa.string()) for name in rows])
    publish(store, "vans", "2026-11-21", {"a": pa.table(rows, schema)})
    picture = drawn(store, "vans", partitions=("a",)).picture
    assert "kwh: 4 different texts in 5 rows" in picture
    assert "2 (40.0 %)" in picture
    assert "<i>" not in picture


def test_missing_and_infinite_outputs_leave_gaps_and_are_counted(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """NaN, infinity and null are drawn nowhere; a partition of nothing else has a panel that says so."""
    store = open_store(str(tmp_path_factory.mktemp("gaps")))
    store.write("settings/vans.toml", SETTINGS.encode())
    good = pa.table({"van_id": ["a"] * 4, "kwh": [1.0, np.nan, np.inf, 2.0]})
    none = pa.table({"van_id": ["b"] * 2, "kwh": pa.array([None, None], pa.float64())})
    publish(store, "vans", "2026-11-21", {"a": good, "b": none})
    picture = drawn(store, "vans", partitions=("a", "b")).picture
    assert "a: 4 rows, kwh 1 to 2, mean 1.5" in picture
    assert "b: 2 rows, kwh without a value" in picture
    assert "how 2 values are spread; 4 rows have none" in picture
    assert "nan" not in picture.lower().replace("van", "")


@pytest.fixture(scope="module")
def host(vans: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """The app over the vans' store."""
    with running(Host(tmp_path_factory.mktemp("outputs"), FLEETSCORE_STORE=vans.url)) as host:
        yield host


def test_the_page_shows_picture_extremes_and_rows(host: Host) -> None:
    """The real page has the figures, links to extreme partitions and a table of rows; the same comes as JSON."""
    answer = host.ask("dashboard?view=results&workload=vans")
    assert answer.status_code == 200
    for words in (
        "how 150 values are spread",
        "Extreme partitions",
        "mean output",
        "<h2>Rows</h2>",
        "VAN-1: 100 rows",
    ):
        assert words in answer.text, words
    assert "VAN%2F3 & <b>" not in answer.text
    data = host.ask("dashboard?view=results&workload=vans&format=json").json()
    assert len(data["drawing"]["rows"]) == 20
    assert data["drawing"]["extremes"][0]["partition"] == "VAN%2F3 & <b>"
    assert host.ask("dashboard?view=results&workload=vans&partition=nope").status_code == 400


def test_a_picture_file_is_whole_xml_whatever_a_key_holds(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Markup, control characters and unpaired surrogates of keys and columns neither break the file nor leave it."""
    store = open_store(str(tmp_path_factory.mktemp("keys")))
    store.write("settings/vans.toml", SETTINGS.encode())
    key = 'a\x01\x0b<svg onload="x">&\ufffe'
    publish(store, "vans", "2026-11-21", {key: pa.table({"van_id": [key] * 3, "kwh": [1.0, 2.0, 3.0]})})
    window = get_workload(store, "vans").parse_window("2026-11-21")
    folder = tmp_path_factory.mktemp("pictures")
    (path,) = write_pictures(store, get_workload(store, "vans"), [window], folder)
    assert path.name == "vans-2026-11-21.svg"
    tree = list(ElementTree.parse(path).iter())
    assert any("kwh 1 to 3" in (one.text or "") for one in tree)
    assert not any(one.get("onload") for one in tree)
    assert {one.tag.rpartition("}")[2] for one in tree} <= {
        "svg",
        "title",
        "style",
        "rect",
        "text",
        "path",
        "g",
        "line",
        "circle",
    }


def test_a_long_key_leaves_room_for_the_facts_behind_it() -> None:
    """A key of 300 characters is drawn with its middle left out; the picture's label for screen readers has all of it."""
    key = "depot-" + "x" * 288 + "VAN-07"
    drawn = draw_series(key, np.arange(3.0), [Series("kwh", np.arange(3.0), "line-0")])
    content = ElementTree.fromstring(f"<svg>{drawn.content}</svg>")
    panel = next(one for one in content.iter() if one.get("class") == "panel").text or ""
    assert panel.startswith("depot-xxx")
    assert "…" in panel
    assert "VAN-07: 3 rows, kwh" in panel
    assert len(panel) < 140
    assert drawn.label.startswith(f"{key}: 3 rows")
