"""The persistent cache of compiled programs: a second start of the same job compiles none of them again."""

from __future__ import annotations

import logging
import os
import warnings

from tl_jax import cache_folder

log = logging.getLogger("tl_jax")


def use_cache(setting: str) -> None:
    """``"auto"``: below the user's cache folder; ``""``: none; else a folder.

    Compiled programs are executed when they are read back, so the folder must belong to its user
    alone; one that others may write to is not used, and a warning says so.
    """
    import jax

    folder = cache_folder.locate(setting, "programs")
    if folder is None:
        jax.config.update("jax_compilation_cache_dir", None)
        return
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        facts = folder.stat()
    except OSError as error:
        log.warning("no compilation cache: %s", error)
        return
    if facts.st_uid != os.getuid() or facts.st_mode & 0o022:
        log.warning("no compilation cache: %s can be written by others; chmod go-w it", folder)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # XLA cannot write down a program that calls oneDNN (`backbones.onednn`): it is compiled at each start.
    warnings.filterwarnings("ignore", "Error writing persistent compilation cache entry.*bad_alloc")
    # Small programs too: there are dozens before the first step, and together they take seconds.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def threads() -> int | None:
    """Processors that this process may use. XLA:CPU takes a thread for each, and results depend on their
    number in the last bits."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
