"""The environment of processes that score: variables of the C library and the learning libraries that must
be set before they load.

A pass over columns takes and gives back tens of megabytes many times a second. By its defaults the C
library returns them to the kernel each time and takes them again page by page, which costs a quarter of the
processor time; so it keeps up to 256 MB for the next pass, and requests large pages. See
docs/decisions/0008-process-environment.md for the measurement.
"""

from __future__ import annotations

from collections.abc import Mapping

MEMORY_TUNABLES = ":".join(
    (
        "glibc.malloc.hugetlb=1",
        "glibc.malloc.mmap_threshold=33554432",
        "glibc.malloc.trim_threshold=268435456",
        "glibc.malloc.top_pad=67108864",
    )
)

SCORING_ENVIRONMENT: Mapping[str, str] = {
    "GLIBC_TUNABLES": MEMORY_TUNABLES,
    "OMP_NUM_THREADS": "1",  # processes share the cores: a thread per core in each would wait for the others most of the time
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # no thread outlives the fork of a worker; Arrow's import would start one
}
"""Defaults: a variable that is set already wins over them."""
