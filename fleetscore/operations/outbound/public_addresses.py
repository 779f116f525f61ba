"""Which addresses lie in public networks, and connections that go to such addresses only."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from fleetscore.errors import InputError

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_EMBEDDING = (_NAT64, ipaddress.IPv6Network("::/96"), ipaddress.IPv6Network("::ffff:0:0:0/96"))
"""Networks of IPv6 whose last 32 bits are an address of IPv4: translated by a NAT64, compatible,
translated.
"""

_CLOSED = tuple(
    ipaddress.ip_network(text)
    for text in (
        "168.63.129.16/32",  # Azure's own services on every virtual machine
        "192.0.0.0/24",
        "192.88.99.0/24",
        "64:ff9b:1::/48",
        "fec0::/10",
    )
)
"""What `ipaddress` takes for public, or did in some version of Python, and is not."""


def is_public(address: str) -> bool:
    """Whether an IP address lies in a public network, by the address of IPv4 within it where it holds one.

    >>> is_public("8.8.8.8"), is_public("64:ff9b::8.8.8.8"), is_public("64:ff9b::127.0.0.1")
    (True, True, False)
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = _embedded(found)
        if inner is not None:
            return is_public(str(inner))
    if any(found in network for network in _CLOSED if network.version == found.version):
        return False
    return found.is_global and not found.is_multicast


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if any(address in network for network in _EMBEDDING):
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.sixtofour


def private_host(host: str) -> InputError:
    """The error of a host with a private address."""
    return InputError(
        f"The host {host} has an address in a private network.",
        fix="Set FLEETSCORE_WEBHOOK_PRIVATE=1 where that is meant.",
    )


class PublicAdapter(HTTPAdapter):
    """Connections that end with InputError, before a byte is sent, where the other side is not public.

    What a name led to when it was checked says little about what it leads to now. Through a proxy of the
    environment the other side is the proxy, which is the operator's choice.
    """

    def init_poolmanager(self, *arguments: Any, **named: Any) -> None:
        """Make the pools of this adapter's connections."""
        super().init_poolmanager(*arguments, **named)
        self.poolmanager.pool_classes_by_scheme = {"http": _PublicPool, "https": _PublicTlsPool}


class _PublicConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _checked(super()._new_conn(), self.host)


class _PublicTlsConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _checked(super()._new_conn(), self.host)


class _PublicPool(HTTPConnectionPool):
    ConnectionCls = _PublicConnection


class _PublicTlsPool(HTTPSConnectionPool):
    ConnectionCls = _PublicTlsConnection


def _checked(connected: socket.socket, host: str) -> socket.socket:
    if not is_public(connected.getpeername()[0]):
        connected.close()
        raise private_host(host)
    return connected
