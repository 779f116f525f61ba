"""What a driver says of a connection is shown without what the connection holds in secret."""

import pytest

from fleetscore.sources.databases import Connection


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("postgresql://fleet:geheim@host/db", 'invalid password "geheim"'),
        ("postgresql://fleet:ab@geheim@host/db", 'could not translate host name "geheim@host" to address'),
        (
            "postgresql://fleet:geheim/rest@host/db",
            'invalid integer value "geheim" for connection option "port"',
        ),
        ("postgresql://fleet:x?geheim@host/db", 'invalid URI query parameter: "geheim@host/db"'),
        ("postgresql://fleet:ge%68eim@host/db", "geheim and ge%68eim"),
        ("postgresql://fleet@host/db?password=geheim&x=1", "geheim"),
        ("Server=host;UID=sa;PWD={ab}}cd;geheim};Database=x", "PWD is ab}}cd;geheim"),
        ("Server=host;Database=x;Password=geheim", "login with geheim failed"),
    ],
)
def test_no_piece_of_a_password_is_shown(text: str, said: str) -> None:
    """A password that is not escaped is taken apart by drivers: none of its pieces is in the message."""
    shown = Connection("FLEETSCORE_DATABASE_FLEET", text).hidden(f"libpq: {said}; {text}")
    assert "geheim" not in shown
    assert "***" in shown
    assert shown.startswith("libpq: ")
