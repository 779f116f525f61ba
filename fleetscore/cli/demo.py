"""The demo command."""

from __future__ import annotations

import click


@click.command()
def demo() -> None:
    """Run the three workloads on sample data."""
