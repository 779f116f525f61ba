"""Roles: every id is the one that its name says, every assignment is named after what it assigns, and nobody has more than the list."""

import json
import re

from tests.infra.bicep_reader import Template, text_of
from tests.infra.places import INFRA

# Azure's built-in roles, from the public list; written here a second time so that a slip in infra/roles.json is found.
BUILT_IN = {
    "AcrPull": "7f951dda-4ed3-4680-a7ca-43fe172d538d",
    "Azure Batch Data Contributor": "6aaa78f1-f7de-44ca-8722-c64a23943cae",
    "Monitoring Metrics Publisher": "3913510d-42f4-4e42-8a64-420c390055eb",
    "Storage Blob Data Contributor": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
    "Storage Blob Data Owner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "Storage Queue Data Contributor": "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
    "Storage Queue Data Message Sender": "c6a89b2d-59bc-44d0-9896-0f6e12d7b80a",
    "Storage Table Data Contributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
}
EXPECTED = {
    ("appPrincipalId", "hub", "Storage Blob Data Owner"),
    ("appPrincipalId", "hub", "Storage Queue Data Contributor"),
    ("appPrincipalId", "hub", "Storage Table Data Contributor"),
    ("appPrincipalId", "data", "Storage Blob Data Contributor"),
    ("appPrincipalId", "data", "Storage Queue Data Contributor"),
    ("appPrincipalId", "batch", "Azure Batch Data Contributor"),
    ("appPrincipalId", "insights", "Monitoring Metrics Publisher"),
    ("workerPrincipalId", "registry", "AcrPull"),
    ("workerPrincipalId", "data", "Storage Blob Data Contributor"),
    ("workerPrincipalId", "completions", "Storage Queue Data Message Sender"),
    ("workerPrincipalId", "insights", "Monitoring Metrics Publisher"),
    ("operatorPrincipalId", "data", "Storage Blob Data Contributor"),
    ("capturePrincipalId", "container", "Storage Blob Data Contributor"),
}
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ROLE = re.compile(r"roles(?:\['([^']+)'\]|\.(\w+))")


def assignments(templates: dict[str, Template]) -> list[tuple[str, str, str, dict[str, str]]]:
    """(principal, scope, role, the assignment's parts as text) of every role assignment."""
    found = []
    for template in templates.values():
        for declared in template.resources.values():
            if declared.kind == "Microsoft.Authorization/roleAssignments":
                body = {key: text_of(value) for key, value in declared.properties().items()}
                inner = {c.named_children[0]: c for c in declared.properties()["properties"].named_children}
                body |= {text_of(key): text_of(c.named_children[1]) for key, c in inner.items()}
                role = _ROLE.search(body["roleDefinitionId"])
                assert role, f"{template.path.name}: a role that is not taken from roles.json by its name"
                found.append((body["principalId"], body["scope"], role[1] or role[2], body))
    return found


def test_every_role_id_is_the_one_that_its_name_says() -> None:
    """roles.json agrees with the public list of built-in roles."""
    assert json.loads((INFRA / "roles.json").read_text()) == BUILT_IN


def test_role_ids_stand_in_one_place_only() -> None:
    """No Bicep file carries a GUID of its own."""
    for path in INFRA.rglob("*.bicep"):
        assert not _GUID.search(path.read_text()), path.name


def test_nobody_has_more_than_the_list(templates: dict[str, Template]) -> None:
    """Who has which role where is exactly the reviewed list."""
    found = [row[:3] for row in assignments(templates)]
    assert len(found) == len(set(found))
    assert set(found) == EXPECTED


def test_assignments_are_named_after_what_they_assign(templates: dict[str, Template]) -> None:
    """The name is guid(scope, principal, role), so that a second deployment changes nothing, and the reason is written down."""
    for principal, scope, role, body in assignments(templates):
        key = f"roles.{role}" if role.isidentifier() else f"roles['{role}']"
        assert body["name"] == f"guid({scope}.id, {principal}, {key})"
        assert body["roleDefinitionId"] == (
            f"subscriptionResourceId('Microsoft.Authorization/roleDefinitions', {key})"
        )
        assert body["description"].endswith(".'")
        expected = "operatorPrincipalType" if principal == "operatorPrincipalId" else "'ServicePrincipal'"
        assert body["principalType"] == expected


def test_every_role_is_used_and_explained(templates: dict[str, Template]) -> None:
    """roles.json holds no role that nobody has, and infra/README.md says what each is for."""
    used = {row[2] for row in assignments(templates)}
    readme = (INFRA / "README.md").read_text()
    assert used == set(BUILT_IN)
    assert [role for role in used if role not in readme] == []


def test_capture_may_write_before_it_is_switched_on(templates: dict[str, Template]) -> None:
    """The hub waits for Capture's role, without which its deployment fails."""
    hub = templates["modules/event_hubs.bicep"].resources["hub"].properties()
    assert [text_of(n) for n in hub["dependsOn"].named_children] == ["captureWrites"]
