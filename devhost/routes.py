"""ASP.NET route templates: `{p}`, `{p?}`, `{p=default}`, `{*rest}` and constraints such as `{id:int}`.

Pure: a template is compiled once and matched against paths.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote
from uuid import UUID

from devhost.errors import LoadError

_PARAMETER = re.compile(r"\{(\*{0,2})([^{}:=?*]+)((?::[^{}]*(?:\{[^{}]*\}[^{}]*)*?)?)(\?|=[^{}]*)?\}")


def _is_whole(text: str, bits: int) -> bool:
    return re.fullmatch(r"[+-]?\d+", text) is not None and -(1 << (bits - 1)) <= int(text) < 1 << (bits - 1)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_guid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _whole(text: str) -> int | None:
    return int(text) if _is_whole(text, 64) else None


_PLAIN: dict[str, Callable[[str], bool]] = {
    "int": lambda text: _is_whole(text, 32),
    "long": lambda text: _is_whole(text, 64),
    "bool": lambda text: text.lower() in ("true", "false"),
    "guid": _is_guid,
    "decimal": _is_number,
    "double": _is_number,
    "float": _is_number,
    "alpha": lambda text: re.fullmatch(r"[A-Za-z]*", text) is not None,
    "required": bool,
}


def _constraint(text: str, template: str) -> Callable[[str], bool]:
    name, _, rest = text.partition("(")
    arguments = rest.removesuffix(")")
    if name in _PLAIN and not rest:
        return _PLAIN[name]
    if name == "regex":
        pattern = re.compile(
            arguments.replace("{{", "{").replace("}}", "}").replace("\\\\", "\\"), re.IGNORECASE
        )
        return lambda value: pattern.search(value) is not None
    numbers = [int(each) for each in arguments.split(",") if each.strip().lstrip("-").isdigit()]
    if name == "length" and numbers:
        return lambda value: numbers[0] <= len(value) <= numbers[-1]
    if name in ("minlength", "maxlength", "min", "max") and len(numbers) == 1:
        return _bound(name, numbers[0])
    if name == "range" and len(numbers) == 2:
        return lambda value: (number := _whole(value)) is not None and numbers[0] <= number <= numbers[1]
    raise LoadError(f"route '{template}': the constraint '{text}' is not one that ASP.NET knows")


def _bound(name: str, limit: int) -> Callable[[str], bool]:
    if name == "minlength":
        return lambda value: len(value) >= limit
    if name == "maxlength":
        return lambda value: len(value) <= limit
    if name == "min":
        return lambda value: (number := _whole(value)) is not None and number >= limit
    return lambda value: (number := _whole(value)) is not None and number <= limit


@dataclass(frozen=True, slots=True)
class Route:
    """A compiled template. `order` sorts the more specific first; `match` gives the parameters of a path or None."""

    template: str
    pattern: re.Pattern[str]
    constraints: dict[str, list[Callable[[str], bool]]]
    defaults: dict[str, str]
    names: dict[str, str]
    order: tuple[int, ...]

    def match(self, path: str) -> dict[str, str] | None:
        """Return the parameters of an escaped path without its leading slash; absent optional ones are left out."""
        found = self.pattern.fullmatch(path.strip("/"))
        if found is None:
            return None
        values = dict(self.defaults)
        for group, name in self.names.items():
            if found[group]:
                values[name] = unquote(found[group])
        for name, checks in self.constraints.items():
            if name in values and not all(check(values[name]) for check in checks):
                return None
        return values


def compile_route(template: str) -> Route:
    """Compile a template; raises LoadError naming the template where it cannot be understood."""
    pattern, order = "", []
    constraints: dict[str, list[Callable[[str], bool]]] = {}
    defaults: dict[str, str] = {}
    names: dict[str, str] = {}
    for number, segment in enumerate(template.strip("/").split("/") if template.strip("/") else []):
        text, position, rank, may_be_absent = "", 0, 1, False
        for found in _PARAMETER.finditer(segment):
            text += re.escape(segment[position : found.start()])
            stars, name, checks, tail = found.groups()
            group = f"p{len(names)}"
            names[group] = name
            text += f"(?P<{group}>.*)" if stars else f"(?P<{group}>[^/]+?)"
            if checks:
                constraints[name] = [_constraint(each, template) for each in _split(checks[1:])]
            if tail and tail.startswith("="):
                defaults[name] = tail[1:]
            may_be_absent = bool(stars) or bool(tail)
            rank = 5 if stars else 2 if checks else 3
            position = found.end()
        rest = segment[position:]
        if "{" in rest or "}" in rest:
            raise LoadError(f"route '{template}': '{segment}' is not a valid segment")
        text += re.escape(rest)
        separator = "/" if number else ""
        pattern += (
            f"(?:{separator}{text})?" if may_be_absent and text.startswith("(?P<") else separator + text
        )
        order.append(rank)
    return Route(template, re.compile(pattern, re.IGNORECASE), constraints, defaults, names, tuple(order))


def _split(text: str) -> list[str]:
    """Split constraints at colons outside of brackets."""
    parts, depth, current = [], 0, ""
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == ":" and depth == 0:
            parts.append(current)
            current = ""
        else:
            current += letter
    return [*parts, current]
