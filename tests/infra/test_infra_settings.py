"""App settings: what the code reads is what the template sets, with values that the code accepts."""

import json
import re
from dataclasses import fields
from typing import Any

import pytest

from fleetscore.app_settings import AppSettings, read_app_settings
from fleetscore.cli.local_cloud import INSTANCE_ACTIVITIES
from fleetscore.errors import SettingsError
from fleetscore.process_environment import MEMORY_TUNABLES
from tests.infra.bicep_reader import Template
from tests.infra.bicep_values import Values
from tests.infra.places import ROOT

ENVIRONMENT = {"environmentName": "prod", "location": "westeurope"}
IMAGE = "crfleetscorex.azurecr.io/worker@sha256:" + "ab" * 32
# Given to a Batch task by the app, not to the app.
OF_A_TASK = {"FLEETSCORE_RUN", "FLEETSCORE_SHARD", "FLEETSCORE_PURPOSE"}
ACTIVITIES = "AzureFunctionsJobHost__extensions__durableTask__maxConcurrentActivityFunctions"
PROCESS_BYTES = {512: 320_000_000, 2048: 400_000_000, 4096: 400_000_000}
"""What the app takes before it scores anything: loaded (tests/deploy measures it), or after a large plan (benchmarks/one_process.py)."""
# Of a machine's own, a prefix of names that the operator chooses, or a secret of the operator's: the template sets none of them.
OF_THE_OPERATOR = {
    "FLEETSCORE_APP_DIR",
    "FLEETSCORE_DATABASE_",
    "FLEETSCORE_NOTIFY_",
    "FLEETSCORE_ANOMALY_DETECTOR_KEY",
    "FLEETSCORE_SEND_LATER",
}
CONNECTION = "FLEETSCORE_QUEUE"  # the name of the group of settings that the queue trigger connects with
# Read by the platform and its extensions, never by our code.
PLATFORM = {
    "GLIBC_TUNABLES",
    "AzureFunctionsJobHost__extensions__durableTask__maxConcurrentActivityFunctions",
    "AzureFunctionsJobHost__extensions__durableTask__hubName",
    "AzureWebJobsStorage__credential",
    "AzureWebJobsStorage__clientId",
    "AzureWebJobsStorage__blobServiceUri",
    "AzureWebJobsStorage__queueServiceUri",
    "AzureWebJobsStorage__tableServiceUri",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "FLEETSCORE_QUEUE__credential",
    "FLEETSCORE_QUEUE__clientId",
}


def known(name: str, path: tuple[str, ...]) -> Any:
    """What only Azure knows, as it would look."""
    if name in {"network", "batch"} and path[0] == "outputs":
        return f"https://{name}.example/"
    match path[-1:]:
        case ("primaryEndpoints",) | ("blob",) | ("queue",) | ("table",):
            return f"https://account.{path[-1]}.core.windows.net/"
        case ("blobEndpoint",) | ("queueEndpoint",):
            return f"https://account.{path[-1].removesuffix('Endpoint')}.core.windows.net/"
        case _:
            return f"{name}-{'-'.join(path)}"


def settings_of(templates: dict[str, Template], **parameters: Any) -> dict[str, str]:
    """The function app's settings as the template sets them with these parameters."""
    main = Values(templates["main.bicep"], ENVIRONMENT | parameters, known)
    app = Values(templates["modules/function_app.bicep"], main.module_parameters("app"), known)
    resource = templates["modules/function_app.bicep"].resources["appSettings"]
    return dict(app.of(resource.properties()["properties"]))


def names_in_code() -> set[str]:
    """The FLEETSCORE_ names that stand in the app's code; the command line's own are none of the app."""
    folders = ("fleetscore", "activities", "orchestrators", "triggers")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py") if "cli" not in path.parts]
    return {name for path in files for name in re.findall(r'"(FLEETSCORE_\w+)"', path.read_text())}


def test_the_code_and_the_template_agree_on_the_settings(templates: dict[str, Template]) -> None:
    """Every setting that the code reads is set, and no other, whether or not it is one of AppSettings."""
    settings = set(settings_of(templates)) - PLATFORM
    assert {setting.metadata["env"] for setting in fields(AppSettings)} - PLATFORM <= settings
    assert settings == (names_in_code() | set(shipped_schedules())) - OF_A_TASK - OF_THE_OPERATOR - {
        CONNECTION
    }


def shipped_schedules() -> dict[str, str]:
    """The schedules of the shipped kinds by their app settings, read from the source: these tests have no Arrow to import it."""
    found = {}
    for path in sorted((ROOT / "fleetscore" / "workloads").glob("*/workload.py")):
        for schedule in re.findall(r'^    schedule = "([^"]+)"', path.read_text(), re.MULTILINE):
            found[f"FLEETSCORE_{path.parent.name.upper()}_SCHEDULE"] = schedule
    return found


@pytest.mark.parametrize("image", ["", IMAGE], ids=["no image yet", "image"])
@pytest.mark.parametrize("batch", [True, False], ids=["batch", "no batch"])
@pytest.mark.parametrize("memory_mb", [512, 2048, 4096])
def test_the_code_accepts_what_the_template_sets(
    templates: dict[str, Template], image: str, batch: bool, memory_mb: int
) -> None:
    """The settings pass the code's own checks, Batch is told of only when there is a pool, and shards that run at once fit."""
    settings = settings_of(templates, workerImage=image, batchEnabled=batch, instanceMemoryMB=memory_mb)
    assert all(isinstance(value, str) for value in settings.values())
    read = read_app_settings(settings)
    assert read.store == "https://account.blob.core.windows.net/fleetscore"
    assert bool(read.batch_endpoint) == (batch and bool(image))
    assert read.batch_image == image
    together = read.inline_memory_bytes * int(settings[ACTIVITIES])
    assert together + PROCESS_BYTES[memory_mb] <= memory_mb * 1_000_000 * 3 // 4
    assert read.inline_memory_bytes >= 64_000_000


def test_host_json_and_the_defaults_fit_an_instance_of_2_gb(templates: dict[str, Template]) -> None:
    """Without the template too, activities at once times the largest inline shard and the process stay under 1.5 of 2 GB."""
    settings = settings_of(templates)
    host = json.loads((ROOT / "host.json").read_text())
    at_once = host["extensions"]["durableTask"]["maxConcurrentActivityFunctions"]
    assert at_once == int(settings[ACTIVITIES]) == INSTANCE_ACTIVITIES
    assert AppSettings().inline_memory_bytes == int(settings["FLEETSCORE_INLINE_MEMORY_BYTES"])
    assert at_once * AppSettings().inline_memory_bytes + PROCESS_BYTES[2048] <= 2048 * 1_000_000 * 3 // 4


@pytest.mark.parametrize("given", [{"batchEnabled": False}, {"batchPlacement": "inline"}], ids=str)
def test_nothing_of_batch_is_made_where_no_shard_can_go_there(
    templates: dict[str, Template], given: dict[str, Any]
) -> None:
    """Neither account nor pool nor role nor alert nor endpoint of Batch, though there is an image; with `auto` there is each."""
    main = templates["main.bicep"]
    for parameters, made in ((given, False), ({}, True)):
        values = Values(main, ENVIRONMENT | {"workerImage": IMAGE} | parameters, known)
        assert [values.deploys(main.modules[name]) for name in ("batch", "pool")] == [made, made]
        told = [
            values.module_parameters(name)["batchEnabled"] for name in ("roles", "privateServices", "alerts")
        ]
        assert told == [made] * 3
        assert (
            bool(settings_of(templates, workerImage=IMAGE, **parameters)["FLEETSCORE_BATCH_ENDPOINT"]) == made
        )


def test_defaults_are_the_same_in_the_code_and_in_the_template(templates: dict[str, Template]) -> None:
    """Schedules, placement, queue and sizes that nobody sets are the same on Azure as on the local host."""
    given = settings_of(templates)
    schedules = shipped_schedules()
    assert len(schedules) >= 3
    assert {name: given[name] for name in schedules} == schedules
    settings = read_app_settings(given)
    same = {
        "housekeeping_schedule",
        "batch_placement",
        "completion_queue",
        "parallelism",
        "inline_shard_s",
        "webhook_url",
    }
    assert {name: getattr(settings, name) for name in same} == {
        name: getattr(AppSettings(), name) for name in same
    }


def test_a_range_of_the_template_lies_within_the_code_s(templates: dict[str, Template]) -> None:
    """A number that the template lets through is one that the code lets through."""
    main = templates["main.bicep"]
    for parameter, env in {
        "parallelism": "FLEETSCORE_PARALLELISM",
        "inlineShardSeconds": "FLEETSCORE_INLINE_SHARD_S",
    }.items():
        for bound in ("minValue", "maxValue"):
            read_app_settings({env: str(main.decorator_number(parameter, bound))})
    with pytest.raises(SettingsError):
        read_app_settings({"FLEETSCORE_PARALLELISM": "100000"})


def test_the_queue_connection_is_complete(templates: dict[str, Template]) -> None:
    """The queue trigger's connection is an address and an identity, and nothing else."""
    settings = settings_of(templates)
    group = {
        key.partition("__")[2]: value
        for key, value in settings.items()
        if key.startswith("FLEETSCORE_QUEUE__")
    }
    assert group == {
        "queueServiceUri": "https://account.queue.core.windows.net/",
        "credential": "managedidentity",
        "clientId": settings["FLEETSCORE_IDENTITY_CLIENT_ID"],
    }


def test_settings_that_flex_consumption_refuses_are_not_set(templates: dict[str, Template]) -> None:
    """The plan sets the runtime and the package itself; the old settings for them stop a deployment."""
    old = {
        "FUNCTIONS_WORKER_RUNTIME",
        "FUNCTIONS_EXTENSION_VERSION",
        "AzureWebJobsStorage",
        "WEBSITE_TIME_ZONE",
    }
    names = set(settings_of(templates))
    assert not names & old
    assert not [name for name in names if name.startswith(("WEBSITE_", "SCM_"))]


def test_the_app_keeps_memory_as_other_processes_do(templates: dict[str, Template]) -> None:
    """The memory settings of the deployed app are those of the local host and of the workers on Batch."""
    assert settings_of(templates)["GLIBC_TUNABLES"] == MEMORY_TUNABLES


@pytest.mark.parametrize(("auth", "made"), [("", False), ("tokens", False), ("easyauth", True)])
def test_app_service_signs_in_only_where_it_is_asked_for(
    templates: dict[str, Template], auth: str, made: bool
) -> None:
    """It is off by default; on, it lets requests with a key through, takes no secret, and knows issuer and audiences."""
    given = {"auth": auth, "authIssuer": "https://issuer.example/v2.0", "authAudience": "client,api://client"}
    main = Values(templates["main.bicep"], ENVIRONMENT | given, known)
    template = templates["modules/function_app.bicep"]
    app = Values(template, main.module_parameters("app"), known)
    resource = template.resources["signIn"]
    assert app.deploys(resource) == made
    assert settings_of(templates, **given)["FLEETSCORE_AUTH"] == auth
    properties = app.of(resource.properties()["properties"])
    assert properties["globalValidation"] == {
        "requireAuthentication": False,
        "unauthenticatedClientAction": "AllowAnonymous",
    }
    provider = properties["identityProviders"]["azureActiveDirectory"]
    assert provider["registration"] == {"openIdIssuer": "https://issuer.example/v2.0", "clientId": "client"}
    assert provider["validation"]["allowedAudiences"] == ["client", "api://client"]
