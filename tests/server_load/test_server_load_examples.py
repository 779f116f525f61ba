"""The examples in the docstrings."""

import doctest
from importlib import import_module
from pkgutil import iter_modules

import pytest

from fleetscore.workloads import server_load

_MODULES = sorted(module.name for module in iter_modules(server_load.__path__))


@pytest.mark.parametrize("name", _MODULES)
def test_docstring_examples_hold(name: str) -> None:
    """Every example in a docstring gives what it says."""
    assert doctest.testmod(import_module(f"fleetscore.workloads.server_load.{name}")).failed == 0
