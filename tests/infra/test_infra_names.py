"""Names of resources: valid for Azure and unique per environment, for any name that azd lets an environment have."""

import json
import re
import string
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.infra.bicep_reader import Template, read_template, text_of
from tests.infra.bicep_values import Values, unique_string
from tests.infra.places import INFRA

# Azure's rules: pattern (length included), and whether the name must be unique in all of Azure.
RULES = {
    "group": (r"[\w.()-]{1,89}[\w()-]", False),
    "registry": (r"[A-Za-z0-9]{5,50}", True),
    "hubStorage": (r"[a-z0-9]{3,24}", True),
    "dataStorage": (r"[a-z0-9]{3,24}", True),
    "appIdentity": (r"[A-Za-z0-9][\w-]{2,127}", False),
    "workerIdentity": (r"[A-Za-z0-9][\w-]{2,127}", False),
    "captureIdentity": (r"[A-Za-z0-9][\w-]{2,127}", False),
    "workspace": (r"[A-Za-z0-9][A-Za-z0-9-]{2,61}[A-Za-z0-9]", False),
    "insights": (r"[\w.()-]{1,259}[\w()-]", False),
    "actionGroup": (r"[\w .()-]{1,259}[\w()-]", False),
    "budget": (r"[\w-]{1,63}", False),
    "plan": (r"[A-Za-z0-9-]{1,60}", False),
    "app": (r"[A-Za-z0-9][A-Za-z0-9-]{0,58}[A-Za-z0-9]", True),
    "batchAccount": (r"[a-z0-9]{3,24}", True),
    "pool": (r"[\w-]{1,64}", False),
    "eventHubs": (r"[A-Za-z][A-Za-z0-9-]{4,48}[A-Za-z0-9]", True),
    "network": (r"[A-Za-z0-9][\w.-]{0,62}\w", False),
}
NAMES = json.loads((INFRA / "names.json").read_text())
MAIN = read_template(INFRA / "main.bicep")
environments = st.text(string.ascii_letters + string.digits + "-_.()", min_size=1, max_size=64).filter(
    lambda name: not name.endswith(".")
)


def names_of(environment: str, location: str) -> dict[str, str]:
    """Every name of an environment, computed from the template's own expressions."""
    values = Values(
        MAIN,
        {"environmentName": environment, "location": location, "workerImage": "r/worker@sha256:1"},
        lambda name, path: f"{name}-{path}",
    )
    tokens = {"group": environment, "pool": values.variable("poolTraits")}
    return {
        key: pattern.replace("{0}", tokens.get(key, values.variable("token")))
        for key, pattern in NAMES.items()
    }


@given(environments, st.sampled_from(["westeurope", "eastus2", "southcentralus"]))
def test_names_are_valid(environment: str, location: str) -> None:
    """Every name fits Azure's rule for its kind."""
    for key, name in names_of(environment, location).items():
        assert re.fullmatch(RULES[key][0], name), (key, name)


@given(st.tuples(environments, environments).filter(lambda pair: pair[0] != pair[1]))
def test_two_environments_share_no_global_name(pair: tuple[str, str]) -> None:
    """What must be unique in all of Azure differs between two environments of one subscription, in one region or in two."""
    one, other = (names_of(environment, "westeurope") for environment in pair)
    elsewhere = names_of(pair[0], "eastus2")
    for key, (_, worldwide) in RULES.items():
        if worldwide:
            assert len({one[key], other[key], elsewhere[key]}) == 3, key


@given(environments)
def test_names_within_an_environment_differ(environment: str) -> None:
    """No two resources of an environment have one name."""
    names = names_of(environment, "westeurope")
    assert len(set(names.values())) == len(names)


def test_every_name_comes_from_the_one_list(templates: dict[str, Template]) -> None:
    """Each pattern is used, by `format(names.x, ...)`, and the rules above cover each."""
    uses = {
        match
        for path in ("main.bicep", "foundation.bicep")
        for match in re.findall(
            r"format\(names\.(\w+), (?:token|environmentName|poolTraits)\)", text_of(templates[path].root)
        )
    }
    assert uses == set(NAMES) == set(RULES)


def test_the_foundation_and_the_rest_agree_on_names(templates: dict[str, Template]) -> None:
    """Both templates make the same token, group and registry name from the same inputs."""
    main, foundation = templates["main.bicep"], templates["foundation.bicep"]
    assert text_of(main.variables["token"]) == text_of(foundation.variables["token"])
    assert text_of(main.variables["groupName"]) == text_of(foundation.resources["group"].properties()["name"])
    assert text_of(main.variables["registryName"]) in text_of(foundation.modules["registry"].body)


@given(st.text(min_size=1), st.text(min_size=1))
def test_the_stand_in_for_unique_string_keeps_its_shape(first: str, second: str) -> None:
    """Thirteen lower-case letters and digits, the same for the same input, as Azure's function gives."""
    assert re.fullmatch("[a-z2-7]{13}", unique_string(first, second))
    assert unique_string(first, second) == unique_string(first, second)
    assert first == second or unique_string(first) != unique_string(second)


def test_a_pool_changes_its_name_with_what_batch_cannot_change() -> None:
    """A new image, size, slot count or network makes a new pool; a new autoscale limit does not."""

    def pool(**changes: Any) -> str:
        given = {"environmentName": "e", "location": "l", "workerImage": "r/w@sha256:1"} | changes
        return str(Values(MAIN, given, lambda name, path: name).variable("poolName"))

    changes: list[dict[str, Any]] = [
        {"workerImage": "r/w@sha256:2"},
        {"poolVmSize": "Standard_D8ads_v5"},
        {"poolTaskSlots": 8},
        {"poolOsDiskGb": 256},
        {"privateNetwork": True},
    ]
    assert len({pool(), *(pool(**change) for change in changes)}) == len(changes) + 1
    assert pool(poolMaxSpot=50, poolWarmNodes=3) == pool()
