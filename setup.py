"""Builds the wheel: the function app and the local services go along as data of the package; pyproject.toml says the rest.

Their folders keep their general names (`activities`, `triggers`, `devhost`) and so must not become packages of their own
in site-packages; `fleetscore.fleet.carried` finds them.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
CARRIED = {
    "app": (
        "function_app.py",
        "host.json",
        "requirements.txt",
        "activities",
        "orchestrators",
        "triggers",
        "worker_image",
        "infra/autoscale.formula",
    ),
    "tools": ("tools/devhost/devhost", "tools/devbatch/devbatch"),
}
"""Folder of the package's data -> what it holds of the checkout; a path of the app keeps its place below its folder."""


class BuildWithApp(build_py):
    """As setuptools builds, and copies what the package carries; an editable installation finds it in the checkout."""

    def run(self) -> None:
        """Build, then copy."""
        super().run()
        if not self.editable_mode:
            for folder, paths in CARRIED.items():
                for path in paths:
                    place = path if folder == "app" else Path(path).name
                    _copy(ROOT / path, Path(self.build_lib) / "fleetscore" / "_carried" / folder / place)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "Dockerfile", "*.lock"))
    else:
        shutil.copyfile(source, target)


setup(cmdclass={"build_py": BuildWithApp})
