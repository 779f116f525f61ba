"""Reads a Bicep file into what the tests ask about: parameters, variables, resources, modules, outputs and the names it uses.

Made of tree-sitter's syntax tree; knows the subset of Bicep that infra/ is written in and refuses what it does not know.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import tree_sitter
import tree_sitter_bicep
from tree_sitter import Node

_PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_bicep.language()))


@dataclass(frozen=True, slots=True)
class Parameter:
    """A `param` line: its type, its default (None: it must be given) and its decorators' arguments by name."""

    type: str
    default: Node | None
    decorators: dict[str, Node | None]


@dataclass(frozen=True, slots=True)
class Declared:
    """A `resource` or `module`: what it is of, its body, and how it is declared."""

    of: str  # type@version of a resource, path of a module
    body: Node
    existing: bool = False
    condition: Node | None = None
    loop_names: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The type of the resource without its version."""
        return self.of.partition("@")[0]

    def properties(self) -> dict[str, Node]:
        """The body's own keys and the expressions they are given."""
        return entries(self.body)


@dataclass(slots=True)
class Template:
    """One Bicep file."""

    path: Path
    root: Node
    parameters: dict[str, Parameter] = field(default_factory=dict)
    variables: dict[str, Node] = field(default_factory=dict)
    resources: dict[str, Declared] = field(default_factory=dict)
    modules: dict[str, Declared] = field(default_factory=dict)
    outputs: dict[str, Node] = field(default_factory=dict)

    def decorator_number(self, parameter: str, decorator: str) -> int:
        """The number that a decorator of a parameter gives, such as its minValue."""
        node = self.parameters[parameter].decorators[decorator]
        if node is None:
            raise ValueError(f"{parameter}: @{decorator} has no argument")
        return int(text_of(node))

    def names(self) -> set[str]:
        """Everything that an expression of the file may refer to by name."""
        return {*self.parameters, *self.variables, *self.resources, *self.modules}


def parse(text: str) -> Node:
    """The syntax tree of a text; nodes of type ERROR stand where it is no Bicep."""
    return _PARSER.parse(text.encode()).root_node


def read_template(path: Path) -> Template:
    """Read a file; ValueError names the first place that is no Bicep."""
    root = parse(path.read_text())
    wrong = next((node for node in walk(root) if node.is_error or node.is_missing), None)
    if wrong is not None:
        raise ValueError(f"{path}:{wrong.start_point[0] + 1}: not Bicep: {text_of(wrong)[:60]!r}")
    template = Template(path, root)
    decorators: dict[str, Node | None] = {}
    for node in root.named_children:
        if node.type == "decorators":
            decorators = dict(map(_decorator, node.named_children))
            continue
        _read_declaration(template, node, decorators)
        decorators = {}
    return template


def _decorator(node: Node) -> tuple[str, Node | None]:
    call = node.named_children[0]
    arguments = call.named_children[1].named_children
    return text_of(call.named_children[0]), arguments[0] if arguments else None


def _read_declaration(template: Template, node: Node, decorators: dict[str, Node | None]) -> None:
    children = node.named_children
    match node.type:
        case "comment" | "target_scope_assignment":
            return
        case "parameter_declaration":
            default = children[2] if len(children) > 2 else None
            template.parameters[text_of(children[0])] = Parameter(text_of(children[1]), default, decorators)
        case "variable_declaration":
            template.variables[text_of(children[0])] = children[1]
        case "output_declaration":
            template.outputs[text_of(children[0])] = children[2]
        case "resource_declaration":
            template.resources[text_of(children[0])] = _declared(node)
        case "module_declaration":
            template.modules[text_of(children[0])] = _declared(node)
        case _:
            raise ValueError(f"{template.path}:{node.start_point[0] + 1}: the tests do not know {node.type}")


def _declared(node: Node) -> Declared:
    children = node.named_children
    body, condition = children[2], None
    loop_names: tuple[str, ...] = ()
    if body.type == "for_statement":
        *head, _, body = body.named_children
        loop_names = tuple(
            text_of(n) for n in (head[0].named_children if head[0].type == "for_loop_parameters" else head)
        )
    if body.type == "if_statement":
        condition, body = body.named_children
    existing = any(child.type == "existing" or text_of(child) == "existing" for child in node.children)
    return Declared(literal(children[1]), body, existing, condition, loop_names)


def walk(node: Node) -> Iterator[Node]:
    """The node and everything below it, in the order of the text."""
    yield node
    for child in node.children:
        yield from walk(child)


def text_of(node: Node) -> str:
    """The node's own text."""
    return (node.text or b"").decode()


def literal(node: Node) -> str:
    """The text of a string without interpolation."""
    return "".join(_string_part(child) for child in node.named_children)


def _string_part(node: Node) -> str:
    if node.type == "string_content":
        return text_of(node)
    if node.type == "escape_sequence":
        return text_of(node).removeprefix("\\")
    raise ValueError(f"not a plain string: {text_of(node)}")


def entries(node: Node) -> dict[str, Node]:
    """The keys of an object literal and their expressions; nested resources are left out."""
    found = {}
    for child in node.named_children:
        if child.type == "object_property" and len(child.named_children) == 2:
            key, value = child.named_children
            found[literal(key) if key.type == "string" and not _interpolated(key) else text_of(key)] = value
    return found


def _interpolated(node: Node) -> bool:
    return any(child.type == "interpolation" for child in node.named_children)


def used_names(node: Node) -> Iterator[Node]:
    """The identifiers of an expression that stand for a name: not keys, not functions, not what follows a dot."""
    for child in node.children:
        if child.type == "identifier" and not _is_label(node, child):
            yield child
        yield from used_names(child)


def _is_label(parent: Node, child: Node) -> bool:
    first = parent.named_children[0] == child
    return first and parent.type in {
        "object_property",
        "call_expression",
        "parameter_declaration",
        "variable_declaration",
        "output_declaration",
        "resource_declaration",
        "module_declaration",
        "for_statement",
    }
