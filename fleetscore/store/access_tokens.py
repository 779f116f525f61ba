"""Tokens of the app's identity for other services than storage, such as databases."""

from __future__ import annotations

from typing import Any

from fleetscore.errors import SourceError
from fleetscore.store.azure_access import process_identity


def access_token(scope: str) -> Any:
    """A token of this process's identity for `scope`, with its text in `.token`; SourceError `no_access`
    without one.
    """
    from azure.core.exceptions import ClientAuthenticationError

    try:
        return process_identity().get_token(scope)
    except ClientAuthenticationError as error:
        raise SourceError(
            "This process has no identity for a database.",
            fix="Sign in with `az login`, or set FLEETSCORE_IDENTITY_CLIENT_ID to the client id of this machine's "
            "managed identity.",
            code="no_access",
            retry=False,
        ) from error
