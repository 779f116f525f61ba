"""The page that explains `[data]` is true."""

import doctest
import re
import tomllib
from pathlib import Path

from fleetscore.sources import read_data_settings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "bring-your-data.md"


def test_the_examples_of_the_page_run() -> None:
    """Every >>> line gives what stands below it."""
    done = doctest.testfile(str(PAGE), module_relative=False)
    assert done.attempted
    assert not done.failed


def test_every_table_of_the_page_is_accepted() -> None:
    """Each TOML block is a valid `[data]` table."""
    blocks = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        settings = read_data_settings(tomllib.loads(block)["data"], "the page")
        assert settings.paths or settings.query
