"""The storage emulator that other tests stand on."""

from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient


def test_azurite_serves_blobs_and_queues(azurite: str) -> None:
    """The connection string of the shared fixture reaches a working blob and queue service."""
    blob = BlobServiceClient.from_connection_string(azurite).create_container("probe").get_blob_client("a/b")
    blob.upload_blob(b"bytes")
    assert blob.download_blob().readall() == b"bytes"
    queue = QueueServiceClient.from_connection_string(azurite).create_queue("probe")
    queue.send_message("text")
    assert next(iter(queue.receive_messages())).content == "text"
