"""The reference pages say what the code says."""

import importlib.util
import re
from abc import ABCMeta
from collections import Counter
from pathlib import Path

import pytest

from fleetscore import capabilities

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


def test_a_setting_is_described_behind_its_line_or_above_it() -> None:
    """A long description stands on the line above its field; a field without any is refused, never a row with nothing in it."""
    source = "class A:\n    short: int = 1  # how many\n    # by when, in words\n    long: str = ''\n    bare: int = 2\n"
    assert [regenerate.comment_on(name, source) for name in ("short", "long")] == [
        "how many",
        "by when, in words",
    ]
    with pytest.raises(ValueError, match="bare has no comment"):
        regenerate.comment_on("bare", source)


def test_every_error_code_of_the_code_is_in_the_docs() -> None:
    """A code given anywhere with code="..." is explained in errors.md or on a workload's page."""
    pages = "".join(path.read_text() for path in (ROOT / "docs").rglob("*.md"))
    source = "".join(
        path.read_text() for folder in ("fleetscore", "triggers") for path in (ROOT / folder).rglob("*.py")
    )
    codes = set(re.findall(r'\bcode="([a-z_]+)"', source))
    assert codes
    assert not {code for code in codes if f"`{code}`" not in pages}


def test_the_how_to_lists_every_capability_with_what_to_write() -> None:
    """Each capability has a row that names its abstract methods."""
    page = (ROOT / "docs" / "howto" / "add-a-workload.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*)$", page, re.MULTILINE))
    methods = {
        name: kind.__abstractmethods__
        for name, kind in vars(capabilities).items()
        if isinstance(kind, ABCMeta) and kind.__module__ == capabilities.__name__ and kind.__abstractmethods__
    }
    assert methods.keys() >= {"Trains", "HoldsModels"}
    assert {
        name: missing
        for name, wanted in methods.items()
        if (missing := [each for each in wanted if f"`{each}`" not in rows.get(name, "")])
    } == {}


PAGES = [
    ROOT / "README.md",
    *(ROOT / "docs").rglob("*.md"),
    ROOT / "infra" / "README.md",
    *(ROOT / "tools").glob("*/README.md"),
]


def anchors_of(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them; a heading that comes again gets a number."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    seen: Counter[str] = Counter()
    anchors = set()
    for title in re.findall(r"^#+ (.*)", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower()
        anchor = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        anchors.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return anchors


def test_links_between_pages_lead_somewhere() -> None:
    """Every relative link of README, docs, infra and tools points to a file, and to a heading of it, that exist."""
    broken = []
    for page in PAGES:
        for target, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)]*))?\)", page.read_text()):
            found = page.parent / target if target else page
            lost = anchor and found.suffix == ".md" and found.exists() and anchor not in anchors_of(found)
            if not found.exists() or lost:
                broken.append(f"{page.relative_to(ROOT)}: {target}#{anchor}")
    assert broken == []
