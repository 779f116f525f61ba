"""Names that a package offers and imports from its own modules when they are first used.

A package that imports its modules as it is imported fails where threads come first to it at once: one holds
the package and waits for a module, another holds the module and waits for its package, and the import system
raises an error about a deadlock.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def offer_names(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """The `__getattr__` of a package; `homes` says which names, with spaces between, are in which of its
    modules. AttributeError for other names.

    >>> offer_names("json", {"decoder": "JSONDecoder JSONDecodeError"})("JSONDecoder").__name__
    'JSONDecoder'
    """
    home_of = {name: f"{package}.{module}" for module, names in homes.items() for name in names.split()}

    def get_name(name: str) -> object:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(home_of[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return get_name
