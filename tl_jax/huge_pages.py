"""Memory in pages of 2 MB, which glibc asks Linux for only when it was told to as the process started.

A training step writes gigabytes of intermediate values to memory that is fresh each time. In pages of 4 KB
the faults, and the processor's look-ups of so many pages, take up to a third of a step on a CPU.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

TUNABLE = "glibc.malloc.hugetlb"
SWITCH = "TL_JAX_HUGE_PAGES"
"""Environment variable; "0" leaves the process as it was started."""

_LINUX = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def ask() -> None:
    """Starts the process anew with the tunable set (glibc 2.35 or newer) if that changes anything, and comes
    back otherwise. Call it before there is anything to lose."""
    variables = wanted()
    if variables:
        os.environ.update(variables)
        os.execv(sys.executable, sys.orig_argv)


def wanted() -> dict[str, str]:
    """Environment variables that a process of this system should be started with, and was not."""
    present = os.environ.get("GLIBC_TUNABLES", "")
    if os.environ.get(SWITCH, "1") == "0" or TUNABLE in present or not _helps():
        return {}
    return {"GLIBC_TUNABLES": ":".join(filter(None, (present, f"{TUNABLE}=1")))}


def _helps() -> bool:
    """Whether Linux gives huge pages to those who ask, and to nobody else, and glibc can ask."""
    try:
        return "[madvise]" in _LINUX.read_text() and _glibc() >= (2, 35)
    except (OSError, ValueError):
        return False


def _glibc() -> tuple[int, ...]:
    name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    return tuple(int(part) for part in version.split(".")[:2]) if name == "glibc" else ()
