"""A home for clients of Azure Anomaly Detector: their unmodified client against the app, and the shapes of requests and errors."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import requests
from app_host import Host, running
from azure.ai.anomalydetector import AnomalyDetectorClient
from azure.ai.anomalydetector.models import (
    TimeGranularity,
    TimeSeriesPoint,
    UnivariateChangePointDetectionOptions,
    UnivariateDetectionOptions,
)
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

from fleetscore.errors import InputError
from fleetscore.operations.anomaly_detector import (
    detect_change_points,
    detect_entire,
    detect_last,
    read_request,
)

KEY = "0123456789abcdef0123456789abcdef"
START = datetime(2026, 1, 1, tzinfo=UTC)


def daily(count: int = 24 * 14, seed: int = 1) -> np.ndarray:
    """Hourly values with a daily wave and some noise."""
    wave = 10 * np.sin(2 * np.pi * np.arange(count) / 24)
    return 50 + wave + np.random.default_rng(seed).normal(0, 1, count)


def sent(values: Any, step: timedelta = timedelta(hours=1), **fields: Any) -> bytes:
    """A request body."""
    series = [
        {"timestamp": (START + place * step).isoformat().replace("+00:00", "Z"), "value": float(value)}
        for place, value in enumerate(values)
    ]
    return json.dumps({"series": series, "granularity": "hourly", **fields}).encode()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """The app with a key for such clients."""
    folder = tmp_path_factory.mktemp("app")
    with running(Host(folder, FLEETSCORE_ANOMALY_DETECTOR_KEY=KEY)) as host:
        yield host


def client(host: Host, key: str = KEY) -> AnomalyDetectorClient:
    """Their client, its endpoint ending in /api."""
    return AnomalyDetectorClient(endpoint=f"{host.url}/api", credential=AzureKeyCredential(key))


def points(values: np.ndarray) -> list[TimeSeriesPoint]:
    """Hourly points as their client sends them."""
    return [
        TimeSeriesPoint(timestamp=START + timedelta(hours=n), value=float(v)) for n, v in enumerate(values)
    ]


@pytest.mark.slow
def test_their_client_passes_unmodified(host: Host) -> None:
    """All three calls of the univariate client are answered; a spike, a last value and a change of level are found."""
    values = daily()
    values[200] += 30
    options = UnivariateDetectionOptions(
        series=points(values), granularity=TimeGranularity.HOURLY, sensitivity=85
    )
    found = client(host).detect_univariate_entire_series(options)
    assert found.period == 24 and len(found.expected_values) == len(values)
    assert [place for place, flag in enumerate(found.is_anomaly) if flag] == [200]
    assert found.is_positive_anomaly[200] and not found.is_negative_anomaly[200]
    assert found.severity[200] > 0.2 and np.median(found.severity) == 0.0
    last = client(host).detect_univariate_last_point(
        UnivariateDetectionOptions(series=points(np.append(daily(), 0.0)), granularity=TimeGranularity.HOURLY)
    )
    assert last.is_anomaly and last.is_negative_anomaly and last.expected_value > 30
    stepped = daily()
    stepped[170:] += 40
    change = client(host).detect_univariate_change_point(
        UnivariateChangePointDetectionOptions(series=points(stepped), granularity=TimeGranularity.HOURLY)
    )
    (place,) = [place for place, flag in enumerate(change.is_change_point) if flag]
    assert abs(place - 170) <= 1  # medians of a day before and after
    with pytest.raises(ClientAuthenticationError):
        client(host, "wrong-key-0123456789").detect_univariate_entire_series(options)
    with pytest.raises(HttpResponseError) as refused:
        client(host).detect_univariate_entire_series(
            UnivariateDetectionOptions(series=points(values[:5]), granularity=TimeGranularity.HOURLY)
        )
    assert refused.value.status_code == 400 and "InvalidSeries" in str(refused.value)


@pytest.mark.slow
def test_nobody_gets_in_without_the_key(host: Host) -> None:
    """Without a key, with the app's function key in its place, or with an empty one, the answer is 401."""
    address = f"{host.url}/api/anomalydetector/v1.1/timeseries/entire/detect"
    for headers in (
        {},
        {"Ocp-Apim-Subscription-Key": ""},
        {"Ocp-Apim-Subscription-Key": host.key},
        {"x-functions-key": host.key},
    ):
        answer = requests.post(address, data=sent(daily()), headers=headers, timeout=30)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "401")


def test_no_key_is_set_so_nobody_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the setting, or with one that is too short, no text is the key."""
    from triggers.anomaly_detector_api import is_key

    monkeypatch.delenv("FLEETSCORE_ANOMALY_DETECTOR_KEY", raising=False)
    assert not is_key("")
    monkeypatch.setenv("FLEETSCORE_ANOMALY_DETECTOR_KEY", "short")
    assert not is_key("short")
    monkeypatch.setenv("FLEETSCORE_ANOMALY_DETECTOR_KEY", KEY)
    assert is_key(KEY) and not is_key(KEY[:-1]) and not is_key(f"{KEY}é")


def test_sensitivity_widens_the_margin_and_ratio_limits_anomalies() -> None:
    """Less sensitivity means wider margins and no more anomalies; no more than the ratio of points is one."""
    values = daily()
    values[[50, 120, 200, 260]] += [12, -15, 25, 40]
    answers = [detect_entire(sent(values, sensitivity=s)) for s in (10, 60, 95)]
    margins = [answer["upperMargins"][0] for answer in answers]
    counts = [sum(answer["isAnomaly"]) for answer in answers]
    assert margins[0] > margins[1] > margins[2] and counts[0] <= counts[1] <= counts[2]
    few = detect_entire(sent(values, sensitivity=95, maxAnomalyRatio=0.004))
    assert [place for place, flag in enumerate(few["isAnomaly"]) if flag] == [260]


def test_gaps_are_filled_as_asked_and_answers_match_what_was_sent() -> None:
    """Missing points are imputed by the mode; arrays have one entry per point that was sent."""
    body = json.loads(sent(daily()))
    del body["series"][100:103]
    for mode, filled in (("linear", None), ("zero", 0.0), ("previous", body["series"][99]["value"])):
        asked = json.dumps(body | {"imputeMode": mode}).encode()
        request = read_request(asked)
        assert len(request.values) == 24 * 14 and len(request.place) == 24 * 14 - 3
        assert filled is None or request.values[101] == filled
        assert len(detect_entire(asked)["isAnomaly"]) == 24 * 14 - 3
    fixed = read_request(json.dumps(body | {"imputeMode": "fixed", "imputeFixedValue": 7}).encode())
    assert fixed.values[101] == 7
    assert len(read_request(json.dumps(body | {"imputeMode": "notFill"}).encode()).values) == 24 * 14 - 3


def test_period_is_found_or_taken() -> None:
    """The period is found where the series repeats, 0 where it does not, and as given where it is given."""
    assert detect_entire(sent(daily()))["period"] == 24
    assert detect_entire(sent(np.random.default_rng(0).normal(0, 1, 300)))["period"] == 0
    assert detect_entire(sent(daily(), period=12))["period"] == 12
    assert detect_last(sent(np.full(20, 3.0)))["isAnomaly"] is False
    assert sum(detect_change_points(sent(np.full(50, 3.0)))["isChangePoint"]) == 0


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"series": None}, "RequiredSeries"), ({"series": []}, "InvalidSeries"), ({"series": "x"}, "InvalidSeries"),
        ({"granularity": "fortnightly"}, "InvalidGranularity"), ({"customInterval": 0}, "InvalidCustomInterval"),
        ({"customInterval": 5}, "InvalidSeries"), ({"period": -1}, "InvalidPeriod"), ({"sensitivity": 100}, "InvalidModelArgument"),
        ({"maxAnomalyRatio": 0.9}, "InvalidModelArgument"), ({"imputeMode": "guess"}, "InvalidImputeMode"),
        ({"imputeMode": "fixed"}, "InvalidImputeFixedValue"), ({"threshold": 2}, "InvalidModelArgument"),
        ({"stableTrendWindow": 0}, "InvalidModelArgument"), ({"granularity": ["hourly"]}, "InvalidGranularity"),
        ({"imputeMode": "fixed", "imputeFixedValue": 1e200}, "InvalidImputeFixedValue"),
        ({"imputeMode": "fixed", "imputeFixedValue": 10**400}, "InvalidImputeFixedValue"),
    ],
)  # fmt: skip
def test_what_is_wrong_has_their_code(change: dict[str, Any], code: str) -> None:
    """Each field out of range is refused with the service's own error code."""
    body = json.loads(sent(daily())) | change
    with pytest.raises(InputError) as refused:
        detect_entire(json.dumps(body).encode())
    assert refused.value.code == code


def test_series_out_of_order_or_off_the_grid_is_refused() -> None:
    """Repeated and earlier timestamps, ones off the grid, values that are no numbers, and no JSON at all name what is wrong."""
    body = json.loads(sent(daily()))
    for change, message in (
        ({"timestamp": body["series"][4]["timestamp"]}, "point 5"), ({"timestamp": "2026-01-01T05:10:00Z"}, "granularity"),
        ({"timestamp": "noon"}, "ISO 8601"), ({"value": "high"}, "expected a number"), ({"value": True}, "expected a number"),
        ({"value": 10**400}, "1,329 bits"), ({"timestamp": "0001-01-01T00:00:00+14:00"}, "ISO 8601"),
    ):  # fmt: skip
        series = [*body["series"]]
        series[5] = series[5] | change
        with pytest.raises(InputError, match=message):
            detect_entire(json.dumps(body | {"series": series}).encode())
    with pytest.raises(InputError, match="JSON"):
        detect_entire(b"{")
    with pytest.raises(InputError, match="nested too deeply"):
        detect_entire(b"[" * 100_000)
    with pytest.raises(InputError) as refused:
        detect_change_points(json.dumps({"series": body["series"]}).encode())
    assert refused.value.code == "RequiredGranularity"


@pytest.mark.parametrize("period", [288, 4000])
@pytest.mark.parametrize("detect", [detect_entire, detect_last, detect_change_points])
def test_the_largest_series_takes_less_than_a_fifth_of_a_second(
    detect: Callable[[bytes], dict[str, Any]], period: int
) -> None:
    """8,640 points are answered in under 200 ms of processor time, once warm, however long their period is."""
    count = 8640
    noise = np.random.default_rng(0).normal(0, 1, count)
    values = 50 + 10 * np.sin(2 * np.pi * np.arange(count) / period) + noise
    given = {} if period == 288 else {"period": period}
    body = sent(values, timedelta(minutes=5), granularity="minutely", customInterval=5, **given)
    detect(body)
    started = time.process_time()
    found = detect(body)
    assert time.process_time() - started < 0.2
    assert found["period"] == period
