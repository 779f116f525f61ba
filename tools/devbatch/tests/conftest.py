"""A running local Batch service, and the unmodified client that talks to it over TLS."""

import sys
from collections.abc import Iterator

import pytest

from batch_requests import Client, client_of
from devbatch.process import ServiceProcess, start_service

SCORER = f"{sys.executable} -c \"import sys; print('entry point', sys.argv[1:])\""


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """One service for the whole session: a minute of cloud time takes a tenth of a second."""
    data = tmp_path_factory.mktemp("devbatch") / "data"
    options = ("--time-scale", "600", "--boot-seconds", "60", "--env", "FROM_IMAGE=yes")
    running = start_service(data, *options, "--image", f"registry.test/scorer={SCORER}")
    yield running
    running.stop()


@pytest.fixture
def client(service: ServiceProcess) -> Client:
    """A client that does not retry, so that each request is one request."""
    return client_of(service, retry_total=0)
