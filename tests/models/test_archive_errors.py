"""Archives of arrays: whatever bytes are damaged, reading ends in an error that readers of models expect."""

from __future__ import annotations

import io

import numpy as np
import pytest

from fleetscore.models.archive_errors import ARCHIVE_ERRORS


def an_archive() -> bytes:
    """Two small compressed arrays."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, a=np.arange(40.0), b=np.arange(7, dtype=np.uint16))
    return buffer.getvalue()


@pytest.mark.parametrize("value", [0x00, 0x01, 0x80, 0xFF])
def test_every_damaged_byte_is_read_or_refused_as_expected(value: int) -> None:
    """With any one byte set to another value, an archive gives its arrays or one of the listed errors."""
    whole = an_archive()
    refused = 0
    for place in range(len(whole)):
        try:
            with np.load(io.BytesIO(whole[:place] + bytes([value]) + whole[place + 1 :])) as archive:
                _ = [archive[name] for name in archive.files]
        except ARCHIVE_ERRORS:
            refused += 1
    assert refused > len(whole) // 10
