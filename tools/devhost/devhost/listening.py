"""Binding the address that the host will listen on, before anything slow begins."""

import socket

from devhost.errors import SettingsError


def bind(address: str, port: int) -> socket.socket:
    """Bind an address (port 0: a free one) without listening yet; raises SettingsError if it is not free."""
    taken = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((address, port))
    except (OSError, OverflowError) as error:
        taken.close()
        raise SettingsError(
            f"cannot listen on {address}:{port}: {error}; give another port with --port"
        ) from error
    return taken
