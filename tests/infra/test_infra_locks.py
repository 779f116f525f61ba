"""Locks: what is deployed is pinned with hashes, and fits the lists that people edit."""

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.infra.places import INFRA, ROOT

LOCKS = runpy.run_path(str(INFRA / "locks.py"))
VERSIONS = LOCKS["VERSIONS"]
WORKER = (ROOT / "worker_image" / "requirements.txt", LOCKS["WORKER_LOCK"], "3.11")


def wanted(path: Path, version: str) -> list[Requirement]:
    """The requirements of a list that concern a version of Python."""
    lines = [line.partition("#")[0].strip() for line in path.read_text().splitlines()]
    every = [Requirement(line) for line in lines if line]
    return [one for one in every if one.marker is None or one.marker.evaluate({"python_version": version})]


def locked(path: Path) -> dict[str, str]:
    """The locked packages and their versions."""
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", path.read_text(), re.MULTILINE))


@pytest.mark.parametrize(
    ("source", "lock", "version"),
    [*((ROOT / "requirements.txt", LOCKS["app_lock"](v), v) for v in VERSIONS), WORKER],
    ids=[*VERSIONS, "worker"],
)
def test_a_lock_fits_its_list(source: Path, lock: Path, version: str) -> None:
    """Every direct requirement is locked at a version that it allows; otherwise `make lock` is due."""
    have = locked(lock)
    for requirement in wanted(source, version):
        assert requirement.name in have, f"{requirement.name}: run `make lock`"
        assert have[requirement.name] in requirement.specifier, f"{requirement.name}: run `make lock`"


@pytest.mark.parametrize("lock", [*(INFRA / "locks").iterdir(), LOCKS["WORKER_LOCK"]], ids=lambda p: p.name)
def test_every_locked_package_has_hashes(lock: Path) -> None:
    """No package of a lock is taken without a hash."""
    blocks = LOCKS["split_lock"](lock.read_text())
    assert blocks
    assert [name for name, block in blocks.items() if "--hash=sha256:" not in block] == []


def test_python_3_13_has_the_sdk_that_it_needs() -> None:
    """The Functions SDK is of the first line before 3.13 and of the second from there; Durable is of its first line on all."""
    for version in VERSIONS:
        have = locked(LOCKS["app_lock"](version))
        assert have["azure-functions"].startswith("2." if version >= "3.13" else "1.26."), version
        assert have["azure-functions-durable"].startswith("1."), version


def test_nothing_of_the_command_line_is_deployed() -> None:
    """Terminal, pictures, samples and importers are in no lock; nor does what draws them in."""
    direct = {requirement.name for requirement in wanted(ROOT / "requirements-cli.txt", "3.11")}
    assert {"rich", "polars", "click", "skops"} <= direct
    for lock in [*(LOCKS["app_lock"](v) for v in VERSIONS), LOCKS["WORKER_LOCK"]]:
        assert not direct & set(locked(lock)), lock.name


def test_telemetry_fits_the_app() -> None:
    """What telemetry adds was resolved together with the app: no package is in both files, and its direct pins are there."""
    directs = wanted(ROOT / "requirements-telemetry.txt", "3.11")
    assert directs
    for version in VERSIONS:
        added = locked(LOCKS["telemetry_lock"](version))
        assert not set(added) & set(locked(LOCKS["app_lock"](version)))
        assert all(added[direct.name] in direct.specifier for direct in directs)


def test_locks_are_taken_apart_and_put_together_again() -> None:
    """Splitting keeps each package's hashes with it, and leaving a package out leaves the others as they are."""
    one = "a-b==1.0 \\\n    --hash=sha256:1 \\\n    --hash=sha256:2\n"
    two = "c==2.0 \\\n    --hash=sha256:3\n"
    assert LOCKS["split_lock"]("# made\n" + one + two) == {"a-b": one, "c": two}
    assert LOCKS["without"](one + two, {"a-b"}) == two


@pytest.mark.parametrize("direct", ["requirements.txt", "worker_image/requirements.txt"])
def test_packages_of_own_workloads_are_locked_too(tmp_path: Path, direct: str) -> None:
    """With fleets/requirements.txt the locks of app and worker are made of two lists; without it of one."""
    assert LOCKS["sources"](tmp_path, direct) == [tmp_path / direct]
    (tmp_path / "fleets").mkdir()
    (tmp_path / "fleets" / "requirements.txt").write_text("xgboost\n")
    assert LOCKS["sources"](tmp_path, direct) == [
        tmp_path / direct,
        tmp_path / "fleets" / "requirements.txt",
    ]


@pytest.mark.parametrize(
    ("line", "is_old"),
    [
        ("Humanize==4.12.3", False),
        ("humanize==4.12.4", True),
        ("humanize>=4  # words", False),
        ("dateparser", True),
        ("ruamel-yaml[jinja2]==0.18", False),
        ('humanize==4.0; python_version < "3.9"', False),
        ("# dateparser", False),
        ("--prefer-binary", False),
    ],
)
def test_a_lock_that_is_older_than_its_lists_is_found(tmp_path: Path, line: str, is_old: bool) -> None:
    """A line whose package is not locked, or pinned at another version, is named; spelling and comments do not count."""
    own = tmp_path / "requirements.txt"
    own.write_text(f"{line}\n")
    lock = "humanize==4.12.3 \\\n    --hash=sha256:1\nruamel.yaml==0.18 \\\n    --hash=sha256:2\n"
    assert bool(LOCKS["outdated"]([own], lock)) is is_old


def test_what_is_deployed_is_refused_where_its_lock_is_old(tmp_path: Path) -> None:
    """With a package of own code that was not locked, package and worker image are not built; the line and `make lock` are named."""
    for name in ("infra", "worker_image"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "requirements.txt", tmp_path)
    (tmp_path / "fleets").mkdir()
    (tmp_path / "fleets" / "requirements.txt").write_text("dateparser==1.2\n")
    package = ["infra/package.py", "--python", "3.11", "--out", str(tmp_path / "out")]
    for words, lock in (
        (package, "infra/locks/app-3.11.txt"),
        (["infra/locks.py", "check", "worker"], "requirements.lock"),
    ):
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert f"{lock} lacks dateparser==1.2: run `make lock`." in done.stderr
    assert not (tmp_path / "out").exists()
