"""The reference pages say what the code says."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("regenerate", ROOT / "docs" / "regenerate.py")
assert spec is not None
assert spec.loader is not None
regenerate = importlib.util.module_from_spec(spec)
spec.loader.exec_module(regenerate)


@pytest.mark.parametrize("page", regenerate.TABLES)
def test_generated_tables_are_up_to_date(page: str) -> None:
    """Settings, error codes and endpoints in the docs are those of the code; `python docs/regenerate.py` fixes a difference."""
    assert (ROOT / "docs" / page).read_text() == regenerate.regenerated(page)


def test_every_error_code_of_the_code_is_in_the_docs() -> None:
    """A code given anywhere with code="..." is explained in errors.md or on a workload's page."""
    pages = "".join(path.read_text() for path in (ROOT / "docs").rglob("*.md"))
    source = "".join(
        path.read_text() for folder in ("fleetscore", "triggers") for path in (ROOT / folder).rglob("*.py")
    )
    codes = set(re.findall(r'\bcode="([a-z_]+)"', source))
    assert codes
    assert not {code for code in codes if f"`{code}`" not in pages}


def test_links_between_pages_lead_somewhere() -> None:
    """Every relative link of README, docs and infra points to a file that exists."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), ROOT / "infra" / "README.md"]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        if page.exists()
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert broken == []
