"""The Blob store: a container of a storage account. Conditional writes are the service's own, so they hold
among all machines.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import IO, Any

import pyarrow as pa
from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.storage.blob import BlobClient, BlobPrefix, BlobProperties, ContainerClient

from fleetscore.errors import ConflictError, MissingBlobError, StoreError
from fleetscore.store.azure_access import (
    Resource,
    client_options,
    credential_for,
    error_code,
    parse_resource,
    store_error,
)
from fleetscore.store.base import Entry, check_path
from fleetscore.store.blob_listing import FOLDER_MARK, list_entries
from fleetscore.store.range_reads import RangeReader

ROLE = "Storage Blob Data Contributor"

_HEAD_BYTES = 64 * 1024  # opening a file brings this much of it, so that a small one needs one request
_CHUNK_BYTES = 8 * 1024 * 1024
_CONCURRENCY = 4  # chunks of one large read or write under way at once
_TRIES = 5  # at a read or a write that others keep disturbing
_LOST = {"BlobAlreadyExists", "ConditionNotMet", "InvalidBlockList", "BlobNotFound"}
_WRITE_ID = "writeid"


class BlobStore:
    """A Blob container as a store. Every content up to 64 MiB goes up in one request, a larger one in
    blocks and one commit.
    """

    def __init__(self, resource: Resource, container: ContainerClient) -> None:
        """Use `container`, which is `resource`; open one with `BlobStore.from_url`."""
        self.url = resource.url
        self._resource = resource
        self._container = container

    @classmethod
    def from_url(cls, url: str, transport: Any = None) -> BlobStore:
        """The container at `https://account.blob.core.windows.net/container`, or of an emulator on this
        machine.

        `transport` is an azure-core HttpTransport to send requests through in place of the usual one.
        An emulator's container is made on the first write. SettingsError for any other URL.
        """
        resource = parse_resource(url, "container")
        container = ContainerClient(
            resource.account_url,
            resource.name,
            credential=credential_for(resource),
            max_single_get_size=_CHUNK_BYTES,
            max_chunk_get_size=_CHUNK_BYTES,
            max_block_size=_CHUNK_BYTES,
            **client_options(transport),
        )
        return cls(resource, container)

    def exists(self) -> bool:
        """Whether the container is there; StoreError where that cannot be found out."""
        with self._explained(""):
            return self._container.exists()

    def read(self, path: str) -> bytes:
        """The content; MissingBlobError when there is none."""
        return self.read_tagged(path)[0]

    def read_tagged(self, path: str) -> tuple[bytes, str]:
        """Content and etag of the same version; MissingBlobError when there is none."""
        blob = self._blob(path)
        for _ in range(_TRIES):
            with self._explained(path), contextlib.suppress(ResourceModifiedError):  # overwritten meanwhile
                download = blob.download_blob(max_concurrency=_CONCURRENCY, decompress=False)
                return download.readall(), _bare(download.properties.etag)
        raise ConflictError(
            f"{path} was overwritten again and again while it was read.", fix="Read it later."
        )

    def open(self, path: str) -> pa.NativeFile:
        """A seekable reader that fetches ranges of one version; ConflictError from a read after that
        version was overwritten.
        """
        blob = self._blob(path)
        with self._explained(path):
            try:
                head = blob.download_blob(offset=0, length=_HEAD_BYTES, decompress=False)
            except HttpResponseError as error:
                if error.status_code != 416:
                    raise
                return pa.BufferReader(b"")  # an empty blob has no range to get
            size_bytes = int(str(head.properties.content_range).rpartition("/")[2])
            fetch = self._range_fetcher(path, head.properties.etag)
            return pa.PythonFile(RangeReader(fetch, size_bytes, head.readall()), mode="r")

    def write(self, path: str, data: bytes) -> str:
        """Write or overwrite whole; returns the etag."""
        with self._explained(path):
            return self._upload(path, data, overwrite=True)

    def create(self, path: str, data: bytes) -> bool:
        """Write only if nothing is there; of many racing calls exactly one gets True, also when an answer
        was lost on the way.
        """
        return self._upload_if(path, data, overwrite=False) is not None

    def replace(self, path: str, data: bytes, etag: str | None) -> str:
        """Write only over the version `etag` (None: only if nothing is there); ConflictError otherwise.
        Returns the new etag.
        """
        condition: dict[str, Any] = {"overwrite": False}
        if etag is not None:
            condition = {
                "overwrite": True,
                "etag": f'"{etag}"',
                "match_condition": MatchConditions.IfNotModified,
            }
        written = self._upload_if(path, data, **condition)
        if written is None:
            raise ConflictError(
                f"{path} was modified concurrently since it was read.", fix="Read it again and retry."
            )
        return written

    @contextlib.contextmanager
    def sink(self, path: str) -> Iterator[IO[bytes]]:
        """A writer for large files, through an unnamed temporary file; uploaded and committed when the
        block ends well.
        """
        check_path(path)
        with tempfile.TemporaryFile() as spool:
            with os.fdopen(os.dup(spool.fileno()), "wb") as file:  # its own handle: the block may close it
                yield file
            with self._explained(path):
                self._upload(path, spool, overwrite=True)

    def stat(self, path: str) -> Entry | None:
        """The entry at exactly that path, or None."""
        try:
            with self._explained(path):
                return _entry(path, self._blob(path).get_blob_properties())
        except MissingBlobError:
            return None

    def list(self, prefix: str, most: int | None = None) -> Iterator[Entry]:
        """The first `most` entries, or all, whose path starts with `prefix`, in the order of the service,
        which is that of their paths.
        """
        try:
            with self._explained(prefix):
                yield from islice(list_entries(self._container, prefix, most), most)
        except MissingBlobError:  # an emulator's container without blobs
            return

    def list_folders(self, folder: str) -> Sequence[str]:
        """The folders directly in `folder` ("" or ending with "/") that hold anything, each ending with
        "/", sorted.
        """
        try:
            with self._explained(folder):
                found = self._container.walk_blobs(name_starts_with=folder or None, delimiter="/")
                return [item.name for item in found if isinstance(item, BlobPrefix)]
        except MissingBlobError:  # an emulator's container without blobs
            return []

    def flush(self, paths: Iterable[str]) -> None:
        """Nothing to do: the service answers a write when it is stored."""

    def delete(self, path: str, etag: str | None = None) -> None:
        """Remove the path, or only the version `etag` of it; nothing happens if that is not there."""
        version: dict[str, Any] = {}
        if etag is not None:
            version = {"etag": f'"{etag}"', "match_condition": MatchConditions.IfNotModified}
        with contextlib.suppress(MissingBlobError, ConflictError), self._explained(path):
            self._blob(path).delete_blob(delete_snapshots="include", **version)

    def _range_fetcher(self, path: str, etag: str | None) -> Callable[[int, int], bytes]:
        """Bytes [start, stop) of the version `etag`, by request; ConflictError if that is no longer the one
        there.
        """
        blob = self._blob(path)

        def fetch(start: int, stop: int) -> bytes:
            with self._explained(path):
                return blob.download_blob(
                    offset=start,
                    length=stop - start,
                    etag=etag,
                    match_condition=MatchConditions.IfNotModified,
                    max_concurrency=_CONCURRENCY,
                    decompress=False,
                ).readall()

        return fetch

    def _upload_if(self, path: str, data: bytes, **condition: Any) -> str | None:
        """The etag of what was written, or None if the condition did not hold."""
        write_id = uuid.uuid4().hex
        with self._explained(path):
            try:
                return self._upload(path, data, metadata={_WRITE_ID: write_id}, **condition)
            except HttpResponseError as error:
                if error_code(error) not in _LOST:
                    raise
            return self._etag_if_ours(path, write_id)

    def _etag_if_ours(self, path: str, write_id: str) -> str | None:
        """The etag if `write_id` wrote what is there: a request sent twice meets its own success as another
        writer's.
        """
        try:
            found = self._blob(path).get_blob_properties()
        except ResourceNotFoundError:
            return None
        return _bare(found.etag) if found.metadata.get(_WRITE_ID) == write_id else None

    def _upload(self, path: str, data: bytes | IO[bytes], **options: Any) -> str:
        """The etag of what was written; the SDK's errors come through."""
        blob = self._blob(path)
        for _ in range(_TRIES - 1):
            try:
                return _put(blob, data, options)
            except HttpResponseError as error:
                if not self._is_cleared(error, options):
                    raise
        return _put(blob, data, options)

    def _is_cleared(self, error: HttpResponseError, options: dict[str, Any]) -> bool:
        """Whether what made an upload fail is out of the way now, so that the same upload can be sent
        again.
        """
        code = error_code(error)
        if code == "ContainerNotFound" and self._resource.is_emulator:
            with contextlib.suppress(ResourceExistsError):
                self._container.create_container()
            return True
        # Another writer's commit dropped our uncommitted blocks. A conditional write has lost then; another comes next.
        return code == "InvalidBlockList" and options == {"overwrite": True}

    def _blob(self, path: str) -> BlobClient:
        return self._container.get_blob_client(check_path(path))

    @contextlib.contextmanager
    def _explained(self, path: str) -> Iterator[None]:
        """Turn the SDK's errors into ours."""
        try:
            yield
        except ResourceNotFoundError as error:
            if error_code(error) == "ContainerNotFound" and not self._resource.is_emulator:
                raise StoreError(
                    f"The container {self.url} does not exist.",
                    fix="Deploy the infrastructure, which makes it, or correct the store's URL.",
                    code="no_container",
                    retry=False,
                ) from error
            raise MissingBlobError(f"{path} is not in the store.") from error
        except ResourceModifiedError as error:
            raise ConflictError(
                f"{path} was overwritten or deleted while it was read.", fix="Open it again."
            ) from error
        except AzureError as error:
            raise store_error(error, f"a request for {path or self.url}", ROLE) from error


def _put(blob: BlobClient, data: bytes | IO[bytes], options: dict[str, Any]) -> str:
    if not isinstance(data, bytes):
        data.seek(0)
    return _bare(blob.upload_blob(data, max_concurrency=_CONCURRENCY, **options)["etag"])


def _entry(path: str, found: BlobProperties) -> Entry | None:
    if (found.metadata or {}).get(FOLDER_MARK) == "true":
        return None
    return Entry(path, found.size, _bare(found.etag), found.last_modified)


def _bare(etag: str | None) -> str:
    """The etag without quotes, as a listing gives it; other answers put them around it."""
    return (etag or "").strip('"')
