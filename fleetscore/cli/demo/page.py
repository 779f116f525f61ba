"""The demo's page: one HTML file with the figures and the pictures inside, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from fleetscore.cli.demo.summary import ChapterSummary, format_judged
from fleetscore.registry import kind_names, load_kind

_STYLE = """
:root { color-scheme: light dark; --text: #1f2933; --quiet: #61707f; --line: #dde3e8; --card: #ffffff; --back: #f4f6f8; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6eaee; --quiet: #9aa8b5; --line: #323d47; --card: #1c242b; --back: #12181d; }
}
body { margin: 0; padding: 2rem 1rem; background: var(--back); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: auto; }
h1 { margin: 0; font-size: 1.7rem; } h2 { margin: 0 0 .3rem; font-size: 1.2rem; }
p { margin: .3rem 0; } .quiet { color: var(--quiet); }
section { margin-top: 1.5rem; padding: 1.3rem; background: var(--card); border: 1px solid var(--line); border-radius: .6rem; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .8rem; margin: 1rem 0; }
dt { color: var(--quiet); font-size: .85rem; } dd { margin: 0; font-size: 1.25rem; font-variant-numeric: tabular-nums; }
img { display: block; width: 100%; margin-top: 1rem; border-radius: .3rem; background: #fff; }
ul { margin: .5rem 0; padding-left: 1.2rem; }
code { font-size: .9em; overflow-wrap: anywhere; }
"""


def _title(workload: str) -> str:
    """What the kind of the workload calls its section; the workload's name where it says nothing."""
    known = workload in kind_names()
    return getattr(load_kind(workload), "title", "") or workload if known else workload


def render_page(chapters: Sequence[ChapterSummary], store_url: str, seconds: float) -> str:
    """The page as HTML text; pictures that cannot be read raise OSError."""
    sections = "".join(_section(chapter) for chapter in chapters)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Fleetscore demo</title><style>{_STYLE}</style></head><body><main>"
        "<h1>Fleetscore demo</h1>"
        f'<p class="quiet">Everything below came out of the real function app on this machine, in {seconds:.0f} seconds.'
        f" The store is <code>{escape(store_url)}</code></p>"
        f"{sections}</main></body></html>\n"
    )


def _section(chapter: ChapterSummary) -> str:
    title = _title(chapter.workload)
    planted = "".join(f"<li>{escape(line)}</li>" for line in chapter.planted)
    judged = "".join(f"<p>{escape(line)}</p>" for line in format_judged(chapter.judged))
    return (
        f'<section id="{escape(chapter.workload)}"><h2>{escape(title)}</h2>'
        f'<p class="quiet">{chapter.windows_published} of {chapter.windows} windows published,'
        f" {escape(chapter.first)} to {escape(chapter.last)}</p>"
        f"<dl>{_figures(chapter)}</dl>{judged}<ul>{planted}</ul>{_pictures(chapter)}"
        f'<p class="quiet">Results <code>{escape(chapter.results)}</code><br>Ledger <code>{escape(chapter.ledger)}</code></p>'
        "</section>"
    )


def _figures(chapter: ChapterSummary) -> str:
    figures = {
        "partitions expected": f"{chapter.expected:,}",
        **{outcome: f"{count:,}" for outcome, count in chapter.counts.items()},
        "rows read": f"{chapter.input_rows:,}",
        "rows published": f"{chapter.rows:,}",
        "rows a second": f"{chapter.rows_per_second:,.0f}",
    }
    return "".join(f"<div><dt>{escape(name)}</dt><dd>{value}</dd></div>" for name, value in figures.items())


def _pictures(chapter: ChapterSummary) -> str:
    return "".join(_picture(Path(path)) for path in chapter.pictures)


def _picture(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{escape(path.stem)}" src="data:image/svg+xml;base64,{data}">'
