"""Who may be reached how: URLs, identities and the emulator's account."""

from pathlib import Path

import pytest

from fleetscore.errors import SettingsError
from fleetscore.store import azure_access, open_store
from fleetscore.store.azure_access import Resource, credential_for, parse_resource


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.blob.core.windows.net/fleet", Resource("https://a.blob.core.windows.net", "fleet", False)),
        ("https://a.blob.core.windows.net/fleet/", Resource("https://a.blob.core.windows.net", "fleet", False)),
        ("http://127.0.0.1:1/devstoreaccount1/c", Resource("http://127.0.0.1:1/devstoreaccount1", "c", True)),
        ("http://localhost:1/devstoreaccount1/c", Resource("http://localhost:1/devstoreaccount1", "c", True)),
        ("http://[::1]:1/devstoreaccount1/c", Resource("http://[::1]:1/devstoreaccount1", "c", True)),
    ],
)  # fmt: skip
def test_a_url_names_one_container(url: str, expected: Resource) -> None:
    """The URL's account and container are found, and plain http on loopback means an emulator."""
    assert parse_resource(url, "container") == expected
    assert parse_resource(expected.url, "container") == expected


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://account.blob.core.windows.net/fleet", "plain http"),
        ("http://127.0.0.1.example.com/devstoreaccount1/fleet", "plain http"),
        ("http://10.0.0.4:10000/devstoreaccount1/fleet", "plain http"),
        ("https://account.blob.core.windows.net/fleet?sv=2026&sig=secret", "key or a signature"),
        ("https://user:secret@account.blob.core.windows.net/fleet", "key or a signature"),
        ("https://account.blob.core.windows.net/", "does not name one container"),
        ("https://account.blob.core.windows.net/fleet/folder", "does not name one container"),
        ("http://127.0.0.1:10000/fleet", "does not name one container"),
    ],
)
def test_unsafe_and_ambiguous_urls_are_refused(url: str, reason: str) -> None:
    """Plain http beyond this machine, secrets in the URL and anything but one container are refused, without repeating a secret."""
    with pytest.raises(SettingsError, match=reason) as caught:
        open_store(url)
    assert "secret" not in str(caught.value)


def test_the_identity_is_the_one_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client id in the environment chooses that managed identity; without one the default chain is used."""
    resource = Resource("https://account.blob.core.windows.net", "fleet", False)
    monkeypatch.setenv("FLEETSCORE_IDENTITY_CLIENT_ID", "11111111-2222-3333-4444-555555555555")
    assert type(credential_for(resource)).__name__ == "ManagedIdentityCredential"
    monkeypatch.delenv("FLEETSCORE_IDENTITY_CLIENT_ID")
    assert type(credential_for(resource)).__name__ == "DefaultAzureCredential"
    assert credential_for(resource) is credential_for(resource)


def test_no_key_is_in_the_code() -> None:
    """The emulator's public key comes from the SDK's own shortcut; no storage key stands in our code."""
    emulator = Resource("http://127.0.0.1:1/devstoreaccount1", "c", True)
    name, key = credential_for(emulator).named_key
    assert name == "devstoreaccount1"
    sources = Path(azure_access.__file__).parent.glob("*.py")
    assert all(key not in source.read_text() for source in sources)
