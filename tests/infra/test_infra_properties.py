"""Properties: each exists in the service's own model, and each fixed value is one that the service takes."""

import pytest

from tests.infra.bicep_reader import Template, entries, parse, text_of, walk
from tests.infra.service_models import MODELS, faults

# Types without a management package in requirements-infra.txt; the compiler checks them in CI.
ELSEWHERE = {
    "Microsoft.Insights/diagnosticSettings",
    "Microsoft.Resources/resourceGroups",
    "Microsoft.Web/sites/config",
}


def test_properties_exist_and_values_are_taken(templates: dict[str, Template]) -> None:
    """Every resource whose service has a model fits that model, to the last nested property."""
    found = {}
    for path, template in templates.items():
        for name, declared in template.resources.items():
            if not declared.existing and declared.kind in MODELS:
                wrong = faults(declared.kind, declared.body, template.variables)
                if wrong:
                    found[f"{path}:{name}"] = wrong
    assert found == {}


def test_every_type_is_checked_or_listed(templates: dict[str, Template]) -> None:
    """A new resource type is either checked here or named as left to the compiler."""
    used = {d.kind for t in templates.values() for d in t.resources.values()}
    assert used <= set(MODELS) | ELSEWHERE
    assert set(MODELS) <= used


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("{ properties: { vmSzie: 'x' } }", "properties.vmSzie: PoolProperties has no such property"),
        (
            "{ properties: { scaleSettings: { autoScale: { formula: 'x', interval: 'PT5M' } } } }",
            "properties.scaleSettings.autoScale.interval: AutoScaleSettings has no such property",
        ),
        (
            "{ properties: { taskSchedulingPolicy: { nodeFillType: 'Packed' } } }",
            "properties.taskSchedulingPolicy.nodeFillType: 'Packed' is none of Pack, Spread",
        ),
        ("{ properties: { targetNodeCommunicationMode: 'Simplified' } }", "no such property"),
    ],
)
def test_planted_faults_are_found(body: str, fault: str) -> None:
    """A misspelt, misplaced or retired property and a value that does not exist are each told with their path."""
    node = next(n for n in walk(parse(f"var x = {body}\n")) if n.type == "object")
    (told,) = faults("Microsoft.Batch/batchAccounts/pools", node)
    assert fault in told


def test_a_fault_behind_a_variable_is_found() -> None:
    """An object that a variable holds is read like one that stands in the resource."""
    body, held = (
        next(n for n in walk(parse(f"var x = {text}\n")) if n.type == "object")
        for text in ("{ properties: { networkConfiguration: flag ? null : own } }", "{ subnet: 'x' }")
    )
    (told,) = faults("Microsoft.Batch/batchAccounts/pools", body, {"own": held})
    assert told == "properties.networkConfiguration.subnet: NetworkConfiguration has no such property"


def test_the_pool_is_what_the_design_asks_for(templates: dict[str, Template]) -> None:
    """Worker identity, containers, a supported Ubuntu, autoscale every five minutes, no retired setting."""
    pool = templates["modules/pool.bicep"].resources["pool"]
    text = text_of(pool.body)
    assert pool.of == "Microsoft.Batch/batchAccounts/pools@2025-06-01"
    for part in (
        "'batch.node.ubuntu 24.04'",
        "'ubuntu-hpc'",
        "'DockerCompatible'",
        "'PT5M'",
        "identityReference",
    ):
        assert part in text
    assert "'${identityId}'" in text
    assert "fixedScale" not in text


def test_the_data_alone_may_lie_in_real_folders(main: Template, templates: dict[str, Template]) -> None:
    """The parameter reaches the data account, which is flat unless it says so; the hub's is flat, as the host needs it."""
    given = {
        key: text_of(entries(main.modules[key].properties()["params"])["hierarchicalNamespace"])
        for key in ("hubStorage", "dataStorage", "privateServices")
    }
    assert given == {
        "hubStorage": "false",
        "dataStorage": "hierarchicalNamespace",
        "privateServices": "hierarchicalNamespace",
    }
    account = templates["modules/storage.bicep"].resources["account"]
    assert text_of(entries(account.properties()["properties"])["isHnsEnabled"]) == "hierarchicalNamespace"
    assert text_of(main.parameters["hierarchicalNamespace"].default) == "false"


def test_the_hub_and_the_data_lie_apart(main: Template) -> None:
    """The Durable hub has a storage account of its own, so that its traffic and the data's do not throttle each other."""
    names = {
        key: text_of(entries(main.modules[key].properties()["params"])["name"])
        for key in ("hubStorage", "dataStorage")
    }
    assert names == {"hubStorage": "hubStorageName", "dataStorage": "dataStorageName"}
