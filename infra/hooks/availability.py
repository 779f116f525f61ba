"""Writes the parameters of availability.bicep from azd's environment, so that the key stands in no command line."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping

PARAMETERS = {
    "appUrl": "FLEETSCORE_URL",
    "insightsName": "FLEETSCORE_INSIGHTS_NAME",
    "actionGroupName": "FLEETSCORE_ACTION_GROUP",
    "healthKey": "HEALTH_KEY",
}


def parameters(environment: Mapping[str, str]) -> dict[str, object]:
    """A parameters file; KeyError where azd's environment lacks an output of the deployment."""
    values: dict[str, object] = {name: {"value": environment[key]} for name, key in PARAMETERS.items()}
    values["tags"] = {"value": json.loads(environment.get("FLEETSCORE_TAGS") or "{}")}
    return {
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentParameters.json#",
        "contentVersion": "1.0.0.0",
        "parameters": values,
    }


if __name__ == "__main__":
    json.dump(parameters(os.environ), sys.stdout)
