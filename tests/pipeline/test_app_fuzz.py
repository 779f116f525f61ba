"""No request makes the app stumble: a thousand bad payloads against its own OpenAPI document, and no 500."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from app_host import Host, running
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetscore.registry import kind_names
from triggers.api_document import describe_api

CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.just("2026-01-01T00:00:00Z"),
    st.lists(st.integers(), max_size=2),
)
NAMES = st.sampled_from(
    [
        "device",
        "sensor",
        "value",
        "ts",
        "store",
        "sku",
        "week",
        "ServerIP",
        "SessionStart",
        "TotalLoad",
        "x",
        "",
    ]
)
ROWS = st.lists(st.dictionaries(NAMES, CELLS, max_size=6), max_size=4)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host over a store with sample sensors and trained models, so that requests get past the authentication."""
    folder = tmp_path_factory.mktemp("fuzz")
    command = [
        sys.executable,
        "-m",
        "fleetscore",
        "samples",
        "sensor_anomaly",
        "--scale",
        "0.02",
        "--store",
        str(folder / "store"),
    ]
    subprocess.run(command, check=True, capture_output=True)
    with running(Host(folder)) as host:
        yield host


def test_the_openapi_document_refers_to_nothing_that_it_lacks() -> None:
    """Each body that an endpoint names is described, and each that is described is named."""
    document = describe_api()
    text = json.dumps({"paths": document["paths"], "schemas": document["components"]["schemas"]})
    named = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert named == set(document["components"]["schemas"])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_thousand_requests_made_from_the_openapi_document_get_no_500(host: Host) -> None:
    """Schemathesis makes 100 requests for each of the endpoints, valid and not; every answer is below 500."""
    command = [
        str(Path(sys.executable).parent / "schemathesis"), "run", f"{host.url}/api/openapi.json", "--url", f"{host.url}/api",
        "--header", f"x-functions-key: {host.key}",
        "--checks", "not_a_server_error", "--max-examples", "100", "--phases", "fuzzing", "--mode", "all", "--seed", "7",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=host.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:]
    made = re.search(r"(\d+) generated", done.stdout)
    assert made is not None, done.stdout[-6000:]
    assert int(made[1]) >= 900  # an endpoint whose every input was tried ends early


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("workload", kind_names())
def test_mini_batches_of_nonsense_get_a_sentence(host: Host, workload: str) -> None:
    """Any JSON rows, any bytes as JSON or CSV: the answer is 200 or an error with code and message, never a 500."""

    @given(ROWS, st.binary(max_size=60), st.sampled_from(["application/json", "text/csv", "text/plain"]))
    @settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def try_rows(rows: list[object], body: bytes, kind: str) -> None:
        def send(data: str | bytes, kind: str) -> requests.Response:
            url, headers = f"{host.url}/api/score/{workload}", {**host.headers, "content-type": kind}
            return requests.post(url, data=data, headers=headers, timeout=30)

        for answer in (
            send(json.dumps({"rows": rows}), "application/json"),
            send(body, kind),
        ):
            assert answer.status_code < 500, answer.text
            assert answer.status_code == 200 or answer.json()["error"]["message"]

    try_rows()
