"""What the Blob store makes of a service that throttles, hangs, loses answers or refuses; all else is the real emulator."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import (
    ClientAuthenticationError,
    ServiceRequestError,
    ServiceRequestTimeoutError,
    ServiceResponseTimeoutError,
)

from fleetscore.errors import ConflictError, MissingBlobError, StoreError
from fleetscore.store import azure_access
from fleetscore.store.blob import BlobStore

MIB = 1024 * 1024

PASSING: dict[str, Callable[[Any], None]] = {
    "503": lambda wire: wire.answer(503, "ServerBusy"),
    "500": lambda wire: wire.answer(500, "OperationTimedOut"),
    "429": lambda wire: wire.answer(429, "TooManyRequests"),
    "connect timeout": lambda wire: wire.fail(ServiceRequestTimeoutError("timed out")),
    "read timeout": lambda wire: wire.fail(ServiceResponseTimeoutError("timed out")),
    "no connection": lambda wire: wire.fail(ServiceRequestError("name resolution failed")),
}


def write_in_blocks(store: BlobStore) -> None:
    """Let the store send anything above 1 MiB in blocks, as it sends contents above 64 MiB."""
    store._container._config.max_single_put_size = MIB
    store._container._config.max_block_size = MIB


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
def test_passing_faults_are_waited_out(
    wired_store: BlobStore, wire: Any, fault: Callable[[Any], None]
) -> None:
    """Two faults in a row cost every operation two waits of seconds, and nothing else."""
    etag = wired_store.write("a", b"old")
    operations: list[Callable[[], Any]] = [
        lambda: wired_store.read("a"),
        lambda: wired_store.stat("a"),
        lambda: list(wired_store.list("")),
        lambda: wired_store.open("a").read(),
        lambda: wired_store.create("b", b"new"),
        lambda: wired_store.replace("a", b"new", etag),
        lambda: wired_store.write("c", b"new"),
        partial(wired_store.delete, "c"),
    ]
    for operation in operations:
        wire.waits_s.clear()
        fault(wire)
        fault(wire)
        assert operation() is not False
        assert wire.faults == []
        assert len(wire.waits_s) == 2
        assert sum(wire.waits_s) <= 10
    assert wired_store.read("a") == wired_store.read("b") == b"new"
    assert wired_store.stat("c") is None


def test_a_throttling_service_says_how_long_to_wait(wired_store: BlobStore, wire: Any) -> None:
    """Retry-After of a 429 is kept to, up to a minute."""
    wired_store.write("a", b"x")
    for asked in ("7", "3600"):
        wire.answer(429, "TooManyRequests", headers={"Retry-After": asked})
    assert wired_store.read("a") == b"x"
    assert wire.waits_s == [7.0, 60.0]


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
def test_a_fault_that_stays_is_an_error_worth_retrying(
    wired_store: BlobStore, wire: Any, fault: Callable[[Any], None]
) -> None:
    """After a bounded number of tries and waits, a StoreError that says so, with retry set."""
    wired_store.write("a", b"x")
    wire.requests.clear()
    for _ in range(100):
        fault(wire)
    with pytest.raises(StoreError, match="did not answer a request for a") as caught:
        wired_store.read("a")
    assert caught.value.retry is True
    assert caught.value.__cause__ is not None
    assert 4 <= len(wire.requests) <= 8
    assert sum(wire.waits_s) <= 75


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_names_the_role(wired_store: BlobStore, wire: Any, status: int) -> None:
    """401 and 403 are not sent again; the error names the role, and a token that was refused, which another try gets anew."""
    wired_store.write("a", b"x")
    operations: list[Callable[[], Any]] = [
        lambda: wired_store.read("a"),
        lambda: wired_store.stat("a"),
        lambda: list(wired_store.list("")),
        lambda: wired_store.open("a"),
        lambda: wired_store.create("b", b"y"),
        lambda: wired_store.write("a", b"y"),
        lambda: wired_store.delete("a"),
    ]
    for operation in operations:
        wire.requests.clear()
        wire.answer(status, "AuthorizationPermissionMismatch")
        with pytest.raises(StoreError, match='role "Storage Blob Data Contributor"') as caught:
            operation()
        assert (caught.value.retry, caught.value.code, len(wire.requests)) == (
            status == 401,
            "no_access",
            1,
        )
        assert ("did not accept the token" in str(caught.value)) == (status == 401)


def test_a_lost_answer_does_not_lose_a_creation(wired_store: BlobStore, wire: Any) -> None:
    """A create whose answer is lost is sent again, meets its own content, and is True; another's content stays False."""
    wired_store.write("warm", b"")
    wire.lose_answer("PUT")
    assert wired_store.create("a", b"mine") is True
    wire.interpose("PUT", lambda: BlobStore.from_url(wired_store.url).write("b", b"theirs"))
    assert wired_store.create("b", b"mine") is False
    assert (wired_store.read("a"), wired_store.read("b")) == (b"mine", b"theirs")


def test_a_lost_answer_does_not_lose_a_replacement(wired_store: BlobStore, wire: Any) -> None:
    """A replace whose answer is lost is sent again, meets its own content, and returns that content's etag."""
    etag = wired_store.write("a", b"1")
    wire.lose_answer("PUT")
    etag = wired_store.replace("a", b"2", etag)
    assert wired_store.read_tagged("a") == (b"2", etag)


def test_conflicts_of_another_kind_are_not_taken_for_a_lost_race(wired_store: BlobStore, wire: Any) -> None:
    """Of the 409 and 412 only those that mean "somebody was first" are; a lease or a deleted container is a StoreError."""
    wired_store.write("warm", b"")
    for status, code in (
        (409, "ContainerBeingDeleted"),
        (412, "LeaseIdMissing"),
        (400, "InvalidHeaderValue"),
    ):
        wire.answer(status, code)
        with pytest.raises(StoreError, match=code) as caught:
            wired_store.create("a", b"x")
        assert not isinstance(caught.value, ConflictError)


def test_racers_in_blocks_lose_by_any_of_the_service_s_answers(wired_store: BlobStore, wire: Any) -> None:
    """A create in blocks that is overtaken just before its commit is False, and the first content stands."""
    write_in_blocks(wired_store)
    theirs = BlobStore.from_url(wired_store.url)
    wired_store.write("warm", b"")
    wire.interpose("PUT blocklist", lambda: theirs.write("a", b"theirs"))
    assert wired_store.create("a", b"m" * 3 * MIB) is False
    assert wired_store.read("a") == b"theirs"
    theirs.write("b", b"theirs")
    wire.answer(400, "InvalidBlockList", "PUT blocklist")
    assert wired_store.create("b", b"m" * 3 * MIB) is False


def test_a_sink_overtaken_in_blocks_sends_them_again(wired_store: BlobStore, wire: Any) -> None:
    """Another commit drops the blocks of an unfinished write; the write is repeated and then stands, as the last one."""
    write_in_blocks(wired_store)
    theirs = BlobStore.from_url(wired_store.url)
    wired_store.write("warm", b"")
    wire.interpose("PUT blocklist", lambda: theirs.write("a", b"theirs"))
    content = b"m" * 3 * MIB
    with wired_store.sink("a") as file:
        file.write(content)
    assert wired_store.read("a") == content
    wire.answer(400, "InvalidBlockList", "PUT blocklist")
    assert wired_store.write("a", content[1:])
    assert wired_store.read("a") == content[1:]
    assert wire.faults == []


def test_a_sink_that_cannot_be_sent_leaves_the_old_content(wired_store: BlobStore, wire: Any) -> None:
    """When the service refuses in the middle of the blocks, readers keep the version before."""
    write_in_blocks(wired_store)
    wired_store.write("a", b"old")
    wire.answer(403, "AuthorizationFailure", "PUT block")
    with pytest.raises(StoreError), wired_store.sink("a") as file:
        file.write(b"n" * 3 * MIB)
    assert wired_store.read("a") == b"old"
    assert [e.size_bytes for e in wired_store.list("")] == [3]


def test_a_read_in_chunks_starts_again_when_overtaken(wired_store: BlobStore, wire: Any) -> None:
    """A content overwritten between two chunks is read again from the start, so it is one version."""
    old, new = b"o" * 20 * MIB, b"n" * 20 * MIB
    wired_store.write("a", old)
    wire.interpose("GET", lambda: None)
    wire.interpose("GET", lambda: BlobStore.from_url(wired_store.url).write("a", new))
    content, etag = wired_store.read_tagged("a")
    assert content == new
    entry = wired_store.stat("a")
    assert entry is not None
    assert entry.etag == etag


@pytest.mark.parametrize("times", [1, 100])
def test_a_body_cut_off_is_fetched_again(
    wired_store: BlobStore, wire: Any, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """A connection lost in the middle of a content costs another request; one that is lost each time is worth a later retry."""
    wired_store.write("a", b"content")
    monkeypatch.setattr("time.sleep", lambda s: None)
    for _ in range(times):
        wire.cut_body("GET")
    if times == 1:
        assert wired_store.read("a") == b"content"
        return
    with pytest.raises(StoreError, match=r"did not answer.*connection broken") as caught:
        wired_store.read("a")
    assert caught.value.retry is True


def test_folders_of_a_hierarchical_account_are_no_entries(wired_store: BlobStore) -> None:
    """Accounts with a hierarchical namespace show folders as empty blobs with a mark; they are not listed, nor is one there."""
    wired_store.write("data/x/1.csv", b"1")
    wired_store._container.upload_blob("data/x", b"", metadata={"hdi_isfolder": "true"})
    assert [e.path for e in wired_store.list("data/")] == ["data/x/1.csv"]
    assert wired_store.stat("data/x") is None


def test_an_open_file_never_mixes_versions(wired_store: BlobStore) -> None:
    """A read from an open file after its path was overwritten or deleted is an error, not bytes of another version."""
    wired_store.write("a", b"o" * 5 * MIB)
    file = wired_store.open("a")
    assert file.read_at(10, 4 * MIB) == b"o" * 10
    wired_store.write("a", b"n" * 5 * MIB)
    with pytest.raises(ConflictError, match="a was overwritten"):
        file.read_at(10, 2 * MIB)
    wired_store.delete("a")
    with pytest.raises((ConflictError, MissingBlobError)):  # which of the two is the service's choice
        file.read_at(10, 2 * MIB)


class Token:
    """A credential that gives the same token to everybody."""

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """A token for the storage service."""
        assert scopes == ("https://storage.azure.com/.default",)
        return AccessToken("the-token", 4102444800)


def test_a_missing_container_in_the_cloud_is_an_error(wire: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only an emulator's container is made on demand; elsewhere reads and writes name the container that is missing."""
    monkeypatch.setattr(azure_access, "_identity", lambda client_id: Token())
    store = BlobStore.from_url("https://account.blob.core.windows.net/fleet", transport=wire)
    operations: list[Callable[[], Any]] = [
        lambda: store.read("a"),
        lambda: store.stat("a"),
        lambda: store.write("a", b""),
        lambda: store.create("a", b""),
        lambda: list(store.list("")),
    ]
    for operation in operations:
        wire.answer(404, "ContainerNotFound")
        with pytest.raises(StoreError, match=r"core\.windows\.net/fleet does not exist") as caught:
            operation()
        assert (caught.value.code, caught.value.retry) == ("no_container", False)
        assert wire.faults == []
    assert {r.headers["Authorization"] for r in wire.requests} == {"Bearer the-token"}


_CHALLENGE = "Bearer authorization_uri=https://login.microsoftonline.com/tenant/oauth2/authorize resource_id=https://storage.azure.com"


@pytest.mark.parametrize(
    ("refusals", "tokens"), [(1, "ab"), (3, "abbc")], ids=["a new token helps", "the new one is refused too"]
)
def test_a_token_that_expires_is_got_anew(
    wire: Any, monkeypatch: pytest.MonkeyPatch, refusals: int, tokens: str
) -> None:
    """A refused token is replaced within the request; where that is refused too, the cause names it and the next try has a third."""
    given = iter("abcd")

    class Expiring:
        def get_token(self, *scopes: str, **options: Any) -> AccessToken:
            return AccessToken(next(given), 4102444800)

    monkeypatch.setattr(azure_access, "_identity", lambda client_id: Expiring())
    store = BlobStore.from_url("https://account.blob.core.windows.net/fleet", transport=wire)
    for _ in range(refusals):
        wire.answer(401, "InvalidAuthenticationInfo", headers={"WWW-Authenticate": _CHALLENGE})
    wire.answer(404, "BlobNotFound")
    sent: list[str] = []
    send = wire.send
    monkeypatch.setattr(
        wire,
        "send",
        lambda request, **options: sent.append(request.headers["Authorization"]) or send(request),
    )
    if refusals > 1:
        with pytest.raises(StoreError, match="401 InvalidAuthenticationInfo") as caught:
            store.stat("a")
        assert (caught.value.retry, caught.value.code) == (True, "no_access")
    assert store.stat("a") is None
    assert sent == [f"Bearer {token}" for token in tokens]


def test_an_identity_that_gets_no_token_is_a_refusal(wire: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """When signing in fails, nothing is sent, nothing is waited for, and the error says how to sign in."""

    class NoToken:
        def get_token(self, *scopes: str, **options: Any) -> AccessToken:
            raise ClientAuthenticationError("no managed identity endpoint found")

    monkeypatch.setattr(azure_access, "_identity", lambda client_id: NoToken())
    store = BlobStore.from_url("https://account.blob.core.windows.net/fleet", transport=wire)
    with pytest.raises(StoreError, match="no managed identity endpoint found") as caught:
        store.read("a")
    assert (caught.value.retry, caught.value.code, wire.requests) == (False, "no_access", [])
    assert wire.waits_s == []
    assert "az login" in caught.value.fix
