"""Computes the value of a Bicep expression, for the pure functions that infra/ uses; what only Azure knows is given by the test.

uniqueString and guid are stand-ins with the real ones' shape (13 lower-case letters and digits; a GUID): the same input gives
the same text, another input another text.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tree_sitter import Node

from tests.infra.bicep_reader import Declared, Template, entries, text_of

SUBSCRIPTION = {"id": "/subscriptions/0", "subscriptionId": "0"}
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


def unique_string(*parts: str) -> str:
    """Thirteen characters that stand for the parts."""
    number = int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest()[:9])
    return "".join(_ALPHABET[number >> (5 * place) & 31] for place in range(13))


def _format(pattern: str, *values: Any) -> str:
    return re.sub(r"\{(\d)\}", lambda found: str(values[int(found[1])]), pattern)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "concat": lambda *parts: [item for part in parts for item in part],
    "empty": lambda value: not value,
    "environment": lambda: {"suffixes": {"storage": "core.windows.net"}},
    "format": _format,
    "guid": lambda *parts: str(uuid.uuid5(uuid.NAMESPACE_URL, "|".join(parts))),
    "replace": lambda text, old, new: text.replace(old, new),
    "resourceId": lambda kind, *names: (
        f"/subscriptions/0/resourceGroups/g/providers/{kind}/{'/'.join(names)}"
    ),
    "string": lambda value: (
        {True: "True", False: "False"}.get(value, str(value)) if isinstance(value, bool) else str(value)
    ),
    "subscription": lambda: SUBSCRIPTION,
    "subscriptionResourceId": lambda kind, name: f"/subscriptions/0/providers/{kind}/{name}",
    "split": lambda text, separator: text.split(separator),
    "union": lambda *parts: {key: value for part in parts for key, value in part.items()},
    "uniqueString": unique_string,
    "utcNow": lambda _pattern: "2026-11-01",
}
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
    "*": lambda left, right: left * right,
    "-": lambda left, right: left - right,
    "/": lambda left, right: left // right,
    "&&": lambda left, right: left and right,
    "||": lambda left, right: left or right,
    "??": lambda left, right: right if left is None else left,
}


class Values:
    """The values of one template: parameters as given or by default; resources and modules as the test says.

    `known(name, path)` gives what only Azure knows, such as ("batch", ("outputs", "endpoint")).
    """

    def __init__(
        self, template: Template, parameters: Mapping[str, Any], known: Callable[[str, tuple[str, ...]], Any]
    ) -> None:
        """Prepare; nothing is computed before it is asked for."""
        self._template = template
        self._parameters = parameters
        self._known = known

    def of(self, node: Node) -> Any:
        """The value of an expression; ValueError on syntax that infra/ does not use."""
        children = node.named_children
        match node.type:
            case "string":
                return self._string(node)
            case "number":
                return int(text_of(node))
            case "boolean":
                return text_of(node) == "true"
            case "null":
                return None
            case "array":
                return [self.of(child) for child in children]
            case "object":
                return {key: self.of(value) for key, value in entries(node).items()}
            case "parenthesized_expression" | "interpolation":
                return self.of(children[0])
            case "ternary_expression":
                return self.of(children[1] if self.of(children[0]) else children[2])
            case "unary_expression":
                return not self.of(children[0])
            case "binary_expression":
                return self._binary(node)
            case "call_expression":
                return self._call(children[0], children[1].named_children)
            case "identifier":
                return self._name(text_of(node))
            case "member_expression" | "subscript_expression":
                return self._member(node)
        raise ValueError(f"no value for {node.type}: {text_of(node)[:80]}")

    def variable(self, name: str) -> Any:
        """The value of a variable of the template."""
        return self.of(self._template.variables[name])

    def module_parameters(self, name: str) -> dict[str, Any]:
        """What a module of the template is given."""
        return dict(self.of(self._template.modules[name].properties()["params"]))

    def deploys(self, declared: Declared) -> bool:
        """Whether a resource or module is made with these parameters."""
        return declared.condition is None or bool(self.of(declared.condition))

    def _string(self, node: Node) -> str:
        parts = []
        for child in node.named_children:
            if child.type == "string_content":
                parts.append(text_of(child))
            elif child.type == "escape_sequence":
                parts.append(text_of(child).removeprefix("\\"))
            else:
                parts.append(str(self.of(child)))
        text = "".join(parts)
        return text.removeprefix("\n") if text_of(node).startswith("'''") else text

    def _binary(self, node: Node) -> Any:
        left, right = node.named_children
        sign = text_of(node.children[1])
        first = self.of(left)
        if (sign == "??" and first is not None) or (sign == "&&" and not first) or (sign == "||" and first):
            return first
        return _OPERATORS[sign](first, self.of(right))

    def _call(self, function: Node, arguments: list[Node]) -> Any:
        name = text_of(function)
        values = [self.of(argument) for argument in arguments]
        if name == "loadTextContent":
            return self._file(values[0]).read_text()
        if name == "loadJsonContent":
            return json.loads(self._file(values[0]).read_text())
        return _FUNCTIONS[name](*values)

    def _file(self, path: str) -> Path:
        return self._template.path.parent / path

    def _name(self, name: str) -> Any:
        if name in self._template.variables:
            return self.variable(name)
        if name in self._template.parameters:
            parameter = self._template.parameters[name]
            if name in self._parameters:
                return self._parameters[name]
            if parameter.default is None:
                raise ValueError(f"{self._template.path.name} needs a value for {name}")
            return self.of(parameter.default)
        return self._known(name, ())

    def _member(self, node: Node) -> Any:
        base, path = _split(node)
        name = text_of(base)
        if base.type == "identifier" and name not in {*self._template.variables, *self._template.parameters}:
            return self._known(name, tuple(text_of(part) for part in path))
        value = self.of(base)
        for part in path:
            key = text_of(part) if part.type == "property_identifier" else self.of(part)
            value = value[key]
        return value


def _split(node: Node) -> tuple[Node, list[Node]]:
    path: list[Node] = []
    while node.type in {"member_expression", "subscript_expression"}:
        node, part = node.named_children
        path.insert(0, part)
    return node, path
