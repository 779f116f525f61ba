"""What NumPy's reader of npz archives raises where one is damaged: readers of models give these a name and
a cure.
"""

from __future__ import annotations

import zipfile
import zlib

ARCHIVE_ERRORS = (
    ValueError,  # a header or shape that cannot be
    KeyError,  # an array that is not there
    OSError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,  # damaged compressed bytes
    NotImplementedError,  # a way of compressing that zipfile does not know
    RuntimeError,  # a flag of encryption
    AttributeError,  # a bare array in place of an archive
)
