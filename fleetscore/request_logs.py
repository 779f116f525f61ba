"""What the HTTP library logs of requests: never their paths, which may hold a secret."""

from __future__ import annotations

import logging


def hide_paths() -> None:
    """Leave out urllib3's DEBUG lines of this process: they are requests' paths."""
    logging.getLogger("urllib3.connectionpool").addFilter(_holds_no_path)


def _holds_no_path(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG
