"""Keeping GDAL's block cache within bounds: by default it takes a share of the machine's memory."""

import ctypes
import os
import resource
from contextlib import suppress
from pathlib import Path

_LEAST_BYTES = 16 * 2**20


def resident_bytes() -> int:
    """Give the memory this process holds now; its peak where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * resource.getpagesize()


def release_unused() -> None:
    """Give memory that was freed but kept for later back to the system, where the C library can."""
    with suppress(AttributeError):  # glibc only
        ctypes.CDLL(None).malloc_trim(0)


def bound_block_cache(wanted_bytes: int) -> None:
    """Ask GDAL for a block cache of this size, unless the user's environment asks for another.

    It has an effect only before GDAL caches its first block in this process.
    """
    os.environ.setdefault("GDAL_CACHEMAX", str(max(wanted_bytes, _LEAST_BYTES) // 2**20))
