"""What properties a resource type has and which values they take, read from Azure's own management packages."""

from __future__ import annotations

import enum
import importlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from tree_sitter import Node

from tests.infra.bicep_reader import entries, literal, text_of

# Resource type -> (management package, its model). What has no package here is checked by the compiler in CI only.
MODELS = {
    "Microsoft.Authorization/roleAssignments": ("authorization", "RoleAssignmentCreateParameters"),
    "Microsoft.Batch/batchAccounts": ("batch", "BatchAccountCreateParameters"),
    "Microsoft.Batch/batchAccounts/pools": ("batch", "Pool"),
    "Microsoft.Consumption/budgets": ("consumption", "Budget"),
    "Microsoft.ContainerRegistry/registries": ("containerregistry", "Registry"),
    "Microsoft.EventHub/namespaces": ("eventhub", "EHNamespace"),
    "Microsoft.EventHub/namespaces/eventhubs": ("eventhub", "Eventhub"),
    "Microsoft.Insights/actionGroups": ("monitor", "ActionGroupResource"),
    "Microsoft.Insights/components": ("applicationinsights", "ApplicationInsightsComponent"),
    "Microsoft.Insights/metricAlerts": ("monitor", "MetricAlertResource"),
    "Microsoft.Insights/scheduledQueryRules": ("monitor", "ScheduledQueryRuleResource"),
    "Microsoft.Insights/webtests": ("applicationinsights", "WebTest"),
    "Microsoft.ManagedIdentity/userAssignedIdentities": ("msi", "Identity"),
    "Microsoft.Network/natGateways": ("network", "NatGateway"),
    "Microsoft.Network/networkSecurityGroups": ("network", "NetworkSecurityGroup"),
    "Microsoft.Network/privateDnsZones": ("privatedns", "PrivateZone"),
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks": ("privatedns", "VirtualNetworkLink"),
    "Microsoft.Network/privateEndpoints": ("network", "PrivateEndpoint"),
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups": ("network", "PrivateDnsZoneGroup"),
    "Microsoft.Network/publicIPAddresses": ("network", "PublicIPAddress"),
    "Microsoft.Network/virtualNetworks": ("network", "VirtualNetwork"),
    "Microsoft.OperationalInsights/workspaces": ("loganalytics", "Workspace"),
    "Microsoft.Storage/storageAccounts": ("storage", "StorageAccountCreateParameters"),
    "Microsoft.Storage/storageAccounts/blobServices": ("storage", "BlobServiceProperties"),
    "Microsoft.Storage/storageAccounts/blobServices/containers": ("storage", "BlobContainer"),
    "Microsoft.Storage/storageAccounts/queueServices": ("storage", "QueueServiceProperties"),
    "Microsoft.Storage/storageAccounts/queueServices/queues": ("storage", "StorageQueue"),
    "Microsoft.Web/serverfarms": ("web", "AppServicePlan"),
    "Microsoft.Web/sites": ("web", "Site"),
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies": (
        "web",
        "CsmPublishingCredentialsPoliciesEntity",
    ),
}
# Keys of Bicep and of the resource manager, not of a service.
Properties = dict[str, Any]  # name -> annotation, or name -> further properties
_PLAIN = {"boolean", "identifier", "null", "number", "string"}
_ENVELOPE = {"name", "parent", "scope", "dependsOn", "location", "tags", "kind", "sku", "identity"}


@dataclass(frozen=True, slots=True)
class _Reading:
    """What a walk over one resource needs to know: the package's models, and the file's variables."""

    models: ModuleType
    variables: Mapping[str, Node]


def faults(kind: str, body: Node, variables: Mapping[str, Node] | None = None) -> list[str]:
    """Properties of a resource's body that its type does not have, and literal values that it does not take.

    Where the body uses one of the file's `variables`, the variable's own expression is read.
    """
    package, name = MODELS[kind]
    reading = _Reading(importlib.import_module(f"azure.mgmt.{package}.models"), variables or {})
    known = _properties(getattr(reading.models, name)) | dict.fromkeys(_ENVELOPE, "")
    return list(_faults(reading, known, name, body, ""))


def _faults(reading: _Reading, known: Properties, owner: str, body: Node, path: str) -> Iterator[str]:
    for key, value in entries(body).items():
        where = f"{path}{key}"
        if key in known:
            yield from _value_faults(reading, known[key], value, where)
        else:
            yield f"{where}: {owner} has no such property"


def _value_faults(reading: _Reading, annotation: str | Properties, value: Node, where: str) -> Iterator[str]:
    if value.type == "identifier" and text_of(value) in reading.variables:
        yield from _value_faults(reading, annotation, reading.variables[text_of(value)], where)
    elif isinstance(annotation, dict):
        yield from _faults(reading, annotation, where, value, f"{where}.")
    elif value.type == "ternary_expression":
        for branch in value.named_children[1:]:
            yield from _value_faults(reading, annotation, branch, where)
    elif value.type == "array":
        for item in value.named_children:
            yield from _value_faults(reading, annotation, item, where)
    elif "dict[" in annotation.lower():
        return
    elif value.type == "object":
        for model in _named(reading.models, annotation):
            kind = _chosen_kind(model, value)
            yield from _faults(reading, _properties(kind), kind.__name__, value, f"{where}.")
    elif value.type == "string" and all(child.type == "string_content" for child in value.named_children):
        allowed = {
            str(member.value)
            for choice in _named(reading.models, annotation)
            if issubclass(choice, enum.Enum)
            for member in choice
        }
        if allowed and literal(value) not in allowed:
            yield f"{where}: {literal(value)!r} is none of {', '.join(sorted(allowed))}"
    elif not value.type.endswith("expression") and value.type not in _PLAIN:
        yield f"{where}: the tests do not know {value.type} ({text_of(value)[:40]})"


def _chosen_kind(model: type[Any], value: Node) -> type[Any]:
    """The kind of a model that the object's `odata.type` names; the model itself where it has no kinds."""
    kind = entries(value).get("odata.type")
    if kind is None:
        return model
    (names,) = model._subtype_map.values()
    return getattr(importlib.import_module(model.__module__), names[literal(kind)])  # type: ignore[no-any-return]


def _named(models: ModuleType, annotation: str) -> list[type[Any]]:
    names = re.findall(r"models\.(?:_models\.)?(\w+)", annotation)
    return [getattr(models, name) for name in names if isinstance(getattr(models, name, None), type)]


def _properties(model: Any) -> Properties:
    """The names on the wire of a model's properties, with their annotations; the packages offer no public view of them."""
    if hasattr(model, "_attribute_map"):
        return _flattened_properties(model)
    annotations = {
        k: str(v)
        for base in reversed(model.__mro__)
        for k, v in vars(base).get("__annotations__", {}).items()
    }
    if "_attr_to_rest_field" not in vars(model):
        model()  # the names are filled in at first use
    return {rest._rest_name: annotations.get(name, "") for name, rest in model._attr_to_rest_field.items()}


def _flattened_properties(model: Any) -> Properties:
    """The same of a package of the older kind, which writes nested names as `properties.x`."""
    found: Properties = {}
    for entry in model._attribute_map.values():
        *outer, last = (part.replace("\\.", ".") for part in re.split(r"(?<!\\)\.", entry["key"]))
        place = found
        for name in outer:
            place = place.setdefault(name, {})
        kind = entry["type"]
        place[last] = "dict[" if kind.startswith("{") else f"models.{kind.strip('[]')}"
    return found
