"""Listing a container: the service's answers read directly, since the SDK takes ten times as long to make
objects of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from azure.core.pipeline.policies import ContentDecodePolicy
from azure.storage.blob import ContainerClient

from fleetscore.store.azure_access import ON_ANSWER
from fleetscore.store.base import Entry

FOLDER_MARK = "hdi_isfolder"
"""Accounts with a hierarchical namespace show their folders as empty blobs with this metadata."""

_MOST_A_PAGE = 5000  # the service's own limit
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), 1
    )
}


def list_entries(container: ContainerClient, prefix: str, most: int | None) -> Iterator[Entry]:
    """The blobs whose name starts with `prefix`, in the order of the service; in pages of `most` where given.

    The SDK's listing of names is called; each answer holds all that an entry needs.
    """
    answers: list[Any] = []
    noted: dict[str, Any] = {ON_ANSWER: answers.append}
    pages = container.list_blob_names(
        name_starts_with=prefix or None,
        results_per_page=None if most is None else min(most + 1, _MOST_A_PAGE),  # the first may be a folder
        include=["metadata"],
        **noted,
    ).by_page()
    for _ in pages:
        listed = answers[-1].context[ContentDecodePolicy.CONTEXT_NAME]
        answers.clear()
        for blob in listed.find("Blobs"):
            if entry := _read_entry(blob):
                yield entry


def read_http_date(text: str) -> datetime:
    """The aware moment of an HTTP date (RFC 9110, section 5.6.7).

    >>> read_http_date("Fri, 20 Nov 2026 18:35:04 GMT").isoformat()
    '2026-11-20T18:35:04+00:00'
    """
    day, month, year, time = text[5:7], text[8:11], text[12:16], text[17:25]
    hour, minute, second = time.split(":")
    return datetime(int(year), _MONTHS[month], int(day), int(hour), int(minute), int(second), tzinfo=UTC)


def _read_entry(blob: Any) -> Entry | None:
    """The entry of a <Blob> element; None for a folder."""
    properties = {element.tag: element.text or "" for element in blob.find("Properties")}
    metadata = blob.find("Metadata")
    if metadata is not None and metadata.findtext(FOLDER_MARK) == "true":
        return None
    name = blob.find("Name")
    path = unquote(name.text) if name.get("Encoded") == "true" else name.text
    modified = read_http_date(properties["Last-Modified"])
    return Entry(path, int(properties["Content-Length"]), properties["Etag"].strip('"'), modified)
