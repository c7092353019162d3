"""How glibc gives memory to a process, which can only be said before it starts; and how much it has held.

A training step on a CPU writes gigabytes of intermediate values, and glibc by itself gives such pieces back
to the system at the end of each step: the next one begins with fresh pages, of 4 KB, which the system must
first find and clear. Pages of 2 MB, kept from step to step, save up to a third of a step.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

SWITCH = "TL_JAX_MALLOC"
"""Environment variable; "0" leaves the process as it was started."""

_KEPT = 4  # no more than a quarter of the machine's memory is kept while nobody uses it


def tune() -> None:
    """Starts the process anew with glibc told so, and comes back where it is or that is of no use. Call it
    before there is anything to lose."""
    variables = wanted()
    if variables:
        os.environ.update(variables)
        os.execv(sys.executable, sys.orig_argv)


def wanted() -> dict[str, str]:
    """Environment variables that a process of this system should be started with, and was not. Whatever the
    user has set of the kind stands."""
    present = os.environ.get("GLIBC_TUNABLES", "")
    if os.environ.get(SWITCH, "1") == "0" or "glibc.malloc" in present or _glibc() < (2, 35):
        return {}
    settings = {
        "hugetlb": 1,  # ask for pages of 2 MB
        "mmap_max": 0,  # large pieces come from the heap too, where they can stay
        "arena_max": 1,  # of which there is one, whatever the thread
        "trim_threshold": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // _KEPT,
    }
    ours = (f"glibc.malloc.{name}={value}" for name, value in settings.items())
    return {"GLIBC_TUNABLES": ":".join(filter(None, (present, *ours)))}


def _glibc() -> tuple[int, ...]:
    """Its version; empty on another system."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
        return tuple(int(part) for part in version.split(".")[:2]) if name == "glibc" else ()
    except (AttributeError, ValueError):
        return ()


def watch() -> Callable[[], int | None]:
    """Gives memory that nobody uses back to the system. The function that comes back tells the most that the
    process has held since, in bytes; None on systems that do not say."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
    except OSError:
        return lambda: None

    def peak() -> int | None:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        return int(found[1]) * 1024 if found else None

    return peak
