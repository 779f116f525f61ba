"""Identities: what is believed, whose names are on record, and what each role may do."""

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from token_issuer import AUDIENCE, Issuer, issuing, principal

from fleetscore.app_settings import AppSettings
from fleetscore.errors import AccessError, CapacityError, FleetscoreError, SettingsError, SignInError
from triggers import tokens
from triggers.callers import Caller, check_role, identify
from triggers.endpoints import find_endpoint


@pytest.fixture(scope="module")
def shared() -> Iterator[Issuer]:
    """An issuer of tokens that tests leave as it is."""
    with issuing() as issuer:
        yield issuer


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """An issuer of this test's own."""
    with issuing() as issuer:
        yield issuer


def app(issuer: Issuer, mode: str = "tokens") -> AppSettings:
    """The settings of an app that believes the issuer."""
    return AppSettings(auth=mode, auth_issuer=issuer.url, auth_audience=f"api://x, {AUDIENCE}")


def bearer(token: str) -> dict[str, str]:
    """The header of a token."""
    return {"authorization": f"Bearer {token}"}


def test_a_signed_token_names_its_caller_and_roles(shared: Issuer) -> None:
    """A person by name, an application by its client id, each with the app roles of the token."""
    assert identify(bearer(shared.token()), app(shared)) == Caller(
        "anna@contoso.com", frozenset({"operator"}), "token"
    )
    made = shared.token(preferred_username=None, azp="the-client", roles=["reader", "other"])
    assert identify(bearer(made), app(shared)) == Caller(
        "app the-client", frozenset({"reader", "other"}), "token"
    )


def unsigned(issuer: Issuer) -> str:
    """A token that says it needs no signature."""
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    return jwt.encode(claims, None, algorithm="none", headers={"kid": "first"})


def signed_with_the_public_key(issuer: Issuer) -> str:
    """A token whose HMAC secret is the issuer's public key."""
    public = issuer.keys["first"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    parts = [
        {"alg": "HS256", "typ": "JWT", "kid": "first"},
        {"iss": issuer.url, "aud": AUDIENCE, "exp": 2**33},
    ]
    text = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    import hmac

    signature = base64.urlsafe_b64encode(hmac.new(public, text, "sha256").digest()).rstrip(b"=")
    return (text + b"." + signature).decode()


def tampered(issuer: Issuer) -> str:
    """A token of a reader that was edited into one of an operator."""
    head, _, tail = issuer.token(roles=["reader"]).split(".")
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    return f"{head}.{base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b'=').decode()}.{tail}"


FORGED = {
    "another key": lambda issuer: issuer.token(key=rsa.generate_private_key(65537, 2048)),
    "unknown key id": lambda issuer: issuer.token(kid="nobody's"),
    "no algorithm": unsigned,
    "public key as secret": signed_with_the_public_key,
    "tampered": tampered,
    "expired": lambda issuer: issuer.token(exp=int(time.time()) - 3600),
    "not yet": lambda issuer: issuer.token(nbf=int(time.time()) + 3600),
    "no end": lambda issuer: issuer.token(exp=None),
    "another audience": lambda issuer: issuer.token(aud="somebody-else"),
    "no audience": lambda issuer: issuer.token(aud=None),
    "another issuer": lambda issuer: issuer.token(iss="https://login.microsoftonline.com/other/v2.0"),
    "no name": lambda issuer: issuer.token(preferred_username=None),
    "PS256": lambda issuer: issuer.token(alg="PS256"),
    "empty": lambda issuer: "",
    "text": lambda issuer: "x.y.z",
    "huge": lambda issuer: "a" * 200_000,
    "unicode": lambda issuer: "ü.ü.ü",
}


@pytest.mark.parametrize("name", FORGED)
def test_tokens_that_are_not_the_issuers_for_this_app_are_refused(shared: Issuer, name: str) -> None:
    """Forged, unsigned, expired, of others or for others: nobody is signed in, and the token is not repeated."""
    token = FORGED[name](shared)
    with pytest.raises(SignInError) as refused:
        identify(
            bearer(token) | {"x-ms-client-principal": principal("eve", "operator")}, app(shared, "easyauth")
        )
    assert len(token) < 20 or token not in str(refused.value)


def test_made_up_tokens_make_the_issuer_no_work(issuer: Issuer) -> None:
    """Keys are read once for many tokens, also for those with unknown key ids."""
    for number in range(20):
        with pytest.raises(SignInError):
            identify(bearer(issuer.token(kid=f"k{number}")), app(issuer))
    assert identify(bearer(issuer.token()), app(issuer)).name == "anna@contoso.com"
    assert issuer.asked == 1


def test_a_new_key_of_the_issuer_is_found(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a change of keys tokens of the new one are accepted, those of the one that was withdrawn are not."""
    old = issuer.token()
    identify(bearer(old), app(issuer))
    issuer.keys = {"second": rsa.generate_private_key(65537, 2048)}
    monkeypatch.setattr(tokens, "_ASKED_AGAIN_S", 0.0)
    new = issuer.token(key=issuer.keys["second"], kid="second")
    assert identify(bearer(new), app(issuer)).name == "anna@contoso.com"
    with pytest.raises(SignInError):
        identify(bearer(old), app(issuer))


def test_an_issuer_that_is_down_lets_nobody_in(issuer: Issuer) -> None:
    """Without keys no token is believed, and the answer says that the issuer is away."""
    issuer.down = True
    with pytest.raises(CapacityError, match="cannot be read"):
        identify(bearer(issuer.token()), app(issuer))


def test_the_header_counts_only_where_app_service_stands_in_front(shared: Issuer) -> None:
    """With `easyauth` its name and roles are taken; with `tokens` it is nobody."""
    headers = {"x-ms-client-principal": principal("ben@contoso.com", "reader")}
    assert identify(headers, app(shared, "easyauth")) == Caller(
        "ben@contoso.com", frozenset({"reader"}), "session"
    )
    with pytest.raises(SignInError):
        identify(headers, app(shared))


@pytest.mark.parametrize(
    "header",
    [
        "x", "e30=", "bnVsbA==", "W10=", "ü", "A" * 70_000, base64.b64encode(b'{"claims": 1}').decode(),
        base64.b64encode(b'{"auth_typ": "aad", "claims": [{"typ": 1, "val": []}]}').decode(),
        base64.b64encode(b"[" * 20_000).decode(), principal("a", "operator", provider="google"),
        principal("", "operator"),
    ],
)  # fmt: skip
def test_headers_that_app_service_does_not_send_are_nobody(shared: Issuer, header: str) -> None:
    """What cannot be read, names nobody, or is of another provider lets nobody in."""
    with pytest.raises(SignInError):
        identify({"x-ms-client-principal": header}, app(shared, "easyauth"))


@pytest.mark.parametrize(
    "settings",
    [
        AppSettings(), AppSettings(auth="on", auth_issuer="https://x", auth_audience="a"),
        AppSettings(auth="easyauth"), AppSettings(auth="tokens", auth_issuer="https://x", auth_audience=" , "),
        AppSettings(auth="tokens", auth_issuer="http://issuer.example", auth_audience="a"),
        AppSettings(auth="tokens", auth_issuer="file:///etc/passwd", auth_audience="a"),
        AppSettings(auth="tokens", auth_issuer="http://[", auth_audience="a"),
    ],
)  # fmt: skip
def test_incomplete_settings_let_nobody_in(shared: Issuer, settings: AppSettings) -> None:
    """Authentication that is off, half set or without https is an error that names the setting."""
    with pytest.raises(SettingsError, match="FLEETSCORE_AUTH"):
        identify(bearer(shared.token()), settings)


@pytest.mark.parametrize(
    ("roles", "reads", "changes"),
    [
        ((), False, False),
        (("other",), False, False),
        (("reader",), True, False),
        (("operator",), True, True),
        (("Operator",), False, False),
    ],
)
def test_each_role_may_do_its_own(roles: tuple[str, ...], reads: bool, changes: bool) -> None:
    """A reader reads, an operator changes too, anybody else may do nothing; the refusal names the role that is needed."""
    caller = Caller("anna", frozenset(roles), "token")
    for allowed, change in ((reads, False), (changes, True)):
        if allowed:
            check_role(caller, changes=change)
        else:
            with pytest.raises(AccessError, match="operator"):
                check_role(caller, changes=change)


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("GET", "runs", "runs"),
        ("GET", "models/toy/current", "models/{workload}/current"),
        ("POST", "runs/toy-w/publish", "runs/{id}/publish"),
        ("GET", "runs/toy-w/partitions/a%2Fb/c", "runs/{id}/partitions/{*partition}"),
        ("GET", "doctor/azure", "doctor/azure"),
        ("DELETE", "runs", None),
        ("GET", "runs/toy-w/wait", None),
        ("POST", "anomalydetector/v1.1/timeseries/entire/detect", None),
        ("GET", "../runtime/webhooks/durabletask/instances", None),
        ("GET", "", None),
        ("GET", "entra/runs", None),
    ],
)
def test_the_endpoints_are_those_that_ask_for_a_key(method: str, path: str, route: Any) -> None:
    """Each is found by its path, and none that has another way to let callers in."""
    found = find_endpoint(method, path)
    assert (found[0].route if found else None) == route
    if path.endswith("b/c"):
        assert found is not None
        assert found[1] == {"id": "toy-w", "partition": "a/b/c"}


def test_every_error_of_access_is_one_of_ours() -> None:
    """Refusals are in the one tree of errors, so that answers carry code and fix."""
    assert issubclass(SignInError, AccessError)
    assert issubclass(AccessError, FleetscoreError)
