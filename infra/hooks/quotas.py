"""Asks for the quotas that can be zero before anything large is deployed, and names each with how to raise it.

`quotas.py region` asks what does not need a Batch account yet, `quotas.py account NAME GROUP` what only an account
knows. Exit code 1: the deployment would fail. What cannot be asked is said and does not stop anything.
Only the standard library and the Azure CLI are needed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Ask = Callable[[list[str]], Any]
_INLINE = (
    "Until it is raised: azd env set FLEETSCORE_BATCH_PLACEMENT inline, which scores everything in the app."
)
_BATCH = "Portal: Batch account > Quotas > Request quota increase"


@dataclass(frozen=True, slots=True)
class Shortage:
    """A quota that is below what the deployment wants; `stops` where nothing at all could be made."""

    name: str
    allowed: int
    wanted: int
    raise_it: str
    stops: bool

    def __str__(self) -> str:
        """One line, and one on what to do."""
        verdict = "The deployment would fail." if self.stops else "The deployment goes on with less."
        return (
            f"Quota: {self.name}: {self.allowed} allowed, {self.wanted} wanted. {verdict}\n  {self.raise_it}"
        )


def accounts_shortage(allowed: int, existing: int, ours_exists: bool) -> list[Shortage]:
    """The shortage of Batch accounts in the region; none where this environment has its account already."""
    if ours_exists or existing < allowed:
        return []
    how = f"Portal: Help + support > New support request > Service and subscription limits > Batch. {_INLINE}"
    return [Shortage("Batch accounts in the region", allowed, existing + 1, how, stops=True)]


def account_shortages(account: Mapping[str, Any], environment: Mapping[str, str]) -> list[Shortage]:
    """The shortages of a Batch account's quotas: pools, Spot cores, dedicated cores of the nodes' family."""
    return [*_pool_shortages(int(account["poolQuota"])), *_core_shortages(account, environment)]


def _pool_shortages(allowed: int) -> list[Shortage]:
    how = f"{_BATCH}, quota `Pools` (2: a changed image makes a new pool beside the old one). {_INLINE}"
    return [Shortage("pools", allowed, 2, how, stops=allowed < 1)] if allowed < 2 else []


def _core_shortages(account: Mapping[str, Any], environment: Mapping[str, str]) -> list[Shortage]:
    size = environment.get("FLEETSCORE_POOL_VM_SIZE") or "Standard_D4ads_v5"
    cores, dedicated = cores_of(size), dedicated_cores(account, size)
    kinds = [
        ("Spot", int(account["lowPriorityCoreQuota"] or 0), "FLEETSCORE_POOL_MAX_SPOT", 20),
        ("dedicated", dedicated, "FLEETSCORE_POOL_MAX_DEDICATED", 4),
    ]
    wanted = {name: cores * int(environment.get(key) or default) for name, _, key, default in kinds}
    nothing = all(min(allowed, wanted[name]) < cores for name, allowed, *_ in kinds)
    found = []
    for name, allowed, key, _ in kinds:
        if allowed < wanted[name]:
            what = (
                "Spot cores of the Batch account" if name == "Spot" else f"dedicated {family_of(size)} cores"
            )
            how = f"{_BATCH}, quota `{name} vCPUs`; or fewer nodes: {key}." + (
                f" {_INLINE}" if nothing else ""
            )
            found.append(Shortage(what, allowed, wanted[name], how, stops=nothing))
    return found


def dedicated_cores(account: Mapping[str, Any], vm_size: str) -> int:
    """The dedicated cores that nodes of this size may have.

    It is the quota of the size's family where the account enforces quotas by family and lists it; else that of all families together.
    """
    told = {name.lower(): value for name, value in account.items()}
    families = told.get("dedicatedcorequotapervmfamily") or []
    quotas = {str(row["name"]).lower(): int(row["coreQuota"]) for row in families}
    is_enforced = told.get("dedicatedcorequotapervmfamilyenforced", True)
    everything = int(account["dedicatedCoreQuota"] or 0)
    return (
        quotas.get(f"standard{family_of(vm_size)}family".lower(), everything) if is_enforced else everything
    )


def family_of(vm_size: str) -> str:
    """The family of a size as quotas name it, such as Dadsv5 of Standard_D4ads_v5."""
    size, _, version = vm_size.removeprefix("Standard_").partition("_")
    return "".join(letter for letter in size if not letter.isdigit()) + version


def web_shortages(usages: list[Mapping[str, Any]]) -> list[Shortage]:
    """App Service and Functions quotas of the region that allow nothing at all."""
    how = "Portal: Quotas > App Service > the region > New quota request; or another region: AZURE_LOCATION."
    return [
        Shortage(str(row["name"].get("localizedValue") or row["name"]["value"]), 0, 1, how, stops=False)
        for row in usages
        if row.get("limit") == 0 and _concerns_flex(str(row["name"]["value"]))
    ]


def cores_of(vm_size: str) -> int:
    """The cores that a size's name tells, such as 4 of Standard_D4ads_v5; 1 where it tells none."""
    digits = ""
    for letter in vm_size.removeprefix("Standard_").lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ"):
        if not letter.isdigit():
            break
        digits += letter
    return int(digits or 1)


def _concerns_flex(name: str) -> bool:
    return any(word in name.lower() for word in ("flex", "fc1", "total"))


def ask_azure(words: list[str]) -> Any:
    """What the Azure CLI answers, read from JSON; RuntimeError with its own words where it fails."""
    done = subprocess.run(["az", *words, "--output", "json"], capture_output=True, text=True, check=False)  # noqa: S607 - the operator's own az
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or f"az ended with {done.returncode}")
    return json.loads(done.stdout or "null")


def region_shortages(ask: Ask, environment: Mapping[str, str], offloads: bool) -> list[Shortage]:
    """What the region has too little of; a question that fails is said on stderr and counts as enough."""
    location = environment["AZURE_LOCATION"]
    subscription = ["--subscription", environment["AZURE_SUBSCRIPTION_ID"]]
    group = f"rg-{environment['AZURE_ENV_NAME']}"

    def accounts() -> list[Shortage]:
        quota = ask(["batch", "location", "quotas", "show", "--location", location, *subscription])
        rows = ask(["batch", "account", "list", *subscription])
        here = [row for row in rows if row["location"].replace(" ", "").lower() == location.lower()]
        ours = any(row["resourceGroup"].lower() == group.lower() for row in here)
        return accounts_shortage(int(quota["accountQuota"]), len(here), ours)

    def web() -> list[Shortage]:
        path = f"/subscriptions/{environment['AZURE_SUBSCRIPTION_ID']}/providers/Microsoft.Web/locations/{location}"
        answer = ask(["rest", "--method", "get", "--url", f"{path}/usages?api-version=2024-04-01"])
        return web_shortages(answer["value"])

    found = _or_unknown("App Service quotas of the region", web)
    return found + (_or_unknown("Batch accounts in the region", accounts) if offloads else [])


def _or_unknown(name: str, look: Callable[[], list[Shortage]]) -> list[Shortage]:
    try:
        return look()
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        sys.stderr.write(f"Quota: {name}: could not be asked ({error}); going on.\n")
        return []


def main(arguments: list[str], environment: Mapping[str, str], ask: Ask) -> int:
    """Print the shortages; the exit code."""
    if arguments[0] == "region":
        found = region_shortages(ask, environment, offloads="--offload" in arguments)
    else:
        name, group = arguments[1:3]
        words = ["batch", "account", "show", "--name", name, "--resource-group", group]
        words += ["--subscription", environment["AZURE_SUBSCRIPTION_ID"]]
        found = _or_unknown("quotas of the Batch account", lambda: account_shortages(ask(words), environment))
    sys.stdout.writelines(f"{shortage}\n" for shortage in found)
    return int(any(shortage.stops for shortage in found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ, ask_azure))
