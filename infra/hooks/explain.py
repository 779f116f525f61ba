"""Says what a known refusal of Azure means and what to do, from the text of the error; says nothing of others.

`az ... 2> FILE; python3 infra/hooks/explain.py FILE` prints the explanation. Only the standard library is needed.
"""

from __future__ import annotations

import sys
from pathlib import Path

EXPLANATIONS = {
    "TasksOperationsNotAllowed": (
        "This subscription may not build images in a registry: free, credit and student subscriptions are refused.\n"
        "Three ways on:\n"
        "  1. Install Docker on this machine and start it, then run the same command again: the image is built here.\n"
        "  2. azd env set FLEETSCORE_BATCH_ENABLED false   scores everything in the app; no image, no pool.\n"
        "  3. Use another subscription: azd env set AZURE_SUBSCRIPTION_ID ID (pay-as-you-go or enterprise)."
    ),
    "toomanyrequests": (
        "The registry of the base images limits anonymous pulls, and the limit is reached for now.\n"
        "Run the same command again in an hour, or import both images of worker_image/Dockerfile once with a login:\n"
        "  az acr import --name REGISTRY --source docker.io/library/python:TAG --image base/python:TAG"
        " --username USER --password TOKEN"
    ),
    "RequestDisallowedByPolicy": (
        "A policy of the subscription refuses a resource; the message above names it (policyAssignment).\n"
        'Tags that it demands: azd env set FLEETSCORE_TAGS \'{"name": "value"}\'. Regions: AZURE_LOCATION.\n'
        "No public network access: FLEETSCORE_PRIVATE_NETWORK true. Otherwise ask its owner for an exemption of\n"
        "the resource group, which may be made before: az group create --name rg-ENVIRONMENT --location REGION"
    ),
    "MissingSubscriptionRegistration": (
        "A resource provider is not registered, and you may not register it. An owner of the subscription runs:\n"
        "  az provider register --namespace NAMESPACE   (the message above names it; infra/README.md lists all)"
    ),
    "AuthorizationFailed": (
        "You may not do this in the subscription. Deploying needs Owner, or Contributor together with\n"
        "Role Based Access Control Administrator, since identities are given roles."
    ),
    "QuotaExceeded": (
        "A quota of the subscription is used up; the message above names it. docs/deploy.md says which quotas are\n"
        "needed and how each is raised."
    ),
}


def explain(text: str) -> str:
    """The explanations of the codes that the error's text contains, a paragraph each; empty where none is known."""
    lowered = text.lower()
    return "\n\n".join(says for code, says in EXPLANATIONS.items() if code.lower() in lowered)


if __name__ == "__main__":
    explanation = explain(Path(sys.argv[1]).read_text(errors="replace"))
    sys.stdout.write(f"\n{explanation}\n" if explanation else "")
