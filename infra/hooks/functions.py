"""Lists the functions of the app from its source, so that a deployment can be compared with what Azure lists.

`python3 infra/hooks/functions.py` prints the names; with `--route PATH` the name of the function that answers there.
Only the standard library is needed: the app itself is not imported.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("activities", "orchestrators", "triggers")
ONLY_WHERE_SET = {"triggers/signed_in.py": "FLEETSCORE_AUTH"}
"""File -> setting without which the app does not register the file's functions; azd hands settings to its hooks."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function that the host calls: its name, and its route where it answers HTTP."""

    name: str
    route: str = ""


def list_functions(root: Path) -> list[Function]:
    """Every function that the app registers from its folders: by a decorator, or by a loop over a tuple of names."""
    left_out = {root / file for file, setting in ONLY_WHERE_SET.items() if not os.environ.get(setting)}
    paths = (path for folder in FOLDERS for path in sorted((root / folder).rglob("*.py")))
    trees = [ast.parse(path.read_text()) for path in paths if path not in left_out]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    found = [function for node in nodes for function in (*_decorated(node), *_looped(node))]
    return sorted(found, key=lambda function: function.name)


def _decorated(node: ast.AST) -> Iterator[Function]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        for decorator in node.decorator_list:
            if _is_trigger(decorator):
                yield Function(node.name, _route(decorator))


def _looped(node: ast.AST) -> Iterator[Function]:
    """The names of `for x in (a, b): blueprint.y_trigger(...)(x)`."""
    if not (isinstance(node, ast.For) and isinstance(node.iter, ast.Tuple)):
        return
    calls = (child for statement in node.body for child in ast.walk(statement) if isinstance(child, ast.Call))
    if any(_is_trigger(call.func) for call in calls):
        yield from (Function(name.id) for name in node.iter.elts if isinstance(name, ast.Name))


def _is_trigger(node: ast.AST) -> bool:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return False
    return node.func.attr == "route" or node.func.attr.endswith("_trigger")


def _route(decorator: ast.AST) -> str:
    keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
    values = [k.value for k in keywords if k.arg == "route"]
    return str(values[0].value) if values and isinstance(values[0], ast.Constant) else ""


if __name__ == "__main__":
    functions = list_functions(ROOT)
    if sys.argv[1:2] == ["--route"]:
        functions = [function for function in functions if function.route == sys.argv[2]]
    sys.stdout.writelines(f"{function.name}\n" for function in functions)
