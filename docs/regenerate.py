"""Write the generated parts of docs anew: settings, error codes, endpoints, commands, the example kind. Run: python docs/regenerate.py

A table stands between <!-- begin NAME --> and <!-- end NAME -->; tests/docs fails when one is out of date.
"""

from __future__ import annotations

import inspect
import re
import sys
from dataclasses import MISSING, fields
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from fleetscore import errors, registry  # noqa: E402 - the path has to be set first
from fleetscore.app_settings import AppSettings  # noqa: E402
from fleetscore.cli.reference import render_reference  # noqa: E402
from fleetscore.notify_settings import NotifyTarget  # noqa: E402
from fleetscore.settings import KeepPolicy, QualityPolicy, ResultsPolicy, RunPolicy  # noqa: E402
from triggers.api_document import describe_api  # noqa: E402


def settings_table() -> str:
    """The app's settings."""
    lines = ["| setting | default | range | what it does |", "|---|---|---|---|"]
    for setting in fields(AppSettings):
        meta = setting.metadata
        span = f"{meta['least']:g} to {meta['most']:g}" if meta["least"] is not None else ""
        default = f"`{setting.default}`" if setting.default != "" else "empty"
        lines.append(f"| `{meta['env']}` | {default} | {span} | {meta['says']} |")
    for kind in sorted(registry.kinds_with_own_workload()):
        says = (
            f"When due windows of {kind} are started (NCRONTAB, UTC); a line `schedule` of its settings wins."
        )
        schedule = registry.load_kind(kind).schedule
        lines.append(f"| `{registry.schedule_variable(kind)}` | `{schedule}` |  | {says} |")
    return "\n".join(lines)


def policy_table() -> str:
    """The [run] table of a workload's settings, with the comments of its source."""
    return _policy("run", RunPolicy)


def quality_table() -> str:
    """The [quality] table of a workload's settings, with the comments of its source."""
    return _policy("quality", QualityPolicy)


def keep_table() -> str:
    """The [keep] table of a workload's settings, with the comments of its source."""
    return _policy("keep", KeepPolicy)


def results_table() -> str:
    """The [results] table of a workload's settings, with the comments of its source."""
    return _policy("results", ResultsPolicy)


def notify_table() -> str:
    """The [[notify.targets]] table of a workload's settings, with the comments of its source."""
    return _policy("[notify.targets]", NotifyTarget)


def _policy(table: str, kind: type) -> str:
    source = inspect.getsource(kind)
    lines = [f"| line in [{table}] | default | what it does |", "|---|---|---|"]
    for policy in fields(kind):
        required = policy.default is MISSING and policy.default_factory is MISSING
        default = "required" if required else "{}" if policy.default is MISSING else policy.default
        shown = "empty" if default == "" else f"`{default}`"
        lines.append(f"| `{policy.name}` | {shown} | {comment_on(policy.name, source)} |")
    return "\n".join(lines)


def comment_on(name: str, source: str) -> str:
    """The comment behind the field's line, or on the line above it where both would be too long for one."""
    found = re.search(rf"^    (?:# (.*)\n    )?{name}: (?:.*?# (.*))?", source, re.MULTILINE)
    if found is None or not (comment := found[2] or found[1]):
        raise ValueError(f"{name} has no comment that says what it does.")
    return comment


def errors_table() -> str:
    """The error classes with their codes."""
    kinds = [
        k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, errors.FleetscoreError)
    ]
    lines = ["| code | error | meaning | tried again by itself |", "|---|---|---|---|"]
    lines += [
        f"| `{k.code}` | {k.__name__} | {(k.__doc__ or '').splitlines()[0]} | {'yes' if k.retry else 'no'} |"
        for k in kinds
    ]
    return "\n".join(lines)


def endpoints_table() -> str:
    """The HTTP endpoints."""
    lines = ["| endpoint | what it does | answers |", "|---|---|---|"]
    for path, endpoints in describe_api()["paths"].items():
        for method, endpoint in endpoints.items():
            lines.append(
                f"| `{method.upper()} /api{path}` | {endpoint['summary']} | {', '.join(endpoint['responses'])} |"
            )
    return "\n".join(lines)


def example_kind() -> str:
    """The example of a kind, whole."""
    return f"```python\n{(ROOT / 'docs' / 'examples' / 'pumps.py').read_text()}```"


TABLES = {
    "reference/settings.md": {
        "settings": settings_table,
        "run policy": policy_table,
        "quality policy": quality_table,
        "keep policy": keep_table,
        "results policy": results_table,
        "notify targets": notify_table,
    },
    "reference/errors.md": {"errors": errors_table},
    "reference/http.md": {"endpoints": endpoints_table},
    "howto/add-a-workload.md": {"example kind": example_kind},
}


def regenerated(page: str) -> str:
    """The page with its tables as they should be."""
    text = (ROOT / "docs" / page).read_text()
    for name, table in TABLES[page].items():
        block = f"<!-- begin {name} -->\n{table()}\n<!-- end {name} -->"
        text = re.sub(rf"<!-- begin {name} -->.*?<!-- end {name} -->", lambda _, b=block: b, text, flags=re.S)
    return text


if __name__ == "__main__":
    for page in TABLES:
        (ROOT / "docs" / page).write_text(regenerated(page))
    (ROOT / "docs" / "reference" / "commands.md").write_text(render_reference())
