"""No key, connection string, password or SAS: identities only, everywhere in the deployment."""

import re
from pathlib import Path

import pytest

from tests.infra.bicep_reader import Template, entries, text_of, walk
from tests.infra.places import INFRA, ROOT

FORBIDDEN = re.compile(
    r"\blist(Keys|AccountSas|ServiceSas|Credentials|ConnectionStrings|Secrets)\b|AccountKey|SharedAccessKey|sharedAccessSignature"
    r"|DefaultEndpointsProtocol|BlobEndpoint=|[?&]s(ig|v)=|InstrumentationKey|password\s*[:=]|adminUserEnabled: true",
    re.IGNORECASE,
)
FILES = sorted(
    path
    for path in [*INFRA.rglob("*"), *(ROOT / ".github").rglob("*"), ROOT / "azure.yaml"]
    if path.is_file() and "__pycache__" not in path.parts and path.name != "README.md"
)


def secrets_in(text: str) -> list[str]:
    """The places of a text that are a secret or ask for one."""
    return [found[0] for found in FORBIDDEN.finditer(text)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_file_holds_or_asks_for_a_secret(path: Path) -> None:
    """Neither a secret nor a function that fetches one stands in a file of the deployment."""
    assert secrets_in(path.read_text()) == []


@pytest.mark.parametrize(
    "planted",
    [
        "value: account.listKeys().keys[0].value",
        "'DefaultEndpointsProtocol=https;AccountName=a'",
        "url: 'https://a.blob.core.windows.net/c?sv=2024&sig=x'",
        "x: listAccountSas(a.id, '2024-01-01', {})",
        "param adminPassword string\npassword: adminPassword",
    ],
)
def test_planted_secrets_are_found(planted: str) -> None:
    """The search finds what it is for."""
    assert secrets_in(planted)


def test_workflows_use_no_stored_secret() -> None:
    """The workflows log in with a federated credential; not one repository secret is read."""
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        assert not re.search(r"\$\{\{[^}]*\bsecrets\b", path.read_text()), path.name


def _values(template: Template, key: str) -> list[str]:
    return [
        text_of(entries(node)[key])
        for node in walk(template.root)
        if node.type == "object" and key in entries(node)
    ]


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("modules/storage.bicep", "allowSharedKeyAccess", "false"),
        ("modules/storage.bicep", "allowBlobPublicAccess", "false"),
        ("modules/registry.bicep", "adminUserEnabled", "false"),
        ("modules/event_hubs.bicep", "disableLocalAuth", "true"),
        ("modules/monitoring.bicep", "DisableLocalAuth", "true"),
        ("modules/monitoring.bicep", "disableLocalAuth", "true"),
    ],
)
def test_keys_are_switched_off_where_a_service_has_them(
    templates: dict[str, Template], file: str, key: str, value: str
) -> None:
    """Every service with keys of its own is told to refuse them."""
    assert _values(templates[file], key) == [value]


def test_batch_takes_entra_id_only(templates: dict[str, Template]) -> None:
    """The Batch account refuses shared keys."""
    (modes,) = _values(templates["modules/batch.bicep"], "allowedAuthenticationModes")
    assert modes.split() == ["[", "'AAD'", "]"]


def test_publishing_passwords_are_switched_off(templates: dict[str, Template]) -> None:
    """Neither FTP nor the deployment site of the app takes a password."""
    policies = [
        declared.properties()
        for declared in templates["modules/function_app.bicep"].resources.values()
        if declared.kind == "Microsoft.Web/sites/basicPublishingCredentialsPolicies"
    ]
    assert sorted(text_of(p["name"]) for p in policies) == ["'ftp'", "'scm'"]
    assert _values(templates["modules/function_app.bicep"], "allow") == ["false", "false"]


def test_the_one_connection_string_is_an_address(templates: dict[str, Template]) -> None:
    """Application Insights' is set because the platform wants it; with local authentication off it opens nothing."""
    uses = [
        text_of(node)
        for template in templates.values()
        for node in walk(template.root)
        if node.type == "member_expression" and "connectionstring" in text_of(node).lower()
    ]
    assert uses == ["insights.properties.ConnectionString"]


def test_the_webhook_s_address_stays_out_of_the_history(templates: dict[str, Template]) -> None:
    """Such addresses often carry a token, so the parameter is secure wherever it passes."""
    for path in ("main.bicep", "modules/function_app.bicep"):
        assert "secure" in templates[path].parameters["webhookUrl"].decorators
