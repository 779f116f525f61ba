"""What is deployed: the app's package holds the app and nothing else, and the worker image is clean."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from devhost.settings import read_host_settings
from tests.infra.bicep_reader import Template, text_of
from tests.infra.places import INFRA, ROOT

DOCKERFILE = ROOT / "worker_image" / "Dockerfile"
PACKAGE = runpy.run_path(str(INFRA / "package.py"))
HADOLINT = Path(sys.executable).with_name("hadolint")


def test_the_package_is_the_app() -> None:
    """Tests, tools, emulators, documents and infrastructure stay at home; whatever the app's own code may import goes along."""
    code = {"function_app.py", "host.json", "activities", "orchestrators", "triggers", "fleetscore"}
    assert set(PACKAGE["APP"]) - PACKAGE["OPTIONAL"] == code
    assert PACKAGE["OPTIONAL"] == {"fleets"}


def test_azd_deploys_the_package_as_it_is() -> None:
    """azd takes the folder that `make package` fills, after building it, with no build on Azure, from the first azd that can."""
    project = yaml.safe_load((ROOT / "azure.yaml").read_text())
    app = project["services"]["app"]
    assert ROOT / app["dist"] == PACKAGE["OUT"]
    assert app["remoteBuild"] is False
    assert (ROOT / app["hooks"]["prepackage"]["run"]).exists()
    assert project["requiredVersions"]["azd"] == ">= 1.23.5"


def test_every_version_of_python_is_named_alike(main: Template) -> None:
    """Template, locks, sizes, README and Makefile name the same versions."""
    versions = PACKAGE["python_versions"]()
    allowed = main.parameters["pythonVersion"].decorators["allowed"]
    assert allowed is not None and re.findall(r"[\d.]+", text_of(allowed)) == versions
    assert sorted(path.name for path in (INFRA / "locks").iterdir()) == sorted(
        f"{name}-{version}.txt" for name in ("app", "telemetry") for version in versions
    )
    assert set(json.loads(PACKAGE["SIZES"].read_text())["measured_bytes"]) == {*versions, "telemetry"}
    said = f"Python {', '.join(versions[:-1])} and {versions[-1]}"
    assert said in (ROOT / "Makefile").read_text() and said in (INFRA / "README.md").read_text()


def test_an_unsupported_version_is_refused_by_name(tmp_path: Path) -> None:
    """`make package` for another Python says which there are, and builds nothing."""
    script = INFRA / "package.py"
    command = [sys.executable, str(script), "--python", "3.10", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Python 3.10 is not supported; these are: 3.11, 3.12, 3.13." in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("path", "goes"),
    [
        ("pandas/tests/frame/test_api.py", True),
        ("sklearn/svm/tests/test_svm.py", True),
        ("pyarrow/libarrow_flight.so.2600", True),
        ("pyarrow/_flight.cpython-311-x86_64-linux-gnu.so", True),
        ("pyarrow/libarrow_python.so", True),
        ("pyarrow/libarrow_python.so.2600.1.0", True),
        ("pyarrow/libarrow_python.so.2600", False),
        ("pyarrow/libarrow_dataset.so.2600", False),
        ("pyarrow/table.pxi", True),
        ("pyarrow/include/arrow/api.h", True),
        ("numpy/testing/__init__.py", False),
        ("azure/functions/_http.py", False),
        ("lightgbm/lib/lib_lightgbm.so", False),
    ],
)
def test_what_no_process_reads_is_left_out(path: str, goes: bool) -> None:
    """Tests, headers, sources of compiled modules and copies of libraries go; what is loaded stays."""
    assert bool(PACKAGE["LEFT_OUT"].search(path)) == goes


def test_sizes_are_told_by_package(tmp_path: Path) -> None:
    """Files belong to the package whose record names them, compiled files to their source's; the rest is the app's."""
    site = tmp_path / PACKAGE["SITE"]
    for name, size in {
        "one/a.py": 5,
        "one/__pycache__/a.cpython-311.pyc": 7,
        "one-1.0.dist-info/RECORD": 0,
        "two.py": 3,
    }.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_bytes(b"x" * size)
    (site / "one-1.0.dist-info" / "RECORD").write_text("one/a.py,,\n")
    (tmp_path / "app.py").write_text("12")
    assert PACKAGE["measure"](tmp_path) == {"the app": 5 + len("one/a.py,,\n"), "one": 12}
    assert PACKAGE["report"]({"one": 2_000_000, "two": 500_000}, shown=1).splitlines() == [
        "one                          2.0 MB",
        "others                       0.5 MB",
        "sum                          2.5 MB",
    ]


def test_the_bound_is_the_measured_size_and_five_percent() -> None:
    """The bound stands below Flex Consumption's 0.8 GB of temporary storage for every version, telemetry included."""
    measured = json.loads(PACKAGE["SIZES"].read_text())["measured_bytes"]
    for version in PACKAGE["python_versions"]():
        bound = PACKAGE["bound_bytes"](version, telemetry=True, has_own=False)
        assert bound == int((measured[version] + measured["telemetry"]) * 1.05)
        assert bound < PACKAGE["bound_bytes"](version, telemetry=False, has_own=True) == 800_000_000


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
