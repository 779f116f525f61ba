"""Addresses of servers: one canonical text for each, in whatever spelling a log or a person has it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address

import numpy as np
import numpy.typing as npt

_OCTET = r"(?:0|[1-9][0-9]{0,2})"
_USUAL = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")
_IPV4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
_TAIL = re.compile(r"(?<=:)[0-9]{1,3}(?:\.[0-9]{1,3}){3}\Z")
_SHOWN = 5


@lru_cache(maxsize=1 << 16)
def canonical_server(text: str) -> str:
    """The canonical spelling of an IP address; "" where the text is none.

    Padded octets are decimal; IPv6 is written as RFC 5952 says, and an IPv4 address mapped into IPv6 is
    that IPv4 address.

    >>> canonical_server("010.000.0.7"), canonical_server("2001:DB8:0:0::01"), canonical_server("::ffff:10.0.0.7")
    ('10.0.0.7', '2001:db8::1', '10.0.0.7')
    >>> canonical_server("10.0.0.256"), canonical_server("fe80::1%eth0"), canonical_server("IPs")
    ('', '', '')
    """
    if _USUAL.fullmatch(text) or _IPV4.fullmatch(text):
        return _decimal(text)
    tail = _TAIL.search(text)
    if tail:
        octets = _decimal(tail[0])
        text = text[: tail.start()] + octets if octets else ""
    if not text.isascii() or "%" in text:
        return ""
    try:
        address = IPv6Address(text)
    except AddressValueError:
        return ""
    return str(address.ipv4_mapped or address)


def _decimal(text: str) -> str:
    """Four decimal octets without padding; "" where one is above 255."""
    octets = [int(octet) for octet in text.split(".")]
    return ".".join(map(str, octets)) if max(octets) <= 255 else ""


def join_spellings(texts: Sequence[str]) -> tuple[list[str], npt.NDArray[np.int32], dict[str, str]]:
    """The distinct canonical servers of the texts, the place of each text among them, and what was
    respelled.

    The last maps spellings to canonical ones, of texts that differ from theirs; "" stays "".
    """
    places: dict[str, int] = {}
    respelled: dict[str, str] = {}
    numbers = np.empty(len(texts), np.int32)
    for number, text in enumerate(texts):
        server = text if _USUAL.fullmatch(text) else canonical_server(text)
        numbers[number] = places.setdefault(server, len(places))
        if server != text:
            respelled[text] = server
    return list(places), numbers, respelled


def describe_spellings(found: Iterable[tuple[str, str]], omitted: bool) -> str:
    """A sentence on spellings (each with the canonical one) that were read as one server; "" for none.

    `omitted` says that there are more than those found.

    >>> describe_spellings([("010.0.0.1", "10.0.0.1"), ("10.0.0.01", "10.0.0.1")], False)
    'Other spellings of addresses were read as one server each (1 servers): 010.0.0.1 and 10.0.0.01 as 10.0.0.1.'
    """
    servers: dict[str, list[str]] = {}
    for spelling, server in sorted(set(found)):
        servers.setdefault(server, []).append(spelling)
    if not servers:
        return ""
    shown = "; ".join(f"{_listed(servers[server])} as {server}" for server in sorted(servers)[:_SHOWN])
    more = f"; and {len(servers) - _SHOWN} more servers" if len(servers) > _SHOWN else ""
    count = f"{len(servers)} or more" if omitted else f"{len(servers)}"
    return f"Other spellings of addresses were read as one server each ({count} servers): {shown}{more}."


def _listed(spellings: Sequence[str]) -> str:
    shown = list(spellings[:_SHOWN])
    more = [f"{len(spellings) - _SHOWN} more"] if len(spellings) > _SHOWN else []
    return " and ".join(shown + more)
