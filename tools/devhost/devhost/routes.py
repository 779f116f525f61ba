"""ASP.NET route templates: `{p}`, `{p?}`, `{p=default}`, `{*rest}` and constraints such as `{id:int}`.

Pure: a template is compiled once and matched against paths.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote
from uuid import UUID

from devhost.errors import LoadError


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
    """A compiled template. `order` sorts the more specific first; `match` gives the parameters of a path or
    None.
    """

    template: str
    pattern: re.Pattern[str]
    constraints: dict[str, list[Callable[[str], bool]]]
    defaults: dict[str, str]
    names: dict[str, str]
    order: tuple[int, ...]

    def match(self, path: str) -> dict[str, str] | None:
        """Return the parameters of an escaped path without its leading slash; absent optional ones are left
        out.
        """
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


@dataclass(frozen=True, slots=True)
class _Parameter:
    """What stands between the braces of a template."""

    name: str
    is_catch_all: bool
    is_optional: bool
    default: str | None
    constraints: list[str]


def _parse_parameter(text: str, template: str) -> _Parameter:
    """Parse `**name:constraint(...):other=default` or `name:constraint?`."""
    bare = text.lstrip("*")
    is_optional = bare.endswith("?")
    head, *constraints = _split(bare.removesuffix("?"), ":")
    *constraints, last = [head, *constraints]
    last, *defaults = _split(last, "=", limit=1)
    name, *constraints = [*constraints, last]
    if not name or any(each in name for each in "{}()*?/"):
        raise LoadError(f"route '{template}': '{{{text}}}' is not a valid parameter")
    return _Parameter(name, bare != text, is_optional, defaults[0] if defaults else None, constraints)


def _split(text: str, separator: str, limit: int = -1) -> list[str]:
    """Split at separators outside of brackets."""
    parts: list[str] = []
    depth, current = 0, ""
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == separator and depth == 0 and limit != len(parts):
            parts.append(current)
            current = ""
        else:
            current += character
    return [*parts, current]


def _tokens(segment: str, template: str) -> list[str | _Parameter]:
    """Split a segment into literal texts and parameters; braces nest, as in a regular expression."""
    tokens: list[str | _Parameter] = []
    depth, current = 0, ""
    for character in segment:
        depth += (character == "{") - (character == "}")
        if (character == "{" and depth == 1) or (character == "}" and depth == 0):
            if character == "}":
                tokens.append(_parse_parameter(current, template))
            elif current:
                tokens.append(current)
            current = ""
        else:
            current += character
    if depth != 0 or "}" in current:
        raise LoadError(f"route '{template}': the braces of '{segment}' do not match")
    return [*tokens, current] if current else tokens


def compile_route(template: str) -> Route:
    """Compile a template; raises LoadError naming the template where it cannot be understood."""
    pattern, order = "", []
    constraints: dict[str, list[Callable[[str], bool]]] = {}
    defaults: dict[str, str] = {}
    names: dict[str, str] = {}
    for number, segment in enumerate(_segments(template)):
        tokens = _tokens(segment, template)
        text, rank, may_be_absent = "", 1, False
        for token in tokens:
            if isinstance(token, str):
                text += re.escape(token)
                continue
            group = f"p{len(names)}"
            names[group] = token.name
            text += f"(?P<{group}>.*)" if token.is_catch_all else f"(?P<{group}>[^/]+?)"
            constraints[token.name] = [_constraint(each, template) for each in token.constraints]
            if token.default is not None:
                defaults[token.name] = token.default
            may_be_absent = len(tokens) == 1 and (
                token.is_catch_all or token.is_optional or token.default is not None
            )
            rank = 5 if token.is_catch_all else 2 if token.constraints else 3
        separated = ("/" if number else "") + text
        pattern += f"(?:{separated})?" if may_be_absent else separated
        order.append(rank)
    return Route(template, re.compile(pattern, re.IGNORECASE), constraints, defaults, names, tuple(order))


def _segments(template: str) -> list[str]:
    """Split a template at slashes outside of braces."""
    segments: list[str] = []
    depth, current = 0, ""
    for character in template.strip("/"):
        depth += (character == "{") - (character == "}")
        if character == "/" and depth == 0:
            segments.append(current)
            current = ""
        else:
            current += character
    return [*segments, current] if current else segments
