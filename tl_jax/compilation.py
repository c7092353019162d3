"""Compiling, and the persistent cache of compiled programs, which a second start of the same job reads."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from tl_jax import cache_folder

if TYPE_CHECKING:
    import jax

log = logging.getLogger("tl_jax")

_LEAST = "jax_persistent_cache_min_compile_time_secs"
_one_at_a_time = threading.Lock()

_ALL, _READ = "/jax/core/compile/backend_compile_duration", "/jax/compilation_cache/cache_hits"
_happened: Counter[str] = Counter()

_kept: OrderedDict[bytes, jax.stages.Compiled] | None = None  # the one used last is at the end
_made: OrderedDict[Hashable, Any] | None = None  # the one made last is at the end
_MOST_KEPT, _MOST_MADE = 32, 128
T = TypeVar("T")


def use_cache(setting: str) -> None:
    """``"auto"``: below the user's cache folder; ``""``: none; else a folder.

    Compiled programs are executed when they are read back, so the folder must belong to its user
    alone; one that others may write to is not used, and a warning says so.
    """
    import jax

    if not _happened:
        _happened.update({_ALL: 0, _READ: 0})
        jax.monitoring.register_event_duration_secs_listener(_note)
        jax.monitoring.register_event_listener(_note)
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
    # Small programs too: there are dozens before the first step, and together they take seconds.
    jax.config.update(_LEAST, 0.0)


def compiled(lowered: jax.stages.Lowered) -> jax.stages.Compiled:
    """``lowered.compile()``, for every program that may run a network; from any thread.

    XLA cannot write down a program that calls oneDNN (`backbones.onednn`), nor does it notice: it would read
    memory that is not there. So such a program is never offered to the cache, and is compiled at each start.
    """
    from tl_jax.backbones import onednn

    text = lowered.as_text() if onednn.available() or _kept is not None else ""
    calls = "__onednn$" in text
    with _one_at_a_time:  # what the cache takes is a setting of the process, not of the program
        if _kept is None:
            return _compile(lowered, offer=not calls)
        # Arguments that are not looked at are not in the text, but the program is called with them.
        key = f"{text}\0{lowered.in_tree}\0{lowered.in_avals}\0{lowered.out_tree}"
        digest = hashlib.blake2b(key.encode(), digest_size=16).digest()
        if digest not in _kept:
            _kept[digest] = _compile(lowered, offer=not calls)
        _kept.move_to_end(digest)
        if len(_kept) > _MOST_KEPT:
            _kept.popitem(last=False)
        return _kept[digest]


def _compile(lowered: jax.stages.Lowered, *, offer: bool) -> jax.stages.Compiled:
    """``offer``: to the cache."""
    import jax

    if offer:
        return lowered.compile()
    least = getattr(jax.config, _LEAST)
    jax.config.update(_LEAST, math.inf)
    try:
        return lowered.compile()
    finally:
        jax.config.update(_LEAST, least)


@contextmanager
def shared() -> Iterator[None]:
    """While this lasts, `compiled` gives a program again that it has compiled before, also one that no cache
    on disk can take. For many runs in one process."""
    global _kept, _made
    _kept, _made = OrderedDict(), OrderedDict()
    try:
        yield
    finally:
        _kept = _made = None


def sharing() -> bool:
    """Whether `shared` lasts."""
    return _made is not None


def once(key: Hashable, make: Callable[[], T]) -> T:
    """What ``make`` gives; while `shared` lasts, what it has given for the same key before. So a program is
    not even traced again. ``key`` says everything that the program depends on."""
    if _made is None:
        return make()
    if key not in _made:
        made = make()  # other threads may make something else meanwhile
        with _one_at_a_time:
            _made[key] = made
            while len(_made) > _MOST_MADE:
                _made.popitem(last=False)
    return _made[key]


def program(function: Any, static: Hashable, *arguments: Any) -> jax.stages.Compiled:
    """`compiled` of a jitted function for such arguments; `once` for each ``static``, which says everything
    that the function depends on besides them."""
    return once((static, shapes(*arguments)), lambda: compiled(function.lower(*arguments)))


def shapes(*arguments: Any) -> Hashable:
    """Of arguments, what a program for them depends on."""
    import jax

    leaves, tree = jax.tree.flatten(arguments)
    each = [(leaf.shape, str(leaf.dtype), getattr(leaf, "sharding", None)) for leaf in leaves]
    return tree, tuple(each)


def counts() -> tuple[int, int]:
    """Programs that XLA compiled, and programs read from the cache instead, in this process since the first
    `use_cache`. A second number that grows from run to run, and not the first, is as it should be."""
    return _happened[_ALL] - _happened[_READ], _happened[_READ]


def _note(event: str, *_: float, **__: Any) -> None:
    if event in _happened:
        _happened[event] += 1


THREADS = "PJRT_NPROC"
"""Environment variable that XLA:CPU reads: its threads, where they are not to be all processors."""


def threads() -> int | None:
    """Threads of XLA:CPU: what `THREADS` says, else one for each processor that this process may use. Results
    depend on their number in the last bits."""
    if given := os.environ.get(THREADS):
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
