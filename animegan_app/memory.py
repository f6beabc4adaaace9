"""Memory of a process that stays: free memory is at hand within a drawing, and goes back to the system every half minute.

TensorFlow's own allocator on a CPU is as fast, but never gives back what its largest drawing took. So the app has it use the
C library's, which is told not to return each large block at once: a drawing at 1024 pixels took half as long again to get
its pages anew. The price is a higher peak, 3 GB for 1.8 at 1536 pixels drawn at once, as long as `give_back` is not
called. A command that draws and ends does without.
"""

import contextlib
import ctypes
import os

SETTINGS = {"M_MMAP_MAX": (-4, 0), "M_TRIM_THRESHOLD": (-1, 2**31 - 1), "M_ARENA_MAX": (-8, 1)}
"""Of glibc's `mallopt`, by name: number and value. One heap, as memory is found again only in the one that it came from."""


def keep_at_hand() -> None:
    """Has free memory stay with this process until `give_back`; to be called before TensorFlow loads.

    Does nothing where glibc is not the C library.
    """
    os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")
    with contextlib.suppress(OSError, AttributeError):
        for number, value in SETTINGS.values():
            ctypes.CDLL("libc.so.6").mallopt(number, value)


def give_back() -> None:
    """Returns free memory to the system; takes a tenth of a second. Does nothing where glibc is not the C library."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
