"""Locks the requirements of app and worker with hashes: one file per version of Python, for the Linux that Azure runs.

`make lock` runs this; `infra/locks.py check app VERSION` and `check worker` say whether a lock is older than its lists.
Where there are workloads of one's own with packages, fleets/requirements.txt is part of both.
Telemetry (requirements-telemetry.txt) is resolved together with the app's, so that it always fits, and its additional
packages lie in a file of their own.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "infra" / "locks"
VERSIONS: tuple[str, ...] = tuple(
    json.loads((ROOT / "infra" / "python_versions.json").read_text())["versions"]
)
WORKER_LOCK = ROOT / "worker_image" / "requirements.lock"
APP, WORKER = "requirements.txt", "worker_image/requirements.txt"
PLATFORM = "x86_64-manylinux_2_28"
_HEADER = "# Made by `make lock`; not to be edited.\n"
_NAME = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)


def sources(root: Path, direct: str) -> list[Path]:
    """The lists that a lock is made of: the direct requirements, and those of workloads of one's own where there are any."""
    own = root / "fleets" / "requirements.txt"
    return [root / direct, *([own] if own.exists() else [])]


def app_lock(version: str) -> Path:
    """The app's lock for a version of Python."""
    return LOCKS / f"app-{version}.txt"


def telemetry_lock(version: str) -> Path:
    """What telemetry adds to it."""
    return LOCKS / f"telemetry-{version}.txt"


def split_lock(text: str) -> dict[str, str]:
    """The packages of a lock by name, each with its hashes."""
    blocks = re.split(r"(?m)^(?=[A-Za-z0-9])", text)
    return {found[1]: block for block in blocks if (found := _NAME.match(block))}


def without(text: str, names: set[str]) -> str:
    """The lock's text without the packages of these names."""
    return "".join(block for name, block in split_lock(text).items() if name not in names)


def outdated(lists: list[Path], lock: str) -> list[str]:
    """The lines of the lists whose package the lock lacks, or has at another version than the one that a line pins."""
    have = {_plain(name): block for name, block in split_lock(lock).items()}
    lines = [line.partition(" #")[0].strip() for path in lists for line in path.read_text().splitlines()]
    return [line for line in lines if line and line[0] not in "#-" and not _holds(line, have)]


def _holds(line: str, have: dict[str, str]) -> bool:
    """Whether the lock has what the line asks for; of a line for some versions of Python only the name is compared."""
    named = re.match(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*(?:===?\s*([^\s;,*]+)\s*$)?", line)
    if named is None:
        return False
    block = have.get(_plain(named[1]))
    return block is not None and (named[2] is None or block.split()[0].partition("==")[2] == named[2])


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def check(what: str, version: str = "") -> None:
    """Exit with what to do where the app's or the worker's lock is older than its lists."""
    direct, lock = (APP, app_lock(version)) if what == "app" else (WORKER, WORKER_LOCK)
    if missing := outdated(sources(ROOT, direct), lock.read_text()):
        sys.exit(f"{lock.relative_to(ROOT)} lacks {', '.join(missing)}: run `make lock`.")


def resolve(uv: str, version: str, lists: list[Path], constraints: str = "") -> str:
    """The resolved packages with their hashes; CalledProcessError where the lists cannot be met together."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as fixed:
        fixed.write(re.sub(r" \\\n(    --hash=\S+( \\)?\n)+", "\n", constraints))
        fixed.flush()
        command = [uv, "pip", "compile", "--quiet", "--generate-hashes", "--no-header", "--no-annotate"]
        command += ["--python-version", version, "--python-platform", PLATFORM, "--only-binary", ":all:"]
        command += ["--constraints", fixed.name, *map(str, lists)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def lock_all(uv: str) -> None:
    """Write every lock anew."""
    LOCKS.mkdir(exist_ok=True)
    telemetry = ROOT / "requirements-telemetry.txt"
    for version in VERSIONS:
        everything = resolve(uv, version, [*sources(ROOT, APP), telemetry])
        app = resolve(uv, version, sources(ROOT, APP), everything)
        app_lock(version).write_text(_HEADER + app)
        telemetry_lock(version).write_text(_HEADER + without(everything, set(split_lock(app))))
    WORKER_LOCK.write_text(_HEADER + resolve(uv, worker_python(), sources(ROOT, WORKER)))


def worker_python() -> str:
    """The version of Python of the worker image."""
    found = re.search(
        r"^ARG PYTHON_RUN=python:(\d+\.\d+)\.", (ROOT / "worker_image" / "Dockerfile").read_text(), re.M
    )
    if found is None:
        raise ValueError("worker_image/Dockerfile has no line ARG PYTHON_RUN=python:VERSION-...")
    return found[1]


if __name__ == "__main__":
    if sys.argv[1] == "check":
        check(*sys.argv[2:])
        sys.exit()
    try:
        lock_all(sys.argv[1])
    except subprocess.CalledProcessError as error:
        sys.exit(f"The requirements could not be resolved:\n{error.stderr}")
