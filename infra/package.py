"""Builds the folder that azd deploys as the function app: the app and its packages, as Linux wheels, on any system.

`make package` runs this; azd runs it before it packages (azure.yaml). Nothing is built on Azure, so that what was
tested is what runs. Prints the size by package, and fails above the bound in package_sizes.json: Flex Consumption has
0.8 GB of temporary storage.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "package"
SIZES = ROOT / "infra" / "package_sizes.json"
SITE = Path(".python_packages") / "lib" / "site-packages"
APP = ("function_app.py", "host.json", "activities", "orchestrators", "triggers", "fleetscore", "fleets")
OPTIONAL = {"fleets"}
FLEX_BYTES = 800_000_000  # the temporary storage of a Flex Consumption instance
SLACK = 1.05  # the bound is the measured size and 5 %

# What no process of the app reads: tests of packages, what compilers read, and parts of Arrow that nothing here calls.
LEFT_OUT = re.compile(
    r"(^|/)tests/|\.(pyi|pxd|pyx|pxi|c|cc|cpp|h|hpp|cu|a|lib|f90|ipynb)$|^bin/|^share/"
    r"|^pyarrow/(include|src)/"
    r"|^pyarrow/(lib)?(arrow_|arrow_python_|_)flight\.|^pyarrow/libarrow_flight|^pyarrow/libarrow_python_flight"
    r"|^pyarrow/(libarrow_s3\.|_s3fs\.)"
    r"|^pyarrow/libarrow_python(_parquet_encryption)?\.so(\.\d+\.\d+\.\d+)?$"  # copies of the .so.NNNN beside them
)
LINUX = [f"manylinux_2_{minor}_x86_64" for minor in range(28, 4, -1)] + [
    "manylinux2014_x86_64",
    "manylinux1_x86_64",
]


class PackageError(Exception):
    """The package cannot be built, or is too large; the text says what to do."""


def python_versions() -> list[str]:
    """The versions of Python that the app can be deployed with."""
    return list(json.loads((ROOT / "infra" / "python_versions.json").read_text())["versions"])


def build(version: str, out: Path, telemetry: bool) -> None:
    """Make the folder anew; PackageError for a version without a lock."""
    if version not in python_versions():
        raise PackageError(f"Python {version} is not supported; these are: {', '.join(python_versions())}.")
    command = [sys.executable, str(ROOT / "infra" / "locks.py"), "check", "app", version]
    if stale := subprocess.run(command, capture_output=True, text=True, check=False).stderr:
        raise PackageError(stale.strip())
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for name in APP:
        _copy(ROOT / name, out / name)
    lists = ["app", *(["telemetry"] if telemetry else [])]
    _install([ROOT / "infra" / "locks" / f"{name}-{version}.txt" for name in lists], version, out / SITE)
    for path in left_out(out / SITE):
        path.unlink()
    _remove_empty_folders(out)
    _compile(version, out)
    _compile_kernels(version, out)
    # azd leaves __pycache__ out unless there is such a file.
    (out / ".funcignore").write_text("# All of this folder is deployed.\n")


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.md"))
    elif source.exists():
        shutil.copy2(source, target)
    elif source.name not in OPTIONAL:
        raise PackageError(f"{source} is missing.")


def _install(locks: list[Path], version: str, site: Path) -> None:
    tag = version.replace(".", "")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-compile", "--require-hashes", "--only-binary=:all:", "--target", str(site)]
    command += ["--python-version", version, "--implementation", "cp"]
    command.append(
        "--ignore-requires-python"
    )  # pip would compare with the Python that runs it; the lock has compared
    command += [word for abi in (f"cp{tag}", "abi3", "none") for word in ("--abi", abi)]
    command += [word for platform in LINUX for word in ("--platform", platform)]
    command += [word for lock in locks for word in ("-r", str(lock))]
    if subprocess.run(command, check=False).returncode:
        raise PackageError("pip could not install the locked packages; its own words stand above.")


def find_python(version: str) -> str | None:
    """A Python of this version on this machine that runs, or None."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates = [sys.executable, shutil.which(f"python{version}"), *pyenv.glob(f"{version}.*/bin/python")]
    for candidate in candidates:
        if candidate and _version_of(str(candidate)) == version:
            return str(candidate)
    return None


def _version_of(python: str) -> str:
    ask = "import sys; print('.'.join(map(str, sys.version_info[:2])))"
    return subprocess.run([python, "-c", ask], capture_output=True, text=True, check=False).stdout.strip()


def _compile(version: str, out: Path) -> None:
    """Compile every module ahead, since a deployed package is read-only: otherwise each cold start compiles all of them.

    The compiled files name no time and no path, so that they are valid wherever the package is unpacked.
    """
    python = find_python(version)
    if python is None:
        sys.stderr.write(
            f"No python{version} here: the modules are not compiled ahead, so that starts take longer.\n"
        )
        return
    command = [
        python,
        "-m",
        "compileall",
        "-q",
        "-j",
        "0",
        "--invalidation-mode",
        "unchecked-hash",
        "-s",
        str(out),
    ]
    done = subprocess.run([*command, str(out)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise PackageError(f"python{version} could not compile the package: {done.stdout}{done.stderr}")


def _compile_kernels(version: str, out: Path) -> None:
    """Compile the loops of the shipped kinds ahead, for every processor of a level, where this machine is one of Azure's kind."""
    python = find_python(version)
    if python is None or (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        sys.stderr.write(
            f"No python{version} on Linux here: loops are compiled at the first call of each instance.\n"
        )
        return
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([str(out), str(out / SITE)])}
    command = [python, "-s", "-m", "fleetscore.kernels.ahead"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=out)
    if done.returncode:
        raise PackageError(f"The loops could not be compiled ahead: {done.stdout}{done.stderr}")


def left_out(site: Path) -> list[Path]:
    """The installed files that no process of the app reads."""
    files = (path for path in site.rglob("*") if path.is_file() or path.is_symlink())
    return [path for path in files if LEFT_OUT.search(path.relative_to(site).as_posix())]


def _remove_empty_folders(out: Path) -> None:
    for folder in sorted((p for p in out.rglob("*") if p.is_dir()), key=lambda p: -len(p.parts)):
        if not any(folder.iterdir()):
            folder.rmdir()


def measure(out: Path) -> dict[str, int]:
    """Bytes by package, largest first; what belongs to no package is the app's."""
    owners = dict(_owners(out / SITE))
    sizes: dict[str, int] = {}
    for path in out.rglob("*"):
        if path.is_file():
            owner = owners.get(_source_of(path), "the app")
            sizes[owner] = sizes.get(owner, 0) + path.stat().st_size
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))


def _source_of(path: Path) -> Path:
    """The module that a compiled file was made of; any other file itself."""
    if path.suffix != ".pyc":
        return path
    return path.parent.parent / f"{path.name.split('.')[0]}.py"


def _owners(site: Path) -> Iterator[tuple[Path, str]]:
    """The package of each installed file, by the packages' own records."""
    for record in site.glob("*.dist-info/RECORD"):
        name = record.parent.name.split("-")[0]
        with record.open(newline="") as rows:
            yield from ((site / row[0], name) for row in csv.reader(rows))


def report(sizes: dict[str, int], shown: int = 12) -> str:
    """The largest packages and the sum, a line each, in megabytes."""
    rows = [
        *list(sizes.items())[:shown],
        ("others", sum(list(sizes.values())[shown:])),
        ("sum", sum(sizes.values())),
    ]
    return "".join(f"{name:<24}{size / 1e6:8.1f} MB\n" for name, size in rows)


def bound_bytes(version: str, telemetry: bool, has_own: bool) -> int:
    """The largest size that is let through: the measured one and 5 %; with packages of own workloads what Flex has room for."""
    if has_own:
        return FLEX_BYTES
    measured = json.loads(SIZES.read_text())["measured_bytes"]
    return int((measured[version] + (measured["telemetry"] if telemetry else 0)) * SLACK)


def main(arguments: list[str]) -> int:
    """Build, report, check; the exit code."""
    parser = argparse.ArgumentParser(description="Build the package that azd deploys.")
    parser.add_argument("--python", default=os.environ.get("FLEETSCORE_PYTHON_VERSION") or "3.11")
    parser.add_argument(
        "--telemetry", action="store_true", default=os.environ.get("FLEETSCORE_TELEMETRY") == "true"
    )
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    try:
        build(options.python, options.out, options.telemetry)
    except PackageError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sizes = measure(options.out)
    sys.stdout.write(report(sizes))
    has_own = (ROOT / "fleets" / "requirements.txt").exists()
    total, bound = sum(sizes.values()), bound_bytes(options.python, options.telemetry, has_own)
    if total > bound:
        sys.stderr.write(
            f"The package has {total / 1e6:.1f} MB, above the bound of {bound / 1e6:.1f} MB. Take a package out of"
            " requirements.txt or fleets/requirements.txt, or raise measured_bytes in infra/package_sizes.json"
            " with the reason.\n"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
