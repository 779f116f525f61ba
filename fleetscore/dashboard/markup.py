"""HTML and SVG as text, escaped by construction: plain strings are data, only Markup is markup."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TypeAlias

Attribute: TypeAlias = str | int | float | bool | None
Child: TypeAlias = "str | Iterable[Child] | None"

_EMPTY = frozenset({"meta", "input", "br", "link"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, /, *children: Child, **attributes: Attribute) -> Markup:
    """The element; attributes that are None or False are left out, a trailing "_" of their names is, and
    other "_" become "-".

    >>> tag("a", "x < y", href="?q=%22", class_="cell", hidden=True)
    '<a href="?q=%22" class="cell" hidden>x &lt; y</a>'
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _EMPTY:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def join(*children: Child) -> Markup:
    """The children one after another; strings that are no Markup are escaped, None is nothing.

    >>> join("a & b", None, tag("b", "c"), ["<", ">"])
    'a &amp; b<b>c</b>&lt;&gt;'
    """
    return Markup("".join(_child(child) for child in children))


def _child(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return str(child)
    if isinstance(child, str):
        return escape(child)
    return join(*child)


def _attribute(key: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    return f' {name}="{escape(f"{value:.6g}" if isinstance(value, float) else str(value))}"'
