"""Loading: what Azure's worker refuses, refused with the same texts; and what is accepted."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from devhost.errors import LoadError
from devhost.loader import load_app

_ROOT = Path(__file__).resolve().parents[3]
_HEAD = """
import typing
from typing import Any, Dict, List, Optional
import azure.functions as func
import azure.durable_functions as df
app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
"""


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a function that loads an app from source and gives its functions, or the text that refused it."""
    monkeypatch.chdir(tmp_path)  # load_app changes both; these are put back at the end
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "function_app", raising=False)

    def run(source: str, head: str = _HEAD) -> Any:
        (tmp_path / "function_app.py").write_text(head + source)
        try:
            return load_app(tmp_path).index.functions
        except LoadError as error:
            return str(error)
        finally:
            sys.modules.pop("function_app", None)

    return run


_ACTIVITY = """
@app.activity_trigger(input_name="x")
def act({parameters}):
    return 1
"""


@pytest.mark.parametrize(
    "annotation",
    ["list[int]", "dict[str, int]", "Optional[int]", "int | None", "typing.Union[int, str]", "'int | None'"],
)
def test_annotations_that_kill_the_app_in_azure(load: Any, annotation: str) -> None:
    """Annotations that the worker does not take for types are refused with its text."""
    text = load(_ACTIVITY.format(parameters=f"x: {annotation}"))
    assert text.startswith("cannot load the act function: binding x has invalid non-type annotation "), text


def test_annotations_that_azure_accepts(load: Any) -> None:
    """Plain classes, typing generics and Any are fine."""
    source = "".join(
        _ACTIVITY.format(parameters=f"x: {annotation}").replace("def act", f"def act{number}")
        for number, annotation in enumerate(
            ["int", "dict", "list", "List[int]", "Dict[str, int]", "Any", "str", "'int'"]
        )
    )
    found = load(source)
    assert [each.name for each in found] == [f"act{number}" for number in range(8)], found


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (
            _ACTIVITY.format(parameters="y"),
            "the following parameters are declared in Python but not in the function def",
        ),
        (
            '@app.orchestration_trigger(context_name="ctx")\ndef orch(ctx):\n    yield\n',
            'cannot load the orch function: the "context" parameter is expected to be of type azure.functions.Context',
        ),
        (
            '@app.route(route="a")\ndef endpoint(req: func.TimerRequest) -> str:\n    return ""\n',
            'type of req binding in the binding decorator "httpTrigger" does not match its Python annotation "TimerRequest"',
        ),
        (
            '@app.route(route="a")\ndef endpoint(req: func.HttpRequest) -> int:\n    return 1\n',
            'Python return annotation "int" does not match binding type "http"',
        ),
        (
            '@app.route(route="a")\ndef endpoint(req: func.HttpRequest, context: int) -> str:\n    return ""\n',
            'the "context" parameter is expected to be of type azure.functions.Context',
        ),
        (
            '@app.queue_output(arg_name="out", queue_name="q", connection="c")\n@app.route(route="a")\n'
            "def handler(req: func.HttpRequest, out: str) -> str:\n    return ''\n",
            'is declared to have the "out" direction, but its annotation in Python is not a subclass',
        ),
    ],
)
def test_refusals(load: Any, source: str, text: str) -> None:
    """Each mismatch between decorators and signature is named."""
    assert text in load(source)


def test_missing_app_object_is_refused(load: Any) -> None:
    """An app without an app object is refused with the worker's text."""
    none = load("", head="x = 1\n")
    assert none == "Could not find top level function app instances in function_app.py."


def test_two_app_objects_are_too_many(load: Any) -> None:
    """Two app objects are refused with the worker's text."""
    two = load("other = func.FunctionApp()\n")
    assert two == "More than one DFApp or other top level function app instances are defined."


def test_disabled_functions_are_left_out(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The app setting AzureWebJobs.NAME.Disabled takes a function away."""
    monkeypatch.setenv("AzureWebJobs.act.Disabled", "true")
    assert load(_ACTIVITY.format(parameters="x")) == []


def test_refused_app_stops_the_host(make_host: Any) -> None:
    """A host whose app cannot be loaded ends with code 1 and the reason; an import error shows its traceback."""
    host = make_host("import nobody_has_this\n")
    host.launch()
    assert host.process.wait(20) == 1
    assert "ModuleNotFoundError" in host.log and "No module named 'nobody_has_this'" in host.log
    missing = make_host("features")
    missing.app = missing.data
    missing.launch()
    assert missing.process.wait(20) == 1 and "There is no function_app.py in" in missing.log


def test_apps_that_start_threads_get_fresh_workers(make_host: Any) -> None:
    """An app whose import starts threads runs in processes that were not forked with them."""
    source = """
import threading, time
import azure.functions as func
import azure.durable_functions as df
app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
ticks = []
def tick():
    while True:
        ticks.append(1)
        time.sleep(0.01)
threading.Thread(target=tick, daemon=True).start()

@app.route(route="ticks")
def show(req: func.HttpRequest) -> str:
    before = len(ticks)
    time.sleep(0.1)
    return "alive" if len(ticks) > before else "dead"
"""
    host = make_host(source, "--workers", "1").start()
    assert requests.get(f"{host.url}/api/ticks", timeout=60).text == "alive"


def _newer_python() -> str | None:
    """Return an interpreter of Python 3.13 or later that runs, or None."""
    found = [shutil.which(f"python3.{minor}") for minor in (13, 14, 15)]
    found += sorted(str(path) for path in Path.home().glob(".pyenv/versions/3.1[3-9]*/bin/python"))
    for python in filter(None, found):
        if subprocess.run([python, "-c", "pass"], capture_output=True).returncode == 0:
            return python
    return None


@pytest.mark.slow
def test_microsofts_worker_indexes_the_apps(tmp_path: Path) -> None:
    """Microsoft's own worker library indexes the apps of these tests, and the one in whose source they lie."""
    python = _newer_python()
    if python is None:
        pytest.skip("no Python 3.13 or later on this machine, which azure-functions-runtime needs")
    subprocess.run([python, "-m", "venv", str(tmp_path / "venv")], check=True)
    newer = str(tmp_path / "venv" / "bin" / "python")
    packages = ["azure-functions-runtime==1.3.0", "azure-functions-durable~=1.7", "msgspec==0.22.0"]
    install = subprocess.run([newer, "-m", "pip", "install", "-q", *packages], capture_output=True, text=True)
    if install.returncode != 0:
        pytest.skip(f"azure-functions-runtime cannot be installed here: {install.stderr.strip()[-300:]}")
    program = str(Path(__file__).with_name("index_with_runtime.py"))
    apps = [*(Path(__file__).parent / "apps").iterdir(), _ROOT]
    for app in (each for each in apps if (each / "function_app.py").exists()):
        run = subprocess.run([newer, program, str(app)], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        assert int(run.stdout.split()[0]) > 20
