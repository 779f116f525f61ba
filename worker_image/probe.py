"""What a container task finds: its variables, user, folders, processor and compiled code, as one line for
`fleetscore doctor --azure`.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MARK = "PROBE "
"""Begins the line, among whatever else is printed."""
_SECRET = ("KEY", "TOKEN", "SECRET", "PASSWORD", "CONNECTION", "SAS")


def describe_task() -> Mapping[str, Any]:
    """Variables by name (values of PATH, HOME and folders only), user, folders that can be written, and how
    kernels come.
    """
    began = time.process_time()
    from fleetscore.kernels import cache
    from fleetscore.kernels.ahead import compile_one
    from fleetscore.kernels.compiled import processor

    compile_one()
    shown = {"PATH", "HOME", *(name for name in os.environ if name.endswith("_DIR"))}
    return {
        "variables": sorted(name for name in os.environ if not any(word in name for word in _SECRET)),
        "values": {name: os.environ.get(name, "") for name in sorted(shown)},
        "uid": os.getuid(),
        "folder": str(Path.cwd()),
        "temporary": tempfile.gettempdir(),
        "python": sys.executable,
        "cores": len(os.sched_getaffinity(0)),
        "processor": processor(),
        "kernels": dict(cache.COUNTS) | {"kept_in": str(cache.own_folder())},
        "import_cpu_s": round(time.process_time() - began, 2),
    }


def print_probe() -> None:
    """Print the line."""
    sys.stdout.write(f"{MARK}{json.dumps(describe_task())}\n")
    sys.stdout.flush()
