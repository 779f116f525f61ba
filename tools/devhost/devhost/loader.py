"""Load an app's `function_app.py` and index its functions, with the checks that Azure's worker makes.

Runs in a worker process: only there is the app's code imported.
"""

import importlib
import inspect
import os
import sys
import typing
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from devhost.errors import LoadError
from devhost.functions import (
    ACTIVITY,
    HTTP,
    ORCHESTRATION,
    QUEUE,
    TIMER,
    WARM_UP,
    FunctionIndex,
    FunctionInfo,
)

_TRIGGERS = (ACTIVITY, HTTP, ORCHESTRATION, QUEUE, TIMER, WARM_UP)
_OTHER_BINDINGS = ("http", "queue", "durableClient")


@dataclass(frozen=True, slots=True)
class LoadedApp:
    """The app in this process: what the host needs of its functions, and the callables themselves by name."""

    index: FunctionIndex
    callables: dict[str, Callable[..., Any]]


def load_app(root: Path) -> LoadedApp:
    """Import the app in `root` and index it; functions that need what this host does not have are left out.

    `root` becomes the working directory and the first entry of `sys.path`. Raises LoadError with the worker's
    own text where Azure would refuse the app, and whatever the app's import raises.
    """
    os.chdir(root)
    sys.path.insert(0, str(root))
    script = os.environ.get("PYTHON_SCRIPT_FILE_NAME", "function_app.py")
    if not (root / script).is_file():
        raise LoadError(f"There is no {script} in {root}; give the folder that holds the app.")
    module = importlib.import_module(script.removesuffix(".py"))
    functions = _find_app(module, script).get_functions()
    loaded = [(_describe(each), each.get_user_function()) for each in functions]
    active = [(info, function) for info, function in loaded if not _is_disabled(info.name)]
    kept, left_out = [], []
    for info, function in active:
        if reason := _unsupported(info):
            left_out.append(replace(info, left_out=reason))
        else:
            check_function(info, function)
            kept.append((info, function))
    index = FunctionIndex([info for info, _ in kept], left_out)
    return LoadedApp(index, {info.name: function for info, function in kept})


def _find_app(module: Any, script: str) -> Any:
    from azure.functions import FunctionRegister

    apps = [value for value in vars(module).values() if isinstance(value, FunctionRegister)]
    if not apps:
        raise LoadError(f"Could not find top level function app instances in {script}.")
    if len(apps) > 1:
        raise LoadError("More than one DFApp or other top level function app instances are defined.")
    return apps[0]


def _describe(function: Any) -> FunctionInfo:
    user_function = function.get_user_function()
    trigger = _binding(function.get_trigger())
    return FunctionInfo(
        name=function.get_function_name(),
        trigger=trigger,
        bindings=[_binding(each) for each in function.get_bindings()],
        is_async=inspect.iscoroutinefunction(user_function),
        retry=function.get_settings_dict("retry_policy"),
    )


def _binding(binding: Any) -> dict[str, Any]:
    """Return the binding's dictionary with plain values: enumerations as text, the direction as `in` or
    `out`.
    """
    values = {key: _plain(value) for key, value in binding.get_dict_repr().items() if value is not None}
    return values | {
        "name": binding.name,
        "type": binding.type,
        "direction": "out" if binding.direction else "in",
    }


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple | set):
        return [_plain(each) for each in value]
    name = getattr(value, "name", None)
    return value if isinstance(value, str | int | float | bool) and name is None else str(name or value)


def _is_disabled(name: str) -> bool:
    wanted = f"azurewebjobs.{name}.disabled".lower()
    return any(
        key.lower().replace("__", ".") == wanted and value.lower() in ("true", "1")
        for key, value in os.environ.items()
    )


def _unsupported(info: FunctionInfo) -> str:
    """Return why this host cannot run the function; empty for one that it can."""
    if info.kind == "entityTrigger":
        return (
            f"Function {info.name}: entities are not supported by the local host; use an orchestration, "
            "or run the app in Azure."
        )
    for binding in info.bindings:
        if binding["type"] not in _TRIGGERS + _OTHER_BINDINGS:
            return (
                f"Function {info.name}: binding {binding['name']} of type {binding['type']} is not supported "
                f"by the local host, which knows {', '.join(_TRIGGERS + _OTHER_BINDINGS)}."
            )
    return ""


def check_function(info: FunctionInfo, function: Callable[..., Any]) -> None:
    """Raise LoadError with the worker's text if parameters, bindings and annotations do not fit."""
    bound = {each["name"]: each for each in info.bindings if each["name"] != "$return"}
    parameters = dict(inspect.signature(function).parameters)
    annotations = typing.get_type_hints(function)
    if "context" in parameters and "context" not in bound:
        parameters.pop("context")
        _check_context(info.name, annotations)
    if undeclared := set(parameters) - set(bound):
        raise _load_error(
            info.name,
            "the following parameters are declared in Python but not in the function definition "
            f"(function.json or function decorators):  {undeclared!r}",
        )
    if absent := set(bound) - set(parameters):
        raise _load_error(
            info.name,
            "Extra parameters in binding definition — the following parameters are declared as bindings "
            f"but are not present in Python: {absent!r}",
        )
    for name in parameters:
        if name in annotations:
            _check_annotation(info.name, bound[name], annotations[name])
    _check_return(info, annotations)


def _load_error(name: str, text: str) -> LoadError:
    return LoadError(f"cannot load the {name} function: {text}")


def _check_context(name: str, annotations: dict[str, Any]) -> None:
    annotation = annotations.get("context")
    if "context" in annotations and getattr(annotation, "__name__", None) != "Context":
        raise _load_error(
            name,
            'the "context" parameter is expected to be of type azure.functions.Context, got '
            f'"{annotation!r}"',
        )


def _check_annotation(name: str, binding: dict[str, Any], annotation: Any) -> None:
    from azure.functions._thirdparty import typing_inspect

    generic = typing_inspect.is_generic_type(annotation)
    origin = (typing_inspect.get_origin(annotation) if generic else None) or annotation
    is_out = isinstance(origin, type) and origin.__name__ == "Out"
    wanted = typing.get_args(annotation)[0] if is_out and typing.get_args(annotation) else annotation
    parameter, kind = binding["name"], binding["type"]
    if not isinstance(wanted, type) and not typing_inspect.is_generic_type(wanted):
        raise _load_error(name, f"binding {parameter} has invalid non-type annotation {annotation!r}")
    if binding["direction"] == "out" and not is_out:
        raise _load_error(
            name,
            f'binding {parameter} is declared to have the "out" direction, but its annotation in Python is '
            "not a subclass of azure.functions.Out",
        )
    if binding["direction"] == "in" and is_out:
        raise _load_error(
            name,
            f'binding {parameter} is declared to have the "in" direction in the binding decorator, but its '
            "annotation is azure.functions.Out in Python",
        )
    if not _accepts(kind, wanted, is_out):
        raise _load_error(
            name,
            f'type of {parameter} binding in the binding decorator "{kind}" does not match its Python '
            f'annotation "{wanted.__name__}"',
        )


def _accepts(kind: str, wanted: Any, is_out: bool) -> bool:
    from azure.functions import get_binding_registry

    converter = get_binding_registry().get(kind)
    implicit = getattr(converter, "has_implicit_output", lambda: False)()
    if wanted in (str, bytes) and not implicit:
        return True  # the worker treats these as generic data
    check = converter.check_output_type_annotation if is_out else converter.check_input_type_annotation
    return bool(check(wanted))


def _check_return(info: FunctionInfo, annotations: dict[str, Any]) -> None:
    returned = next((each for each in info.bindings if each["name"] == "$return"), None)
    if returned is None or "return" not in annotations:
        return
    wanted = annotations["return"]
    if not isinstance(wanted, type):
        raise _load_error(info.name, f"has invalid non-type return annotation {wanted!r}")
    if not _accepts(returned["type"], wanted, is_out=True):
        raise _load_error(
            info.name,
            f'Python return annotation "{wanted.__name__}" does not match binding type "{returned["type"]}"',
        )
