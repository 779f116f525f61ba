"""A real issuer of tokens on this machine: its openid-configuration and public keys over HTTP, and tokens that it signs."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

AUDIENCE = "11111111-2222-3333-4444-555555555555"


class Issuer:
    """The issuer at `url`; `asked` counts the requests for its keys, and while `down` it answers 503."""

    def __init__(self) -> None:
        self.url = ""
        self.asked = 0
        self.down = False
        self.keys = {"first": rsa.generate_private_key(65537, 2048)}

    def token(self, *, key: Any = None, alg: str = "RS256", kid: str = "first", **claims: Any) -> str:
        """A token, by default valid for ten minutes, of anna@contoso.com in the role operator; None leaves a claim out."""
        now = int(time.time())
        usual = {
            "iss": self.url, "aud": AUDIENCE, "exp": now + 600, "nbf": now - 5, "preferred_username": "anna@contoso.com",
            "roles": ["operator"],
        }  # fmt: skip
        given = {name: value for name, value in (usual | claims).items() if value is not None}
        return jwt.encode(given, key or self.keys["first"], algorithm=alg, headers={"kid": kid})

    def jwks(self) -> dict[str, Any]:
        """The public keys."""
        return {
            "keys": [
                json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())) | {"kid": kid, "use": "sig"}
                for kid, key in self.keys.items()
            ]
        }


@contextmanager
def issuing() -> Iterator[Issuer]:
    """An issuer that listens on a free port."""
    issuer = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.asked += self.path == "/keys"
            about = {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys"}
            self.send_response(503 if issuer.down else 200)
            self.end_headers()
            self.wfile.write(json.dumps(issuer.jwks() if self.path == "/keys" else about).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()


def principal(name: str = "anna@contoso.com", *roles: str, provider: str = "aad") -> str:
    """The header that App Service authentication sends for a signed-in person."""
    claims = [{"typ": "preferred_username", "val": name}, *({"typ": "roles", "val": role} for role in roles)]
    body = {"auth_typ": provider, "name_typ": "name", "role_typ": "roles", "claims": claims}
    return base64.b64encode(json.dumps(body).encode()).decode()
