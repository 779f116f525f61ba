"""Which callers the host trusts to be local programs, and the address that it gives them back.

A web page in a browser on this machine can send requests to the loopback address: directly (a cross-site
request), or under a name of its own that it lets point here (DNS rebinding). Both are refused while the host
listens on loopback.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_PORT_LIMIT = 65_535


@dataclass(frozen=True, slots=True)
class Callers:
    """Checks requests to a host that listens on `address` and is also known under `names`."""

    address: str
    names: frozenset[str] = frozenset()

    def refusal(self, headers: Mapping[str, str]) -> str:
        """Return why a request with these headers is refused; empty for one that is not. Pure."""
        if not is_loopback(self.address):
            return ""
        host = headers.get("Host")
        if host is not None and not self.knows(host):
            return (
                f"The host name {host[:100]!r} is not known here: a page may have let it point to this "
                "machine. Use 127.0.0.1 or localhost, or start the host with --host-name NAME."
            )
        if not _is_own(headers):
            return "The request comes from a page of another site, which may not call this host."
        return ""

    def knows(self, host: str) -> bool:
        """Return whether a Host header names this host: by loopback, its address or a name; any port."""
        found = _HOST.fullmatch(host)
        if found is None or int(found[2] or 0) > _PORT_LIMIT:
            return False
        name = found[1].strip("[]").lower().rstrip(".")
        return name == "localhost" or name == self.address or name in self.names or is_loopback(name)

    def authority(self, host: str | None, local: tuple[str, int]) -> str:
        """Return the `name:port` for addresses in answers: the Host header if it is known, else `local`."""
        return host if host is not None and self.knows(host) else f"{local[0]}:{local[1]}"


def is_loopback(name: str) -> bool:
    """Return whether a text is a loopback IP address."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_json(headers: Mapping[str, str], has_body: bool) -> bool:
    """Return whether a body may be taken for JSON: no content type is given, or one that says so."""
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return not has_body or not kind or kind == "application/json" or kind.endswith("+json")


def _is_own(headers: Mapping[str, str]) -> bool:
    """Return whether a request comes from no page, or from one of this host's own."""
    origin, site = headers.get("Origin"), headers.get("Sec-Fetch-Site", "")
    if origin == "null":  # also a page of this host that sends no referrer; the browser says so
        return site == "same-origin"
    if origin is not None:
        return origin.partition("://")[2].lower() == headers.get("Host", "").lower()
    return site != "cross-site" or headers.get("Sec-Fetch-Mode") == "navigate"  # a link may be followed
