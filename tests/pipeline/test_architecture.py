"""The arrows go one way, and what must load fast loads no science."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
AZURE_ADAPTERS = ("fleetscore/store/", "fleetscore/batch/", "fleetscore/telemetry_setup.py")


@cache
def tree_of(path: Path) -> ast.Module:
    """The syntax tree of a file, which most tests here look at."""
    return ast.parse(path.read_text())


def imports_of(path: Path) -> set[str]:
    """The dotted names that a file imports anywhere."""
    names: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def nodes_at_run_time(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below, without what only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield child
            yield from nodes_at_run_time(child)


def modules_used(path: Path, modules: dict[str, Path]) -> set[str]:
    """Those of `modules` that a file imports at run time, at its top or inside a function."""
    used: set[str] = set()
    for node in nodes_at_run_time(tree_of(path)):
        if isinstance(node, ast.Import):
            used |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            used |= names & modules.keys() or {node.module}
    return {name for name in used if name in modules and modules[name] != path}


def files_of(folder: str) -> list[Path]:
    """The Python files below a folder."""
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", files_of("fleetscore"), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_the_core_knows_no_functions_and_only_adapters_know_azure(path: Path) -> None:
    """The core imports no Functions SDK and nothing above it; the Azure SDKs appear only in stores, compute and telemetry."""
    imported = imports_of(path)
    above = {
        "azure.functions",
        "azure.durable_functions",
        "activities",
        "orchestrators",
        "triggers",
        "function_app",
        "devhost",
        "devbatch",
    }
    assert not {name for name in imported if any(name == a or name.startswith(a + ".") for a in above)}
    if not path.relative_to(ROOT).as_posix().startswith(AZURE_ADAPTERS):
        assert not {name for name in imported if name == "azure" or name.startswith("azure.")}


APP = ("function_app.py", "activities", "orchestrators", "triggers", "worker_image")


def test_no_import_comes_back_to_where_it_began() -> None:
    """No file of the core or the app needs itself through others, not even by an import that waits inside a function."""
    files = [path for place in ("fleetscore", *APP) for path in files_of(place) or [ROOT / place]]
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in files
    }
    used = {name: modules_used(path, modules) for name, path in modules.items()}
    assert used["fleetscore.pipeline.drift"] >= {"fleetscore.pipeline.profiles", "fleetscore.registry"}
    assert used["triggers.endpoints"] == {"triggers.blueprints"}
    order = list(TopologicalSorter(used).static_order())  # CycleError names the circle
    assert set(order) == modules.keys()


LAYERS = [
    "errors", "lazy_names", "typed_json", "exhaustion", "own_functions", "windows", "schedules", "partition_keys", "predictions",
    "records", "schemas",
    "store", "requesters",
    "settings_lines", "settings_tables", "notify_settings", "settings", "app_settings",
    "request_logs", "telemetry_setup", "telemetry", "process_environment", "kernels",
    "sources", "models",
    "runs", "workload", "capabilities", "registry", "arrow_startup", "workloads", "batch",
    "pipeline", "testing", "operations", "dashboard", "fleet", "cli",
]  # fmt: skip
"""The folders and single modules of the package, lowest first: each imports from those before it only."""


PACKAGES = [path for path in (ROOT / "fleetscore").rglob("__init__.py") if path.read_text().strip()]


@pytest.mark.parametrize("path", PACKAGES, ids=lambda path: path.parent.name)
def test_no_package_imports_its_own_modules_while_it_is_imported(path: Path) -> None:
    """Threads that come first to a package and to one of its modules at once would meet a deadlock; all that it offers is there."""
    package = ".".join(path.parent.relative_to(ROOT).parts)
    lines = [node for node in tree_of(path).body if isinstance(node, ast.Import | ast.ImportFrom)]
    named = [node.module or "" for node in lines if isinstance(node, ast.ImportFrom)]
    named += [alias.name for node in lines if isinstance(node, ast.Import) for alias in node.names]
    assert [name for name in named if name == package or name.startswith(f"{package}.")] == []
    module = importlib.import_module(package)
    assert [name for name in getattr(module, "__all__", ()) if not hasattr(module, name)] == []


def test_arrows_between_folders_go_one_way() -> None:
    """No folder of the package imports one above it, so that a folder's place says what a line in it may know."""
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in files_of("fleetscore")
    }
    entries = {"fleetscore", "fleetscore.__main__"}
    places = {name: name.split(".")[1] for name in modules.keys() - entries}
    assert set(places.values()) - set(LAYERS) == set(), "a new folder needs its place in LAYERS"
    upward = {
        f"{name} -> {used}"
        for name, path in modules.items()
        if name not in entries
        for used in modules_used(path, modules) - entries
        if LAYERS.index(places[used]) > LAYERS.index(places[name])
    }
    assert upward == set()


def test_the_page_of_the_pipeline_places_every_file() -> None:
    """The docstring of the pipeline's folder names each of its modules once, and none that is not there."""
    page = ast.get_docstring(tree_of(ROOT / "fleetscore/pipeline/__init__.py")) or ""
    steps = [line for line in page.splitlines() if line.startswith("    ")]
    named = [name for line in steps for name in re.split(r",\s*", re.split(r"\s{2,}", line.strip())[0])]
    named += re.findall(r"`(\w+)`", page)
    modules = {path.stem for path in (ROOT / "fleetscore/pipeline").glob("*.py")} - {"__init__"}
    assert sorted(named) == sorted(modules)


def test_no_circle_ties_the_rooms_of_operations() -> None:
    """No folder of the operations needs itself through another folder or module beside it."""
    package = "fleetscore.operations"
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in files_of("fleetscore/operations")
    }
    places = {name: name.removeprefix(package).split(".")[1] for name in modules.keys() - {package}}
    needs: dict[str, set[str]] = {place: set() for place in places.values()}
    for name, place in places.items():
        needs[place] |= {places[used] for used in modules_used(modules[name], modules) - {package}} - {place}
    assert needs["doctor"] >= {"notices", "repair"}
    assert set(TopologicalSorter(needs).static_order()) == needs.keys()  # CycleError names the circle


@pytest.mark.parametrize("package", ["devhost", "devbatch"])
def test_the_local_services_know_nothing_of_fleetscore(package: str) -> None:
    """devhost and devbatch run anybody's app: they import nothing of ours."""
    for path in files_of(f"tools/{package}/{package}"):
        mine = {"fleetscore", "activities", "orchestrators", "triggers", "function_app"}
        assert not {name for name in imports_of(path) if name.split(".")[0] in mine}, path


def test_the_app_loads_without_science() -> None:
    """Indexing the app imports no numerical library, so that a cold start does not pay for scoring."""
    code = "import function_app, sys; print([m for m in ('numpy', 'pyarrow', 'pandas', 'sklearn', 'lightgbm') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_planning_and_collecting_load_no_model_library() -> None:
    """The steps need columns only: scikit-learn, pandas and plots stay out of the path from start to manifest."""
    code = (
        "import fleetscore.pipeline.local, fleetscore.workloads.sensor_anomaly.workload, sys; "
        "print([m for m in ('pandas', 'sklearn', 'matplotlib', 'lightgbm', 'numba', 'polars', 'duckdb') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
