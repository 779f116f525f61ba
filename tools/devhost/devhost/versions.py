"""Which versions of orchestrations an app runs, by host.json's `defaultVersion` and strategies. Pure."""

import re

from devhost.settings import HostSettings

_NUMBERS = re.compile(r"\d{1,9}(\.\d{1,9}){1,3}")  # what .NET takes for a version


def version_refusal(version: str | None, settings: HostSettings) -> str:
    """Return why the app does not run an orchestration of that version; empty where it does."""
    own = settings.default_version
    if own is None or settings.version_match == "None":
        return ""
    order = compare_versions(version or "", own)
    if settings.version_match == "Strict" and order:
        return f"The orchestration version '{version or ''}' does not match the worker version '{own}'."
    if settings.version_match == "CurrentOrOlder" and order > 0:
        return f"The orchestration version '{version or ''}' is greater than the worker version '{own}'."
    return ""


def compare_versions(one: str, other: str) -> int:
    """Return -1, 0 or 1: by numbers where both are such as `1.2`, else as texts without case; empty comes
    first.
    """
    if not one.strip() or not other.strip():
        return bool(one.strip()) - bool(other.strip())
    if _NUMBERS.fullmatch(one) and _NUMBERS.fullmatch(other):
        return _order([int(each) for each in one.split(".")], [int(each) for each in other.split(".")])
    return _order(one.upper(), other.upper())


def _order(one: list[int] | str, other: list[int] | str) -> int:
    return (one > other) - (one < other)  # type: ignore[operator]  # both are of one type
