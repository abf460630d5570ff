"""How the process deals with memory that it has freed."""

from __future__ import annotations

import ctypes
import sys

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # glibc's numbers of the two settings
_LARGEST_BLOCK = 2**30  # bytes; larger blocks still come from the system and go back to it
_KEPT = 2**31 - 1  # bytes of free memory at the end of the heap that are not given back; the most that fits an int


def keep_freed_memory() -> bool:
    """Let the C library keep large freed blocks for the next batch, where it is glibc (Linux).

    Otherwise every batch's tensors are fetched anew, page by page, zeroed by the system: augmenting a batch on a CPU
    then takes twice as long.

    Returns:
        Whether it could be set.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST_BLOCK) and mallopt(_TRIM_THRESHOLD, _KEPT))
