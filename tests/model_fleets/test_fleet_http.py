"""Rows of a fleet over HTTP: answers, and errors that name the row and the field, from the real app on the local host."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
import requests

from fleetscore.store import open_store
from fleetscore.store.base import Store
from tests.model_fleets.conftest import FEATURES, SETTINGS, fitted, pin_models, telemetry
from tests.pipeline.app_host import Host, running

GOOD = {"van_id": "VAN-1", "depot": "north", "speed": 50, "load_kg": 300}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """The app over a store with two vans' models."""
    folder = tmp_path_factory.mktemp("fleet")
    store: Store = open_store(str(folder / "store"))
    store.write("settings/vans.toml", SETTINGS.encode())
    pin_models(store, {van: fitted(at) for at, van in enumerate(("VAN-0", "VAN-1"))})
    with running(Host(folder / "host", FLEETSCORE_STORE=store.url)) as host:
        yield host


def test_rows_are_answered_as_their_models_do(host: Host) -> None:
    """The documented call: JSON with its content type; one answer a row, with the model's key and version."""
    answer = host.post("score/vans", {"rows": [GOOD, GOOD | {"van_id": "VAN-0"}]})
    assert answer.status_code == 200, answer.text
    first, second = answer.json()["answers"]
    frame = telemetry(["VAN-1"], rows=1).assign(speed=50, load_kg=300)[FEATURES]
    assert first["kwh"] == pytest.approx(float(fitted(1).predict(frame)[0]), rel=1e-12)
    assert (first["model_key"], second["model_key"]) == ("VAN-1", "VAN-0")
    assert first["model"] == answer.json()["model_set"]


@pytest.mark.parametrize(
    ("row", "status", "code", "field", "said"),
    [
        (
            GOOD | {"van_id": "VAN-9"},
            422,
            "no_model",
            "rows[1].van_id",
            "Row 1: no model has the key 'VAN-9'",
        ),
        (
            {k: v for k, v in GOOD.items() if k != "load_kg"},
            400,
            "bad_input",
            "rows[1].load_kg",
            "Row 1 lacks load_kg",
        ),
        (GOOD | {"speed": "fast"}, 400, "bad_input", "rows[1].speed", "'fast' is no number"),
        (GOOD | {"speed": None}, 400, "bad_input", "rows[1].speed", "Row 1 has no speed"),
        (GOOD | {"speed": "nan"}, 400, "bad_input", "rows[1].speed", "Row 1 has no speed"),
        (GOOD | {"speed": "inf"}, 400, "bad_input", "rows[1].speed", "'inf' is no number"),
        (GOOD | {"speed": "1_0"}, 400, "bad_input", "rows[1].speed", "'1_0' is no number"),
        (GOOD | {"speed": 10**400}, 400, "bad_input", "rows[1].speed", "is no number"),
        ({"speed": 1, "load_kg": 2}, 400, "bad_input", "rows[1].van_id", "Row 1 has no van_id"),
    ],
)
def test_what_is_wrong_with_a_row_is_named(
    host: Host, row: dict[str, object], status: int, code: str, field: str, said: str
) -> None:
    """An unknown key is 422, a missing or wrong field 400; message and field name both."""
    answer = host.post("score/vans", {"rows": [GOOD, row]})
    told = answer.json()["error"]
    assert (answer.status_code, told["code"], told["field"]) == (status, code, field)
    assert said in told["message"]


def test_the_limit_of_rows_is_answered_in_order(host: Host) -> None:
    """10,000 rows of two models are one call; each row has the answer of its own model and numbers."""
    rows = [GOOD | {"van_id": f"VAN-{at % 2}", "speed": at} for at in range(10_000)]
    answer = host.post("score/vans", {"rows": rows})
    assert answer.status_code == 200, answer.text
    found = answer.json()["answers"]
    assert [one["model_key"] for one in found] == [row["van_id"] for row in rows]
    for van in (0, 1):
        frame = pd.DataFrame({"speed": range(van, 10_000, 2), "load_kg": 300})[FEATURES]
        expected = fitted(van).predict(frame)
        np.testing.assert_allclose([one["kwh"] for one in found[van::2]], expected, rtol=1e-12)


def test_csv_and_what_is_no_mini_batch(host: Host) -> None:
    """CSV is taken by its content type; another body is 400 with what to send."""
    url, csv = f"{host.url}/api/score/vans", "van_id,speed,load_kg\nVAN-1,50,300\n"
    answer = requests.post(url, csv, headers=host.headers | {"content-type": "text/csv"}, timeout=30)
    assert answer.status_code == 200, answer.text
    doubled = csv.replace("load_kg\n", "load_kg,speed\n").replace("300\n", "300,60\n")
    twice = requests.post(url, doubled, headers=host.headers | {"content-type": "text/csv"}, timeout=30)
    assert (twice.status_code, twice.json()["error"]["field"]) == (400, "speed")
    wrong = requests.post(url, "[1]", headers=host.headers | {"content-type": "application/json"}, timeout=30)
    assert (wrong.status_code, "rows" in wrong.json()["error"]["fix"]) == (400, True)


def test_a_key_is_pinned_over_http(host: Host) -> None:
    """The body's `key` pins a model key, with its change on record; a key that the version lacks is 400 and named."""
    version = host.post("score/vans", {"rows": [GOOD]}).json()["model_set"]
    pinned = host.post("models/vans/pin", {"version": version, "key": "VAN-1", "requested_by": "ann"}).json()
    assert pinned["keys"] == {"VAN-1": version}
    assert (pinned["history"][-1]["unit"], pinned["history"][-1]["partition"]) == ("key", "VAN-1")
    refused = host.post("models/vans/pin", {"version": version, "key": "VAN-7"})
    assert (refused.status_code, refused.json()["error"]["field"]) == (400, "key")
    assert "'VAN-7'" in refused.text
    assert host.post("models/vans/pin", {"version": "", "key": "VAN-1"}).json()["keys"] == {}
