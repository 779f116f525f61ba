"""What is deployed: the app's package holds the app and nothing else, and the worker image is clean."""

import fnmatch
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from devhost.settings import read_host_settings
from tests.infra.places import ROOT

APP = {
    "function_app.py",
    "host.json",
    "requirements.txt",
    "activities",
    "orchestrators",
    "triggers",
    "fleetscore",
}
DOCKERFILE = ROOT / "worker_image" / "Dockerfile"
HADOLINT = Path(sys.executable).with_name("hadolint")


def package() -> set[str]:
    """The entries of the repository's root that .funcignore lets through, of those that git knows."""
    lines = (ROOT / ".funcignore").read_text().splitlines()
    patterns = [line.removeprefix("/") for line in lines if line and not line.startswith("#")]
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],  # noqa: S607 - git of the developer's PATH
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    roots = {line.partition("/")[0] for line in tracked.splitlines()}
    return {name for name in roots if not any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)}


def test_the_package_is_the_app() -> None:
    """Tests, tools, emulators, documents and infrastructure stay at home; all that the app imports goes along."""
    assert package() == APP


def test_host_json_fits_the_deployment() -> None:
    """As the local host reads it: versioned orchestrations, a hub of its own, queue settings that match the worker's messages."""
    host = read_host_settings(ROOT, {})
    assert host.default_version
    assert host.hub_name == "fleetscore"
    assert host.queues.base64
    assert host.queues.visibility_timeout_s >= 5
    assert host.queues.max_polling_interval_s <= 10
    assert host.function_timeout_s is not None
    assert host.function_timeout_s <= 1800  # what Flex Consumption gives without being asked


def test_host_json_says_what_only_azure_reads() -> None:
    """Partitions of the hub within what Durable takes, polling fit for Flex Consumption, and no sampling of what alerts read."""
    host = json.loads((ROOT / "host.json").read_text())
    storage = host["extensions"]["durableTask"]["storageProvider"]
    assert 1 <= storage["partitionCount"] <= 16
    assert storage["maxQueuePollingInterval"] <= "00:00:10"
    sampling = host["logging"]["applicationInsights"]["samplingSettings"]
    assert {"Request", "Trace"} <= set(sampling["excludedTypes"].split(";"))


def hadolint(path: Path) -> subprocess.CompletedProcess[str]:
    """Run hadolint on a Dockerfile."""
    return subprocess.run([HADOLINT, path], capture_output=True, text=True, check=False)


def test_the_worker_image_is_clean() -> None:
    """hadolint has nothing to say about the Dockerfile."""
    assert DOCKERFILE.exists(), "worker_image/Dockerfile is missing"
    done = hadolint(DOCKERFILE)
    assert done.returncode == 0, done.stdout


def image_sources() -> list[str]:
    """What the hook makes the image's tag of."""
    hook = (ROOT / "infra" / "hooks" / "preprovision.sh").read_text()
    (listed,) = re.findall(r'^image_sources="(.*)"', hook, re.MULTILINE)
    return str(listed).split()


def test_the_image_s_tag_covers_all_that_goes_into_it() -> None:
    """Every file that the Dockerfile copies is among those that the hook makes the image's tag of."""
    copied = [
        source
        for line in re.findall(r"^(?:COPY|ADD)\s+(?!.*--from)(.*)$", DOCKERFILE.read_text(), re.MULTILINE)
        for source in [word for word in line.split() if not word.startswith("--")][:-1]
    ]
    assert copied
    for source in copied:
        assert source.removeprefix("./").rstrip("/").partition("/")[0] in image_sources(), source


def test_the_registry_is_sent_what_the_tag_is_made_of() -> None:
    """.dockerignore lets through the sources of the image's tag and nothing else, so no virtual environment is uploaded."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == set(image_sources())


def test_the_image_runs_without_root() -> None:
    """The last user of the image is not root."""
    users = re.findall(r"^USER\s+(\S+)", DOCKERFILE.read_text(), re.MULTILINE)
    assert users and users[-1] not in {"root", "0"}


@pytest.mark.parametrize(
    ("text", "rule"),
    [("FROM python:latest\n", "DL3007"), ("FROM python:3.11\nRUN cd /x && pip install y\n", "DL3013")],
)
def test_hadolint_finds_planted_faults(tmp_path: Path, text: str, rule: str) -> None:
    """The checker does find what it is for."""
    bad = tmp_path / "Dockerfile"
    bad.write_text(text)
    done = hadolint(bad)
    assert done.returncode != 0
    assert rule in done.stdout
