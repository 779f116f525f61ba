"""Names on record for changes: those of signed-in callers, and those that were only claimed.

A signed-in name is stored with a prefix that no claimed name may have, so that files of earlier versions,
whose names were all claimed, say the truth.
"""

from __future__ import annotations

from fleetscore.errors import InputError

SIGNED_IN = "entra:"
"""What stored names of signed-in callers begin with."""

_NAME_LENGTH = 94  # with the prefix, what a stored name may have
_NO_NAME = ("", "http", "dashboard")  # what stands there where nobody gave a name


def signed_name(name: str) -> str:
    """The stored form of a signed-in caller's name, without what is not printable.

    >>> signed_name("anna@contoso.com")
    'entra:anna@contoso.com'
    """
    return SIGNED_IN + "".join(c for c in name if c.isprintable())[:_NAME_LENGTH]


def check_claimed(name: str) -> str:
    """The claimed name; InputError for one that looks like a signed-in one."""
    if name.casefold().startswith(SIGNED_IN):
        raise InputError(
            f"requested_by is {name[:100]!r}: names that begin with {SIGNED_IN} are given by signing in.",
            fix="Sign in, or give another name.",
            field="requested_by",
        )
    return name


def format_name(stored: str) -> str:
    """The name as people read it, with a mark where it was only claimed.

    >>> format_name("entra:anna@contoso.com"), format_name("anna"), format_name("http")
    ('anna@contoso.com', 'anna (claimed)', 'http')
    """
    if stored.startswith(SIGNED_IN):
        return stored.removeprefix(SIGNED_IN)
    return stored if stored in _NO_NAME else f"{stored} (claimed)"


def format_starter(stored: str) -> str:
    """Who or what started a run, as people read it; a run takes no claimed name.

    >>> format_starter("entra:anna@contoso.com"), format_starter("schedule")
    ('anna@contoso.com', 'schedule')
    """
    return stored.removeprefix(SIGNED_IN)
