# mypy: disable-error-code=import-not-found
# (the runtime library exists for Python 3.13 only)
"""Let Microsoft's worker library index an app: `python index_with_runtime.py APP_DIR`, under Python 3.13 or
later.

Prints the number of functions; ends with the library's own complaint where it has one.
"""

import importlib
import sys
from types import SimpleNamespace
from typing import Any

# Stands for the protocol's module, of which indexing needs the names of directions and data types only.
_PROTOCOL = SimpleNamespace(BindingInfo=SimpleNamespace(inout=2, out=1, undefined=None))


def _find_app(module: Any) -> Any:
    from azure.functions import FunctionRegister

    (app,) = [value for value in vars(module).values() if isinstance(value, FunctionRegister)]
    return app


def main(app_dir: str) -> None:
    """Index the app's functions one by one."""
    from azure_functions_runtime.bindings.meta import load_binding_registry
    from azure_functions_runtime.functions import Registry

    sys.path.insert(0, app_dir)
    load_binding_registry()
    functions = _find_app(importlib.import_module("function_app")).get_functions()
    for function in functions:
        Registry().add_indexed_function(function, _PROTOCOL)
    sys.stdout.write(f"{len(functions)} functions\n")


if __name__ == "__main__":
    main(sys.argv[1])
