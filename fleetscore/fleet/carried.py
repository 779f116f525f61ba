"""Where the function app and the local services lie: in the checkout, or as data of the installed package."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path

import fleetscore
from fleetscore.errors import SettingsError

APP_FOLDER = "FLEETSCORE_APP_DIR"

_PACKAGE = Path(fleetscore.__file__).resolve().parent
CARRIED = _PACKAGE / "_carried"  # filled when the wheel is built (setup.py)


def app_folder(environment: Mapping[str, str] | None = None) -> Path:
    """The folder that holds function_app.py: what FLEETSCORE_APP_DIR names, else the checkout, else the
    package's own copy.

    SettingsError when it is not there.
    """
    named = (os.environ if environment is None else environment).get(APP_FOLDER, "")
    folders = [Path(named)] if named else [_PACKAGE.parent, CARRIED / "app"]
    for folder in folders:
        if (folder / "function_app.py").is_file():
            return folder
    raise SettingsError(
        f"{folders[0]} holds no function_app.py.",
        fix=f"Set {APP_FOLDER} to the folder of the function app.",
        field=APP_FOLDER,
    )


def service_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that runs a local service: one that carries its own copy is made to find
    it.
    """
    if importlib.util.find_spec("devhost") is not None or not (CARRIED / "tools").is_dir():
        return dict(environment)
    paths = [str(CARRIED / "tools"), environment.get("PYTHONPATH", "")]
    return {**environment, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
