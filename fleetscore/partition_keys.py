"""Partition keys: one readable string per partition, made from its fields."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc


def join_key(fields: Sequence[str]) -> str:
    """The partition key of the `fields`, joined by "/"; a slash or per cent sign inside a field is escaped.

    >>> join_key(["pump/3", "temp"])
    'pump%2F3/temp'
    """
    return "/".join(field.replace("%", "%25").replace("/", "%2F") for field in fields)


def split_key(key: str) -> list[str]:
    """The fields that `join_key` joined.

    >>> split_key('pump%2F3/temp')
    ['pump/3', 'temp']
    """
    return [unquote(field) for field in key.split("/")]


def find_unescaped(name: str, keys: Iterable[str]) -> str | None:
    """The only key of `keys` that reads `name` once its slashes and per cent signs are no longer escaped;
    None where none or several do.

    >>> find_unescaped("depot/3", ["depot%2F3", "depot4"]), find_unescaped("a/b/c", ["a%2Fb/c", "a/b%2Fc"])
    ('depot%2F3', None)
    """
    if not {"/", "%"} & set(name):
        return None  # such a name is its own key
    found = [key for key in keys if "%" in key and "/".join(split_key(key)) == name]
    return found[0] if len(found) == 1 else None


def is_utf8(key: str) -> bool:
    r"""Whether the key can be written as UTF-8, as every key of a table is; arguments and addresses may hold
    other bytes.

    >>> is_utf8("é"), is_utf8("a\udcff")
    (True, False)
    """
    return not any("\ud800" <= sign <= "\udfff" for sign in key)


def join_columns(columns: Sequence[pa.Array | pa.ChunkedArray]) -> Any:
    """The keys of whole columns of strings at once, row by row, equal to `join_key` of each row."""
    escaped = [pc.replace_substring(pc.replace_substring(c, "%", "%25"), "/", "%2F") for c in columns]
    return escaped[0] if len(escaped) == 1 else pc.binary_join_element_wise(*escaped, "/")
