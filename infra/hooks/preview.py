"""Writes the parameters file with its variables filled in from the environment, as azd does, for `az deployment sub what-if`."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

_VARIABLE = re.compile(r"^\$\{(?P<name>\w+)(=(?P<default>.*))?\}$")


def fill_in(document: dict[str, object], environment: Mapping[str, str]) -> dict[str, object]:
    """The parameters file with `${NAME=default}` replaced and what is empty left to the template.

    Numbers and truth values are typed, and JSON is read.
    """
    filled = {}
    for name, entry in document["parameters"].items():  # type: ignore[attr-defined]  # the file's own shape
        found = _VARIABLE.match(entry["value"])
        if found is None:
            raise ValueError(f"{name} is {entry['value']!r}; expected ${{NAME}} or ${{NAME=default}}.")
        text = environment.get(found["name"], "") or found["default"] or ""
        if text:
            filled[name] = {"value": _typed(text)}
    return {**document, "parameters": filled}


def _typed(text: str) -> object:
    if text.startswith("{"):
        return json.loads(text)
    if text in ("true", "false"):
        return text == "true"
    return int(text) if re.fullmatch(r"-?\d+", text) else text


if __name__ == "__main__":
    source = Path(__file__).parent.parent / "main.parameters.json"
    json.dump(fill_in(json.loads(source.read_text()), os.environ), sys.stdout, indent=2)
