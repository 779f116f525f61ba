"""Prints the table of parameters that infra/README.md shows: `.venv-infra/bin/python -m tests.infra.parameter_table`."""

import json
import re
import sys

from tests.infra.bicep_reader import literal, read_template, text_of
from tests.infra.places import INFRA


def table() -> str:
    """One row per parameter: variable, default, range, sentence."""
    document = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    rows = ["| variable | default | range | what it is |", "|---|---|---|---|"]
    for name, parameter in read_template(INFRA / "main.bicep").parameters.items():
        variable, _, default = document[name]["value"].removeprefix("${").removesuffix("}").partition("=")
        marks = {key: text_of(node) for key, node in parameter.decorators.items() if node is not None}
        bounds = ", ".join(re.findall(r"[\w.]+", marks["allowed"])) if "allowed" in marks else ""
        if "minValue" in marks:
            bounds = f"{marks['minValue']} to {marks['maxValue']}"
        shown = f"`{default}`" if default else ""
        rows.append(f"| `{variable}` | {shown} | {bounds} | {literal(parameter.decorators['description'])} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
