"""The parameters file, the template and the preview agree."""

import json
import re
import runpy
from typing import Any

import pytest

from tests.infra.bicep_reader import Template, literal
from tests.infra.bicep_values import Values
from tests.infra.places import INFRA

DOCUMENT = json.loads((INFRA / "main.parameters.json").read_text())
_VARIABLE = re.compile(r"\$\{(\w+)(?:=(.*))?\}")
AZD = {
    "environmentName": "AZURE_ENV_NAME",
    "location": "AZURE_LOCATION",
    "operatorPrincipalId": "AZURE_PRINCIPAL_ID",
    "operatorPrincipalType": "AZURE_PRINCIPAL_TYPE",
}


def entry(name: str) -> tuple[str, str]:
    """The variable and the default that the file gives a parameter."""
    found = _VARIABLE.fullmatch(DOCUMENT["parameters"][name]["value"])
    assert found, name
    return found[1], found[2] or ""


def variable_for(parameter: str) -> str:
    """FLEETSCORE_ and the parameter's name in capitals, but for what azd itself sets."""
    return AZD.get(parameter) or "FLEETSCORE_" + re.sub(r"(?<=[a-z])(?=[A-Z])", "_", parameter).upper()


def test_the_file_and_the_template_have_the_same_parameters(main: Template) -> None:
    """Each parameter of the template can be set through azd, and no other is."""
    assert set(DOCUMENT["parameters"]) == set(main.parameters)
    assert {name: entry(name)[0] for name in main.parameters} == {
        name: variable_for(name) for name in main.parameters
    }


def test_defaults_are_the_same(main: Template) -> None:
    """azd puts an empty text where a variable is not set, so the file repeats the template's default, word for word."""
    values = Values(main, {}, lambda name, path: name)
    for name, parameter in main.parameters.items():
        default = "" if parameter.default is None else values.of(parameter.default)
        text = str(default).lower() if isinstance(default, bool) else str(default or "")
        if isinstance(default, int) and not isinstance(default, bool):
            text = str(default)
        assert entry(name)[1] == text, name


def test_defaults_lie_within_their_range(main: Template) -> None:
    """A default is one of the allowed values, within the bounds and not shorter than it may be."""
    values = Values(main, {}, lambda name, path: name)
    for name, parameter in main.parameters.items():
        if parameter.default is None:
            continue
        default = values.of(parameter.default)
        if isinstance(default, dict):
            continue
        bounds = {key: values.of(node) for key, node in parameter.decorators.items() if node is not None}
        assert default in bounds.get("allowed", [default]), name
        assert bounds.get("minValue", default) <= default <= bounds.get("maxValue", default), name
        if isinstance(default, str):
            assert bounds.get("minLength", 0) <= len(default) <= bounds.get("maxLength", 1000), name


def test_every_parameter_is_in_the_readme(main: Template) -> None:
    """infra/README.md lists each variable with its default and the template's own sentence."""
    readme = (INFRA / "README.md").read_text()
    for name, parameter in main.parameters.items():
        sentence = literal(parameter.decorators["description"])
        assert f"`{entry(name)[0]}`" in readme, name
        assert sentence in readme, f"{name}: paste what `python -m tests.infra.parameter_table` prints"


def preview(environment: dict[str, str], document: dict[str, Any] = DOCUMENT) -> dict[str, Any]:
    """The parameters that the preview makes of the file in an environment."""
    script = runpy.run_path(str(INFRA / "hooks" / "preview.py"))
    return {
        name: entry["value"] for name, entry in script["fill_in"](document, environment)["parameters"].items()
    }


def test_the_preview_gives_what_azd_gives(main: Template) -> None:
    """Set variables win over defaults, numbers and truth values are typed as the template wants them, and what is empty is left out."""
    environment = {
        "AZURE_ENV_NAME": "prod",
        "AZURE_LOCATION": "westeurope",
        "FLEETSCORE_POOL_MAX_SPOT": "7",
        "FLEETSCORE_TAGS": '{"cost-centre": "4711"}',
    }
    filled = preview(environment)
    assert filled["environmentName"] == "prod"
    assert (filled["poolMaxSpot"], filled["privateNetwork"], filled["pythonVersion"]) == (7, False, "3.11")
    assert "alertEmail" not in filled
    assert filled["tags"] == {"cost-centre": "4711"}
    types = {"string": str, "int": int, "bool": bool, "object": dict}
    assert {k: type(v) for k, v in filled.items()} == {k: types[main.parameters[k].type] for k in filled}


def test_the_preview_refuses_what_is_no_variable() -> None:
    """A value in the file that is not ${NAME} or ${NAME=default} is named."""
    with pytest.raises(ValueError, match="colour is 'red'"):
        preview({}, {"parameters": {"colour": {"value": "red"}}})
