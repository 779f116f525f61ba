"""Run the benchmarks one after the other, keep the tables they print, and show them in docs/benchmarks.md.

Run: python -m benchmarks [NAME ...], or `python -m benchmarks --page` to write docs/benchmarks.md again from the tables that are kept.
`python -m benchmarks quality [--data FOLDER]` measures what results are worth, for docs/quality.md.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import quality

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
PAGE = HERE.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- begin speed: written by `make bench` -->", "<!-- end speed -->"
TITLES = {
    "sensor_anomaly": "Sensors",
    "sensor_detectors": "Sensors' detectors",
    "store_sales": "Store sales",
    "server_load": "Server load",
    "models": "Imported models against their libraries",
    "models_trees": "Imported tree models against their libraries",
    "models_program": "A fleet of imported models, start to published manifest",
    "models_growth": "Imported models by the size of their set",
    "models_import": "Importing models",
    "pipeline": "Plan, ledger and manifest, up to a million partitions",
    "dashboard": "Dashboard and API over 10,000 runs of 10,000 partitions",
    "offload": "Shards on Batch",
    "devhost": "The local host",
    "cold_start": "The first shard of a fresh process",
}


def main(arguments: Sequence[str]) -> None:
    """Run the benchmarks that are named, or all, and write the tables into docs/benchmarks.md."""
    if arguments and arguments[0] == "quality":
        quality.main(arguments[1:])
        return
    options = read_options(arguments)
    if not options.page:
        for name in options.names or TITLES:
            run_benchmark(name)
            write_page()
    write_page()


def read_options(arguments: Sequence[str]) -> argparse.Namespace:
    """The benchmarks that are named; exits with 2 for one that is not there, before any is run."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Run benchmarks and show their tables in docs/benchmarks.md.",
        epilog=f"Benchmarks: {', '.join(TITLES)}; and quality, with options of its own.",
    )  # fmt: skip
    parser.add_argument("names", nargs="*", metavar="NAME", help="the benchmarks to run; all without a name")
    parser.add_argument(
        "--page", action="store_true", help="write the page again from the tables that are kept"
    )
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in TITLES:
            parser.error(f"there is no benchmark {name!r}; there are {', '.join(TITLES)} and quality")
    return options


def write_page() -> None:
    """Show the kept tables in docs/benchmarks.md."""
    PAGE.write_text(with_block(PAGE.read_text(), render_block(read_tables())))


def run_benchmark(name: str) -> None:
    """Run one benchmark as a process of its own and keep what it prints; CalledProcessError when it fails."""
    done = subprocess.run(
        [sys.executable, str(HERE / f"{name}.py")], stdout=subprocess.PIPE, text=True, check=True
    )
    print(done.stdout)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(done.stdout.strip() + "\n")


def read_tables() -> dict[str, str]:
    """The kept tables by benchmark, in the order of the titles."""
    paths = {name: RESULTS / f"{name}.md" for name in TITLES}
    return {name: path.read_text().strip() for name, path in paths.items() if path.exists()}


def render_block(tables: dict[str, str]) -> str:
    """The part of docs/benchmarks.md that shows the tables."""
    if not tables:
        return "Nothing is measured yet: `make bench` fills this in."
    return "\n\n".join(f"### {TITLES[name]}\n\n{table}" for name, table in tables.items())


def with_block(page: str, block: str) -> str:
    """docs/benchmarks.md with the block between its two marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{block}\n\n{END}{after}"


if __name__ == "__main__":
    main(sys.argv[1:])
