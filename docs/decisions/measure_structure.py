"""Measures the structure of a checkout: `python docs/decisions/measure_structure.py [FOLDER]` prints a Markdown table.

It reads the code only, so it measures any version of it the same way.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from statistics import median, quantiles

PRODUCT = ("fleetscore", "activities", "orchestrators", "triggers", "worker_image")


def main(root: Path) -> None:
    """Print what is measured of the checkout at `root`."""
    files = [path for folder in PRODUCT for path in sorted((root / folder).rglob("*.py"))]
    trees = {path: ast.parse(path.read_text()) for path in files}
    lengths = sorted(length for tree in trees.values() for length in _function_lines(tree))
    statements = sum(isinstance(node, ast.stmt) for tree in trees.values() for node in ast.walk(tree))
    core = {path: tree for path, tree in trees.items() if path.is_relative_to(root / "fleetscore")}
    flat = sum(path.parent == root / "fleetscore" and path.name != "__init__.py" for path in core)
    rows = {
        "modules directly in fleetscore/": flat,
        "modules in its fullest folder": max(Counter(path.parent for path in core).values()),
        "folders and modules in import circles": len(_in_circles(root, core)),
        "public names (`__all__`)": _public_names(root),
        "methods to write for a kind": _abstract_methods(root),
        "lines of the how-to's kind": _toy_lines(root),
        "function length: median / p90 / largest": f"{median(lengths):.0f} / {quantiles(lengths, n=10)[-1]:.0f} / {lengths[-1]}",
        "functions over 40 lines": sum(length > 40 for length in lengths),
        "files over 400 lines": sum(len(path.read_text().splitlines()) > 400 for path in files),
        "statements of product code": statements,
        "files of product code": len(files),
    }
    lines = ["| what | value |", "|---|--:|", *(f"| {name} | {value} |" for name, value in rows.items())]
    sys.stdout.write("\n".join(lines) + "\n")


def _function_lines(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield (node.end_lineno or node.lineno) - node.lineno + 1


def _in_circles(root: Path, core: dict[Path, ast.Module]) -> set[str]:
    """The folders, and modules directly in the package, that need themselves through others."""
    places = {_module(root, path): _place(root, path) for path in core}
    needs: dict[str, set[str]] = defaultdict(set)
    for path, tree in core.items():
        for name in _imports(tree):
            used = places.get(name) or places.get(name.rpartition(".")[0])
            if used and used != places[_module(root, path)]:
                needs[places[_module(root, path)]].add(used)
    found: set[str] = set()
    while True:
        graph = {place: used - found for place, used in needs.items() if place not in found}
        try:
            list(TopologicalSorter(graph).static_order())
        except CycleError as error:
            found |= set(error.args[1])
            continue
        return found


def _module(root: Path, path: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def _place(root: Path, path: Path) -> str:
    parts = path.relative_to(root / "fleetscore").with_suffix("").parts
    return "" if parts[0] in ("__init__", "__main__") else parts[0]


def _imports(tree: ast.Module) -> Iterator[str]:
    """The modules that a file imports when it runs, at its top or inside a function; not what a type checker alone reads."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        waiting += ast.iter_child_nodes(node)


def _public_names(root: Path) -> int:
    for node in ast.parse((root / "fleetscore" / "__init__.py").read_text()).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == "__all__":
            return len(ast.literal_eval(node.value))  # type: ignore[attr-defined, arg-type]
    return 0


def _abstract_methods(root: Path) -> int:
    """The abstract methods of the class Workload."""
    seam = next(
        p for p in (root / "fleetscore/workload.py", root / "fleetscore/workloads/base.py") if p.exists()
    )
    kind = next(
        n
        for n in ast.walk(ast.parse(seam.read_text()))
        if isinstance(n, ast.ClassDef) and n.name == "Workload"
    )
    methods = [node for node in kind.body if isinstance(node, ast.FunctionDef)]
    return sum(any("abstractmethod" in ast.unparse(d) for d in method.decorator_list) for method in methods)


def _toy_lines(root: Path) -> int:
    """Lines of the example kind that the how-to shows or, before it had one, sends to."""
    shown = [*sorted((root / "docs").rglob("examples/*.py")), root / "tests/spine/toy_workload.py"]
    return len(next(path for path in shown if path.exists()).read_text().splitlines())


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve())
