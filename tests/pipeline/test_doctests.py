"""The examples in docstrings are true."""

import doctest
import importlib
import pkgutil

import pytest

import fleetscore
import orchestrators

MODULES = [
    m.name
    for package in (fleetscore, orchestrators)
    for m in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not m.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_true(name: str) -> None:
    """Every >>> line of the module gives what stands below it."""
    assert doctest.testmod(importlib.import_module(name)).failed == 0
