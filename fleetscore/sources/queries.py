"""Queries with `:start` and `:end`: where these names stand, outside of quotes and comments."""

from __future__ import annotations

import re
from collections.abc import Callable

NAMES = ("start", "end")

_PIECES = re.compile(
    r"""'(?:[^']|'')*'            # a text
      | "(?:[^"]|"")*"            # a quoted name
      | --[^\n]*                  # a comment to the end of its line
      | /\*.*?\*/                 # a comment
      | \$(\w*)\$.*?\$\1\$        # a text between dollars
      | ::                        # a cast
      | :(start|end)\b            # what is bound
    """,
    re.VERBOSE | re.DOTALL,
)


def bound_names(query: str) -> list[str]:
    """The names that the query has to be given, in order, as often as they stand there.

    >>> bound_names("select ':start', x::text from t -- :end\\nwhere ts >= :start and ts < :end")
    ['start', 'end']
    """
    return [match[2] for match in _PIECES.finditer(query) if match[2]]


def with_names_replaced(query: str, replace: Callable[[str], str]) -> str:
    """The query, without a semicolon at its end, with what stands for each bound name in place of it.

    It ends with a line end, so that what is put behind it is never part of a comment.

    >>> with_names_replaced("select * from t where ts >= :start;", lambda name: "?")
    'select * from t where ts >= ?\\n'
    """
    replaced = _PIECES.sub(lambda match: replace(match[2]) if match[2] else match[0], query)
    return replaced.strip().removesuffix(";") + "\n"
