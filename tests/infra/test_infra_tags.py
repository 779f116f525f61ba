"""Tags: every resource that takes tags carries those that the operator names."""

from tests.infra.bicep_reader import Template, text_of
from tests.infra.bicep_values import Values

# Parts of another resource, or of the subscription: Azure keeps no tags of them.
WITHOUT_TAGS = {
    "Microsoft.Authorization/roleAssignments",
    "Microsoft.Consumption/budgets",
    "Microsoft.EventHub/namespaces/eventhubs",
    "Microsoft.Insights/diagnosticSettings",
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups",
    "Microsoft.Storage/storageAccounts/blobServices",
    "Microsoft.Storage/storageAccounts/blobServices/containers",
    "Microsoft.Storage/storageAccounts/queueServices",
    "Microsoft.Storage/storageAccounts/queueServices/queues",
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies",
    "Microsoft.Web/sites/config",
}


def test_every_resource_carries_the_tags(templates: dict[str, Template]) -> None:
    """A resource either passes the parameter `tags` on, alone or beside tags of its own, or is of a type without tags."""
    bare = []
    for path, template in templates.items():
        for name, declared in template.resources.items():
            given = declared.properties().get("tags")
            if declared.existing or declared.kind in WITHOUT_TAGS:
                assert given is None, f"{path}: {name}"
            elif given is None or not text_of(given).startswith(("tags", "union(tags, ")):
                bare.append(f"{path}: {name}")
    assert bare == []


def test_every_module_is_given_the_tags(main: Template) -> None:
    """Each module that makes more than role assignments gets the operator's tags."""
    given = Values(main, {"tags": {"a": "b"}, "environmentName": "e", "location": "l"}, lambda n, p: n)
    for name in set(main.modules) - {"roles"}:
        assert given.module_parameters(name)["tags"] == {"a": "b"}, name


def test_tags_that_azd_reads_stay(templates: dict[str, Template]) -> None:
    """The group keeps the environment's name and the app its service's name, whatever the operator's tags say."""
    group = templates["foundation.bicep"].resources["group"].properties()["tags"]
    app = templates["modules/function_app.bicep"].resources["app"].properties()["tags"]
    assert text_of(group) == "union(tags, { 'azd-env-name': environmentName })"
    assert text_of(app) == "union(tags, { 'azd-service-name': 'app' })"
