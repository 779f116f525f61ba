"""The page that explains `[data]` is true."""

import doctest
import re
import tomllib
from pathlib import Path

import msgspec

from fleetscore.settings import RunPolicy
from fleetscore.sources import DataSettings, read_data_settings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "bring-your-data.md"
EVENT_HUBS = PAGE.with_name("event-hubs.md")


def test_the_examples_of_the_page_run() -> None:
    """Every >>> line gives what stands below it."""
    done = doctest.testfile(str(PAGE), module_relative=False)
    assert done.attempted
    assert not done.failed


def test_the_page_explains_every_line_of_the_table() -> None:
    """Each TOML block is a valid `[data]` table, and together they show every setting."""
    blocks = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    shown: set[str] = set()
    for block in blocks:
        table = tomllib.loads(block)["data"]
        read_data_settings(table, "the page")
        shown |= table.keys()
    assert shown == set(DataSettings.__dataclass_fields__)


def test_the_settings_of_the_page_on_event_hubs_are_valid() -> None:
    """Its TOML block is read as a workload's settings, and its window is due after Capture's default interval."""
    (block,) = re.findall(r"```toml\n(.*?)```", EVENT_HUBS.read_text(), re.DOTALL)
    tables = tomllib.loads(block)
    data = read_data_settings(tables["data"], "the page")
    assert data.format == "capture"
    assert msgspec.convert(tables["run"], RunPolicy).watermark_s > 300
