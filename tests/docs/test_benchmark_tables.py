"""The tables of docs/benchmarks.md are those that the benchmarks printed."""

from pathlib import Path

import pytest

from benchmarks.__main__ import PAGE, read_options, read_tables, render_block, with_block

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_shows_the_tables_that_were_measured() -> None:
    """docs/benchmarks.md is what `python -m benchmarks --page` writes."""
    text = PAGE.read_text()
    assert with_block(text, render_block(read_tables())) == text


def test_every_table_comes_from_a_benchmark() -> None:
    """A table that is kept names the script that made it."""
    scripts = {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    assert set(read_tables()) <= scripts


def test_the_block_is_replaced_and_nothing_else() -> None:
    """Writing twice is writing once; text around the marks stays."""
    text = PAGE.read_text()
    before, after = text.split("<!-- begin speed")[0], text.split("<!-- end speed -->")[1]
    once = with_block(text, "### A\n\n| a |")
    assert with_block(once, "### A\n\n| a |") == once
    assert once.startswith(before)
    assert once.endswith(after)
    assert "### A" in once


def test_a_benchmark_that_is_not_there_is_refused_before_any_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """A mistyped name ends with 2 and the names that exist; it ran those before it and ended in a traceback."""
    with pytest.raises(SystemExit) as ended:
        read_options(["store_sales", "sensors"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "'sensors'" in said
    assert "sensor_anomaly" in said
    assert read_options(["store_sales"]).names == ["store_sales"]
