"""Every Bicep file parses, and every name, module, parameter and output in it exists: what the compiler would say first."""

from pathlib import Path

import pytest
from pycep import BicepParser
from tree_sitter import Node

from tests.infra.bicep_reader import (
    Declared,
    Template,
    entries,
    literal,
    parse,
    read_template,
    text_of,
    used_names,
    walk,
)
from tests.infra.places import INFRA

FILES = sorted(INFRA.rglob("*.bicep"))


def unresolved_names(template: Template) -> list[str]:
    """Names that expressions use and nothing declares."""
    found = []
    for node in template.root.named_children:
        loops = {name for declared in _declared_in(template, node) for name in declared.loop_names}
        found += [text_of(n) for n in used_names(node) if text_of(n) not in template.names() | loops]
    return found


def _declared_in(template: Template, node: Node) -> list[Declared]:
    if node.type not in {"resource_declaration", "module_declaration"}:
        return []
    name = text_of(node.named_children[0])
    return [d for d in (template.resources.get(name), template.modules.get(name)) if d]


def module_faults(template: Template, templates: dict[str, Template]) -> list[str]:
    """Parameters of modules that are missing or unknown, and outputs that are used and not there."""
    faults = []
    for name, module in template.modules.items():
        path = (template.path.parent / module.of).resolve()
        target = templates.get(str(path.relative_to(INFRA))) if path.is_relative_to(INFRA) else None
        if target is None:
            faults.append(f"{name}: no file {module.of}")
            continue
        given = set(entries(module.properties()["params"]))
        needed = {key for key, parameter in target.parameters.items() if parameter.default is None}
        faults += [f"{name}: {key} is missing" for key in sorted(needed - given)]
        faults += [f"{name}: {key} is unknown" for key in sorted(given - set(target.parameters))]
        faults += [
            f"{name}: no output {key}" for key in sorted(_outputs_used(template, name) - set(target.outputs))
        ]
    return faults


def _outputs_used(template: Template, module: str) -> set[str]:
    found = set()
    for node in walk(template.root):
        if node.type == "member_expression" and node.named_children[0].type == "member_expression":
            inner, leaf = node.named_children
            base, middle = inner.named_children
            if text_of(base) == module and text_of(middle) == "outputs":
                found.add(text_of(leaf))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_file_parses_with_both_parsers(path: Path) -> None:
    """tree-sitter finds no error node and pycep, which checkov reads with, accepts the file."""
    assert not parse(path.read_text()).has_error
    assert BicepParser().parse(text=path.read_text())


def test_a_broken_file_is_refused(tmp_path: Path) -> None:
    """The reader names the line of a file that is no Bicep."""
    broken = tmp_path / "broken.bicep"
    broken.write_text("param location string\nresource x 'a/b@1' = {\n  name: \n")
    with pytest.raises(ValueError, match=r"broken\.bicep:\d"):
        read_template(broken)


def test_every_name_is_declared(templates: dict[str, Template]) -> None:
    """No expression uses a name that nothing declares."""
    assert {
        path: unresolved_names(template) for path, template in templates.items() if unresolved_names(template)
    } == {}


def test_an_undeclared_name_is_found(tmp_path: Path) -> None:
    """A misspelt parameter is found, also inside an interpolated string; keys, functions and loop variables are no names."""
    path = tmp_path / "x.bicep"
    path.write_text("param location string\nvar a = [\n  location\n]\noutput b string = '${locatoin}-x'\n")
    assert unresolved_names(read_template(path)) == ["locatoin"]


def test_modules_fit_together(templates: dict[str, Template]) -> None:
    """Every module's file exists, gets exactly the parameters it asks for, and has every output that is used of it."""
    assert {p: module_faults(t, templates) for p, t in templates.items() if module_faults(t, templates)} == {}


def test_a_module_that_does_not_fit_is_found(tmp_path: Path, templates: dict[str, Template]) -> None:
    """A missing file, a missing or unknown parameter and a missing output are each told."""
    path = INFRA / "planted.bicep"
    text = (
        "module a 'modules/none.bicep' = {\n  name: 'a'\n  params: {}\n}\n"
        "module b 'modules/batch.bicep' = {\n  name: 'b'\n  params: {\n    location: 'x'\n    colour: 'x'\n  }\n}\n"
        "output c string = b.outputs.colour\n"
    )
    (tmp_path / "planted.bicep").write_text(text)
    template = read_template(tmp_path / "planted.bicep")
    template.path = path
    assert module_faults(template, templates) == [
        "a: no file modules/none.bicep",
        "b: name is missing",
        "b: privateNetwork is missing",
        "b: tags is missing",
        "b: workspaceId is missing",
        "b: colour is unknown",
        "b: no output colour",
    ]


def test_nothing_is_declared_in_vain(templates: dict[str, Template]) -> None:
    """Every parameter, variable and existing resource is used by its own file."""
    unused = {}
    for path, template in templates.items():
        used = {text_of(node) for node in used_names(template.root)}
        existing = {name for name, declared in template.resources.items() if declared.existing}
        left = sorted(({*template.parameters, *template.variables} | existing) - used)
        if left:
            unused[path] = left
    assert unused == {}


def test_every_module_file_is_deployed(templates: dict[str, Template]) -> None:
    """No module file lies about that nothing refers to; the availability test is deployed by a hook."""
    used = {(t.path.parent / m.of).resolve() for t in templates.values() for m in t.modules.values()}
    assert {t.path for t in templates.values()} - used == {INFRA / "main.bicep", INFRA / "availability.bicep"}


def test_deployment_names_do_not_collide(templates: dict[str, Template]) -> None:
    """Two modules in one scope never share a deployment name, and the one in the subscription's scope carries the environment's token."""
    names = [text_of(m.properties()["name"]) for t in templates.values() for m in t.modules.values()]
    assert len(names) == len(set(names))
    assert "${token}" in text_of(templates["main.bicep"].modules["foundation"].properties()["name"])


def test_every_parameter_says_what_it_is(templates: dict[str, Template]) -> None:
    """Each parameter has a sentence, and each of the main template's numbers a range or a list of values."""
    for path, template in templates.items():
        for name, parameter in template.parameters.items():
            says = parameter.decorators.get("description")
            assert says is not None and literal(says).endswith("."), f"{path}: {name} has no sentence"
            if path == "main.bicep" and parameter.type == "int":
                bounds = set(parameter.decorators)
                assert "allowed" in bounds or {"minValue", "maxValue"} <= bounds, f"{name} has no range"
