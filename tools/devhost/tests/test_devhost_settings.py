"""host.json, local.settings.json and the environment."""

import json
from pathlib import Path

import pytest

from devhost.errors import SettingsError
from devhost.settings import (
    HostSettings,
    expand,
    make_environment,
    parse_span,
    read_host_settings,
    read_local_settings,
)


def _write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder


def test_defaults_without_files(tmp_path: Path) -> None:
    """An app without settings files gets Azure's defaults."""
    found = read_host_settings(tmp_path, {})
    assert (found.route_prefix, found.hub_name, found.queues.batch_size) == ("api", "TestHubName", 16)
    assert read_local_settings(tmp_path) == {}


def test_comments_and_values(tmp_path: Path) -> None:
    """host.json may have comments, but not inside of texts."""
    text = """{ // a comment
      "version": "2.0", /* another
      one */ "functionTimeout": "00:01:30",
      "extensions": {"http": {"routePrefix": "a//b"}, "durableTask": {"hubName": "Hub1", "maxConcurrentActivityFunctions": 3},
      "queues": {"messageEncoding": "none", "maxPollingInterval": "00:00:00.5"}}}"""
    found = read_host_settings(_write(tmp_path, "host.json", text), {})
    assert (found.route_prefix, found.hub_name, found.max_activities) == ("a//b", "Hub1", 3)
    assert (found.function_timeout_s, found.queues.base64, found.queues.max_polling_interval_s) == (
        90.0,
        False,
        0.5,
    )


def test_environment_overrides_host_json(tmp_path: Path) -> None:
    """AzureFunctionsJobHost__ variables win, and their texts become numbers."""
    environment = {
        "AzureFunctionsJobHost__extensions__durableTask__maxConcurrentActivityFunctions": "7",
        "AzureFunctionsJobHost__functionTimeout": "-1",
        "WEBSITE_SITE_NAME": "Site1",
    }
    found = read_host_settings(_write(tmp_path, "host.json", '{"functionTimeout": "00:10:00"}'), environment)
    assert (found.max_activities, found.function_timeout_s, found.hub_name) == (7, None, "Site1")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[1]", "expected an object"),
        ("{", "not valid JSON"),
        ('{"functionTimeout": "soon"}', "functionTimeout"),
        ('{"extensions": {"queues": {"batchSize": 33}}}', "extensions.queues.batchSize is 33"),
        ('{"extensions": {"durableTask": {"hubName": "1x"}}}', "hubName"),
        ('{"extensions": {"durableTask": 5}}', "extensions.durableTask"),
        ('{"extensions": {"queues": {"messageEncoding": "hex"}}}', "one of base64, none"),
    ],
)
def test_bad_host_json_names_the_key(tmp_path: Path, text: str, named: str) -> None:
    """What cannot be used is refused with the key, the value and what was expected."""
    with pytest.raises(SettingsError, match=named):
        read_host_settings(_write(tmp_path, "host.json", text), {})


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"Values": {}}', "encrypted"),
        ('{"IsEncrypted": false, "Values": {"A": 1}}', "Values.A is 1"),
        ('{"IsEncrypted": false, "Values": []}', "expected an object"),
        ("nonsense", "local.settings.json is not valid JSON"),
    ],
)
def test_bad_local_settings_are_refused(tmp_path: Path, text: str, named: str) -> None:
    """Encrypted or malformed local settings stop the start."""
    with pytest.raises(SettingsError, match=named):
        read_local_settings(_write(tmp_path, "local.settings.json", text))


def test_local_values_never_replace_the_environment(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A variable that is set wins, with a warning; an empty one does not count as set."""
    local = {
        "Values": {"A": "file", "B": "file", "C": None},
        "ConnectionStrings": {"S": {"ConnectionString": "x"}},
    }
    made = make_environment(local, {"A": "outside", "B": ""}, tmp_path, 7071)
    assert (made["A"], made["B"], "C" in made, made["ConnectionStrings:S"]) == ("outside", "file", False, "x")
    assert made["AZURE_FUNCTIONS_ENVIRONMENT"] == "Development" and "Skipping 'A'" in caplog.text


def test_spans() -> None:
    """.NET time spans are read with days and fractions; anything else is none."""
    assert parse_span("1.02:03:04.5") == 93784.5
    assert [parse_span(each) for each in ("24:00:00", "5", "", "00:60:00")] == [None] * 4


def test_expansion_names_the_missing_setting() -> None:
    """A %NAME% that is not set is an error that names it."""
    assert expand("%A%-x", {"A": "1"}) == "1-x"
    with pytest.raises(SettingsError, match="'B' is not set"):
        expand("%B%", {})


def test_settings_are_immutable() -> None:
    """Settings are values."""
    with pytest.raises(AttributeError):
        HostSettings().hub_name = "x"  # type: ignore[misc]


def test_keys_that_are_not_carried_out_are_listed(tmp_path: Path) -> None:
    """Every key of host.json that changes nothing here is named, with its path and no deeper than needed."""
    document = {
        "version": "2.0",
        "logging": {"logLevel": {"default": "Information"}},
        "extensions": {
            "durableTask": {
                "hubName": "hub",
                "storageProvider": {"type": "mssql", "partitionCount": 8},
                "tracing": {},
            },
            "http": {"routePrefix": "", "maxOutstandingRequests": 5},
        },
    }
    (tmp_path / "host.json").write_text(json.dumps(document))
    durable = "extensions.durableTask"
    assert read_host_settings(tmp_path, {}).ignored == (
        "logging",
        f"{durable}.storageProvider.type",
        f"{durable}.tracing",
        "extensions.http.maxOutstandingRequests",
    )


def test_host_json_that_is_no_text_is_named(tmp_path: Path) -> None:
    """A host.json that is not UTF-8 is an error that names the file."""
    (tmp_path / "host.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(SettingsError, match=r"host\.json cannot be read.*expected a file of JSON in UTF-8"):
        read_host_settings(tmp_path, {})
