"""These tests need parsers and service models that live in .venv-infra; `make infra-check` makes it and runs them there."""

import importlib.util

import pytest

if importlib.util.find_spec("tree_sitter_bicep") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    from tests.infra.bicep_reader import Template, read_template
    from tests.infra.places import INFRA

    @pytest.fixture(scope="session")
    def templates() -> dict[str, Template]:
        """Every Bicep file, read, by its path below infra/."""
        return {str(path.relative_to(INFRA)): read_template(path) for path in sorted(INFRA.rglob("*.bicep"))}

    @pytest.fixture(scope="session")
    def main(templates: dict[str, Template]) -> Template:
        """The template that azd deploys."""
        return templates["main.bicep"]
