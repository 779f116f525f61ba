"""The preprovision hook's questions about quotas: what stops a deployment, what only makes it smaller, what is unknown."""

import runpy
from typing import Any

import pytest

from tests.infra.places import INFRA
from tests.infra.test_infra_parameters import entry

QUOTAS = runpy.run_path(str(INFRA / "hooks" / "quotas.py"))
ENVIRONMENT = {"AZURE_LOCATION": "westeurope", "AZURE_SUBSCRIPTION_ID": "0", "AZURE_ENV_NAME": "prod"}


def shortages(
    pools: int, spot: int | None, dedicated: int, **environment: str
) -> list[tuple[str, int, bool]]:
    """Name, wanted number and verdict of each shortage of an account with these quotas."""
    account = {"poolQuota": pools, "lowPriorityCoreQuota": spot, "dedicatedCoreQuota": dedicated}
    return [(s.name, s.wanted, s.stops) for s in QUOTAS["account_shortages"](account, environment)]


def test_enough_is_no_shortage() -> None:
    """The default pool fits into 80 Spot and 16 dedicated cores, as infra/README.md says."""
    assert shortages(100, 80, 16) == []
    assert "80 Spot cores" in (INFRA / "README.md").read_text()


def test_no_core_of_either_kind_stops_and_one_kind_does_not() -> None:
    """A pool that could never have a node stops the deployment; one of Spot or dedicated nodes alone does not."""
    assert [stops for *_, stops in shortages(100, 0, 0)] == [True, True]
    assert [stops for *_, stops in shortages(100, None, 16)] == [False]
    assert [stops for *_, stops in shortages(100, 80, 0)] == [False]
    assert [stops for *_, stops in shortages(0, 80, 16)] == [True]


def test_a_kind_of_node_that_the_pool_may_not_have_helps_nobody() -> None:
    """Without Spot quota, dedicated cores of a pool that may have no dedicated node leave it without any: that stops the deployment."""
    assert shortages(100, 0, 16, FLEETSCORE_POOL_MAX_DEDICATED="0") == [
        ("Spot cores of the Batch account", 80, True)
    ]


@pytest.mark.parametrize(
    ("families", "enforced", "allowed"),
    [
        ([("standardDADSv5Family", 0), ("standardDv3Family", 100)], True, 0),
        ([("StandardDadsv5Family", 16)], True, 16),
        ([("standardDADSv5Family", 0)], False, 100),
        ([("standardDv3Family", 0)], True, 100),
        ([], True, 100),
    ],
)
def test_dedicated_cores_are_those_of_the_family(
    families: list[tuple[str, int]], enforced: bool, allowed: int
) -> None:
    """Cores of another family are of no use to the pool; a family that is not listed has the account's."""
    rows = [{"name": name, "coreQuota": quota} for name, quota in families]
    account = {
        "dedicatedCoreQuota": 100,
        "dedicatedCoreQuotaPerVmFamily": rows,
        "dedicatedCoreQuotaPerVmFamilyEnforced": enforced,
    }
    assert QUOTAS["dedicated_cores"](account, "Standard_D4ads_v5") == allowed


@pytest.mark.parametrize(
    ("size", "family"),
    [
        ("Standard_D4ads_v5", "Dadsv5"),
        ("Standard_E96as_v5", "Easv5"),
        ("Standard_D4s_v3", "Dsv3"),
        ("Standard_F4", "F"),
    ],
)
def test_a_family_is_read_from_the_name_of_a_size(size: str, family: str) -> None:
    """The name without its number of cores."""
    assert QUOTAS["family_of"](size) == family


def test_what_is_wanted_follows_the_parameters() -> None:
    """Node size and limits of the environment make the wanted cores; their defaults are the template's."""
    given = {"FLEETSCORE_POOL_VM_SIZE": "Standard_D8ads_v5", "FLEETSCORE_POOL_MAX_SPOT": "50"}
    assert shortages(100, 100, 16, **given)[0][1] == 400
    size, spot, dedicated = (entry(n)[1] for n in ("poolVmSize", "poolMaxSpot", "poolMaxDedicated"))
    cores = QUOTAS["cores_of"](size)
    assert [row[1] for row in shortages(100, 1, 1)] == [cores * int(spot), cores * int(dedicated)]


@pytest.mark.parametrize(
    ("size", "cores"),
    [("Standard_D4ads_v5", 4), ("Standard_E96as_v5", 96), ("Standard_HB120rs_v3", 120), ("Standard_X", 1)],
)
def test_cores_are_read_from_the_name_of_a_size(size: str, cores: int) -> None:
    """The number behind the family's letters is the cores."""
    assert QUOTAS["cores_of"](size) == cores


def region(answers: dict[str, Any]) -> list[str]:
    """The names of the region's shortages, where `az` answers so; an answer that is text is an error."""

    def ask(words: list[str]) -> Any:
        answer = answers[" ".join(words[:2])]
        if isinstance(answer, str):
            raise RuntimeError(answer)
        return answer

    return [shortage.name for shortage in QUOTAS["region_shortages"](ask, ENVIRONMENT, offloads=True)]


def test_an_account_of_this_environment_counts_as_there() -> None:
    """At the region's limit a new account is a shortage, and the environment's own is not."""
    answers: dict[str, Any] = {"batch location": {"accountQuota": 1}, "rest --method": {"value": []}}
    other = {"location": "West Europe", "resourceGroup": "rg-other"}
    assert region(answers | {"batch account": [other]}) == ["Batch accounts in the region"]
    assert region(answers | {"batch account": [other | {"resourceGroup": "RG-PROD"}]}) == []
    assert region(answers | {"batch account": [other | {"location": "eastus"}]}) == []


def test_a_question_that_fails_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever may not read quotas deploys all the same, and is told what is unknown."""
    assert region({"batch location": "AuthorizationFailed", "rest --method": {"unexpected": 1}}) == []
    said = capsys.readouterr().err
    assert "Batch accounts in the region: could not be asked (AuthorizationFailed)" in said
    assert "App Service quotas of the region: could not be asked" in said


def test_a_flex_quota_of_zero_is_named() -> None:
    """A limit of zero for Flex Consumption or for all instances is named; other zero limits concern nobody."""
    usages = [
        {"name": {"value": "FlexConsumptionMemory", "localizedValue": "Flex memory"}, "limit": 0},
        {"name": {"value": "I1v2"}, "limit": 0},
        {"name": {"value": "TotalRegionalVMs"}, "limit": 10},
    ]
    assert region({"batch location": "x", "rest --method": {"value": usages}}) == ["Flex memory"]
