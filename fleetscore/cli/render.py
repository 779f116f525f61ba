"""What commands print: JSON as the records are, or texts and tables for people."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from fleetscore.cli.progress import format_seconds
from fleetscore.cli.text import visible
from fleetscore.requesters import format_starter

if TYPE_CHECKING:
    from rich.console import Console

    from fleetscore.records import Finding, RunRecord, RunRequest
    from fleetscore.runs.index import RunLine
    from fleetscore.runs.status import RunStatus

_BEYOND_ASCII_CONTROL = re.compile("[\x7f-\x9f]")  # what JSON may hold as it is, and a terminal obeys
_PIPED_WIDTH = 100
_LEAST_FOLDED, _BETWEEN = 3, 3  # characters of a folded text, and from one column to the next
_REMARKS_SHOWN = 8
_OUTCOMES = ("scored", "failed", "skipped", "late", "quarantined")


def print_json(value: Any) -> None:
    """Print any record or value as indented JSON."""
    import msgspec

    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    click.echo(_BEYOND_ASCII_CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def print_pairs(title: str, pairs: Iterable[tuple[str, Any]]) -> None:
    """Print a title and aligned lines of name and value; pairs without a value are left out."""
    parts = [(visible(name), visible(str(value))) for name, value in pairs if value not in ("", None)]
    width = max((len(name) for name, _ in parts), default=0)
    click.echo(click.style(visible(title), bold=True))
    for name, value in parts:
        first, *rest = value.split("\n")
        click.echo(f"  {name:<{width}}  {first}")
        for line in rest:
            click.echo(f"  {'':<{width}}  {line}")


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, numbers: Sequence[str] = ()
) -> None:
    """Print a table; the columns named in `numbers` stand to the right. Where it is too wide, texts are
    folded, keys and numbers never: the table is wider where these alone need it.
    """
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, column in enumerate(columns):
        is_number = column in numbers
        table.add_column(
            column, justify="right" if is_number else "left", overflow="fold", no_wrap=is_number or place == 0
        )  # fmt: skip
    texts = [[visible(str(value)) for value in row] for row in rows]
    for row in texts:
        table.add_row(*row)
    output = console()
    output.width = max(output.width, _least_width(columns, texts, numbers))
    output.print(table)


def _least_width(columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str]) -> int:
    """The width at which numbers and keys, the first column, are whole."""
    from rich.cells import cell_len

    widths = [max(map(cell_len, cells)) for cells in zip(columns, *rows, strict=True)]
    least = [
        width if place == 0 or column in numbers else min(width, _LEAST_FOLDED)
        for place, (column, width) in enumerate(zip(columns, widths, strict=True))
    ]
    return sum(least) + _BETWEEN * len(least)


def console() -> Console:
    """Standard output; 100 columns where it is no terminal."""
    from rich.console import Console

    return Console(
        width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False, markup=False, emoji=False
    )


def format_counts(counts: Mapping[str, int]) -> str:
    """Outcome counts as a phrase.

    >>> format_counts({"late": 1, "scored": 1200})
    '1,200 scored, 1 late'
    """
    names = [*_OUTCOMES, *(name for name in counts if name not in _OUTCOMES)]
    return ", ".join(f"{counts[name]:,} {name}" for name in names if counts.get(name))


def lacking(counts: Mapping[str, int]) -> set[str]:
    """The outcomes among the counts after which a partition has no result and needs one.

    >>> sorted(lacking({"scored": 9, "late": 1, "failed": 2, "quarantined": 0}))
    ['failed', 'late']
    """
    return {
        outcome for outcome, count in counts.items() if count and outcome in ("failed", "late", "quarantined")
    }


def format_ending(verdict: str, counts: Mapping[str, int]) -> str:
    """How a window ended, in words that separate late from failed.

    >>> format_ending("good", {}), format_ending("with_failures", {"scored": 9, "late": 1})
    ('published', 'published, some late')
    >>> format_ending("with_failures", {"scored": 9, "late": 1, "failed": 2})
    'published with failures, some late'
    """
    if verdict == "good":
        return "published"
    if verdict != "with_failures":
        return "not published"
    missing = lacking(counts)
    if missing == {"late"}:
        return "published, some late"
    return "published with failures" + (", some late" if "late" in missing else "")


def plural(count: int, noun: str) -> str:
    """The count with its noun.

    >>> plural(1, "file"), plural(1200, "file")
    ('1 file', '1,200 files')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def format_value(value: Any, most: int = 300) -> str:
    """Any JSON value in a line: numbers short, lists and mappings as JSON, cut after `most` characters.

    >>> format_value(0.123456789), format_value({"a": 1})
    ('0.123457', '{"a":1}')
    """
    import msgspec

    if isinstance(value, float):
        return f"{value:.6g}"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode().strip('"')
    return text if len(text) <= most else f"{text[:most]}…"


def print_status(status: RunStatus) -> None:
    """Print how a run stands or ended."""
    record = status.record
    pairs: list[tuple[str, Any]] = [
        ("state", f"{_state(status)}{_progress(status)}"),
        ("requested by", _asked_by(record.request)),
        (
            "partitions",
            f"{record.partitions:,} expected: {format_counts(record.counts)}" if record.counts else "",
        ),
        ("rows", _rows(status)),
        (
            "models",
            ", ".join(f"{version} ({count:,})" for version, count in record.models.items() if version),
        ),
        ("model set", _model_set(record)),
        ("missing", record.facts.get("absent", "")),
        ("causes", "\n".join(describe_causes(record.causes))),
        ("remarks", "\n".join(describe_remarks(record.remarks, record.findings))),
        ("error", record.error),
        ("published anyway", _anyway(record.facts.get("published_anyway"))),
        *((name, path) for name, path in status.links.items() if name in ("manifest", "ledger")),
    ]
    print_pairs(status.id, pairs)


def _anyway(told: Mapping[str, Any] | None) -> str:
    """Who published what a check had held back, why, and what the check had said; "" for other runs."""
    if not told:
        return ""
    return f"by {told['requested_by']}: {told['why']}\nheld back for: {told['held_for']}"


def describe_remarks(remarks: Sequence[str], findings: Sequence[Finding]) -> list[str]:
    """A line per remark, those of a kind that was not shown yet first, and how many are left out.

    >>> from fleetscore.records import Finding
    >>> describe_remarks(["a", "b", "c"], [Finding("unread_cells", "a"), Finding("unread_cells", "b")])
    ['a', 'c', 'b']
    """
    causes = {finding.detail: finding.cause for finding in findings}
    shown: set[str] = set()
    first, again = list[str](), list[str]()
    for text in remarks:
        cause = causes.get(text, text)
        (again if cause in shown else first).append(text)
        shown.add(cause)
    lines = [*first, *again]
    left = len(lines) - _REMARKS_SHOWN
    return lines[:_REMARKS_SHOWN] + ([f"(and {left:,} more: --json lists all)"] if left > 0 else [])


def print_runs(lines: Iterable[RunLine]) -> None:
    """Print runs, one a line."""
    rows = [
        (
            line.run, line.state, f"{line.requested:%Y-%m-%d %H:%M}", format_seconds(line.seconds) if line.ended else "",
            format_counts(line.counts),
        )
        for line in lines
    ]  # fmt: skip
    columns = ("run", "state", "requested", "took", "outcomes")
    print_table(columns, rows, numbers=("took",))


def _model_set(record: RunRecord) -> str:
    """The model set of a training, and what it is used as."""
    entered = record.facts.get("entered", "")
    return f"{record.model_set} ({entered})" if record.model_set and entered else record.model_set


def _asked_by(request: RunRequest) -> str:
    only = f", only {request.scope}" if request.scope else ""
    return f"{format_starter(request.who)}{only}" + (
        f", after {request.previous}" if request.previous else ""
    )


def _state(status: RunStatus) -> str:
    """The state; a window that was published without all its partitions says what they lack."""
    if status.verdict == "with_failures":
        return format_ending(status.verdict, status.record.counts)
    return str(status.state)


def _progress(status: RunStatus) -> str:
    if status.verdict:
        return f" after {format_seconds(status.elapsed_s)}"
    left = f", {format_seconds(status.eta_s)} left" if status.eta_s else ""
    return f", shard {status.shards_done} of {status.shards}{left}" if status.shards else ""


def _rows(status: RunStatus) -> str:
    record = status.record
    if not record.input_rows:
        return ""
    if record.request.purpose == "train":
        planned = any(count for outcome, count in record.counts.items() if outcome != "scored")
        return f"about {record.input_rows:,}, as planned" if planned else f"{record.input_rows:,} read"
    rate = f", {record.input_rows / status.elapsed_s:,.0f} a second" if status.elapsed_s else ""
    return f"{record.input_rows:,} in, {record.rows:,} out{rate}"


def describe_causes(causes: Sequence[Any]) -> list[str]:
    """A line for each of the first causes: how many partitions, of what outcome, the first of them and
    why.
    """
    parts = []
    for cause in causes[:5]:
        detail = f": {cause.detail}" if cause.detail else ""
        parts.append(f"{cause.partitions:,} {cause.outcome}, {cause.cause}, first {cause.example}{detail}")
    return parts + ([f"and {len(causes) - 5} more"] if len(causes) > 5 else [])
