"""Text for people: control characters are made visible before a terminal prints them."""

from __future__ import annotations

import re

import click

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""C0 and C1 controls but tab and line feed, and what turns the direction of writing."""


def visible(text: str) -> str:
    r"""The text with control characters written as escapes, so that data cannot steer the terminal that
    shows it.

    >>> visible("pump\x1b[2J")
    'pump\\x1b[2J'
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def say(text: object = "", *, err: bool = False) -> None:
    """Print a line to standard output, or to standard error."""
    click.echo(visible(str(text)), err=err)
