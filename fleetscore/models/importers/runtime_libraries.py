"""Which libraries app and worker carry: what a model that is kept as a pickle may need."""

from __future__ import annotations

import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

from fleetscore.models.importers.preparation import Unsupported

_SHIPPED = frozenset(
    {"sklearn", "lightgbm", "numpy", "scipy", "pandas", "pyarrow", "numba", "fleets", "fleetscore"}
)
"""Modules that requirements.txt brings to app and worker, and the user's own folder."""

_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")


def require_runtime_library(module: str) -> None:
    """Unsupported unless app and worker have the top-level module: by requirements.txt or
    fleets/requirements.txt.
    """
    if module in _SHIPPED or module in sys.stdlib_module_names:
        return
    distributions = packages_distributions().get(module, [module])
    if not {_plain(name) for name in (module, *distributions)} & own_requirements():
        raise Unsupported(
            f"its library {module} is not among the requirements of app and worker; "
            f"add the line {distributions[0]} to fleets/requirements.txt"
        )


def own_requirements(root: Path | None = None) -> set[str]:
    """The packages that fleets/requirements.txt names, in plain spelling; none without the file."""
    root = root or Path(__file__).resolve().parents[3]
    path = root / "fleets" / "requirements.txt"
    lines = path.read_text().splitlines() if path.is_file() else []
    return {_plain(match[1]) for line in lines if (match := _NAME.match(line))}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
