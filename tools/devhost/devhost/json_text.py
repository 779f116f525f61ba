"""JSON between the host, the app and its callers: always valid, always encodable, never too deep to read.

Python's reader and writer accept `NaN`, lone surrogates and any nesting; other programs do not. Azure's JSON
library writes numbers that are not finite as texts, replaces lone surrogates, and refuses deep documents.
"""

import json
import math
import re
from typing import Any

_LONE = re.compile("[\ud800-\udfff]")
_ESCAPES = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.DOTALL,
)
_DEPTH_LIMIT = 500  # well within Python's own limit, whatever the depth of the caller's stack
_SHALLOW = 20
_UNMARKED = bytes(set(range(256)) - set(b'"\\[]{}'))
_BRACKETS = re.compile(r'"(?:\\.|[^"\\])*"|[\[{]|[\]}]', re.DOTALL)


class JsonError(ValueError):
    """A text is not JSON, or nested too deeply."""


def parse_json(text: str | bytes) -> Any:
    """Return the value of JSON text; raises JsonError. `NaN` and infinite numbers become texts."""
    return _decode(text)[0]


def plain_json(text: str | bytes) -> str:
    """Return JSON text as it may be stored: changed only where numbers are not finite; raises JsonError."""
    value, is_finite = _decode(text)
    if not is_finite:
        return write_json(value)
    return (text.decode("utf-8-sig", errors="replace") if isinstance(text, bytes) else text).strip()


def write_json(value: Any) -> str:
    """Return a value as JSON text, in ASCII; numbers that are not finite become texts. Raises TypeError."""
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value))


def write_compact(value: Any) -> str:
    """Return a value that `parse_json` gave as JSON text without spaces, as Azure's library writes it."""
    return without_surrogates(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def encode_json(value: Any) -> bytes:
    """Return a value as JSON in UTF-8; numbers that are not finite become texts, lone surrogates U+FFFD."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=False)
    return without_surrogates(text).encode()


def as_json(text: str | None) -> Any:
    """Return the value of JSON text, or the text itself where it is not JSON or too deep."""
    if text is None:
        return None
    try:
        return parse_json(text)
    except JsonError:
        return text


def without_surrogates(text: str) -> str:
    """Return the text with U+FFFD for every lone surrogate, which UTF-8 cannot carry."""
    return _LONE.sub("\ufffd", text)


def without_lone_escapes(text: str) -> str:
    r"""Return JSON text with U+FFFD for every escape of a lone surrogate, as it arrives in Azure.

    >>> print(without_lone_escapes(r'["\ud800", "\ud83d\ude00", "\\ud800"]'))
    ["\ufffd", "\ud83d\ude00", "\\ud800"]
    """
    if "\\ud" not in text and "\\uD" not in text:
        return text
    return _ESCAPES.sub(lambda found: "\\ufffd" if found[1] else found[0], text)


def _decode(text: str | bytes) -> tuple[Any, bool]:
    """Return the value, and whether all its numbers are finite."""
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig", errors="replace")
    _check_depth(text)
    named: list[str] = []

    def name(constant: str) -> str:
        named.append(constant)
        return constant

    def number(digits: str) -> float | str:
        found = float(digits)
        return found if math.isfinite(found) else name(_name(found))

    try:
        return json.loads(text, parse_constant=name, parse_float=number), not named
    except ValueError as error:  # a number of more digits than Python reads included
        raise JsonError(str(error)) from error


def _check_depth(text: str) -> None:
    if text.count("[") + text.count("{") <= _DEPTH_LIMIT or _is_shallow(text):
        return
    depth = 0
    for match in _BRACKETS.finditer(text):
        if match[0] in "[{":
            depth += 1
            if depth > _DEPTH_LIMIT:
                raise JsonError(f"it is nested more than {_DEPTH_LIMIT} levels deep")
        elif match[0] in "]}":
            depth -= 1


def _is_shallow(text: str) -> bool:
    """Return, at little cost, whether a document is shallow: large ones usually are. False means unknown."""
    marks = text.encode(errors="replace").translate(None, _UNMARKED).replace(b'""', b"")
    for _ in range(_SHALLOW):
        marks = marks.replace(b"[]", b"").replace(b"{}", b"")
    return not marks


def _name(number: float) -> str:
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return _name(value)
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value
