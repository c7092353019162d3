"""The two sides of a comparison, each in a process of its own.

JAX and PyTorch keep threads that disturb each other within one process. Here each side has its own, works
when told to, and sleeps in a read from a pipe while the other one does.
"""

from __future__ import annotations

import multiprocessing
import os
import pkgutil
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from benchmarks.contention import Unsupported
from benchmarks.pairs import NoResult


class SideError(NoResult):
    """A side's process ended; it has said why on its own."""


def set_threads(number: int) -> int:
    """Gives processes that are started from now on ``number`` threads (0: one for each processor there is),
    that sleep while they wait. Returns the number.

    PyTorch's threads would otherwise spin, and lose most of their speed as soon as anything else runs. Raises
    `Unsupported` where the system cannot.
    """
    if not hasattr(os, "sched_getaffinity"):
        raise Unsupported("this system does not say which processors a process may use; Linux does")
    available = sorted(os.sched_getaffinity(0))
    number = min(number or len(available), len(available))
    os.sched_setaffinity(0, available[:number])  # what XLA counts
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(number)
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    return number


class Side:
    """An object that lives in a process of its own, where ``make(*arguments)`` builds it. ``make`` is
    "module:name", so that nobody else imports what only it needs; ``environment`` is added to the
    process's."""

    def __init__(
        self, name: str, make: str, *arguments: Any, environment: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.name = name
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(theirs, make, arguments), daemon=True)
        before = dict(os.environ)
        os.environ.update(environment)
        self._process.start()
        os.environ.clear()
        os.environ.update(before)
        theirs.close()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def call(self, method: str, *arguments: Any) -> Any:
        """What the object's method returns. Raises SideError where the process ended instead."""
        try:
            self._pipe.send((method, arguments))
            return self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join()
            message = f"the process of {self.name} ended with code {self._process.exitcode}; see above"
            raise SideError(message) from error

    def close(self) -> None:
        self._pipe.close()
        self._process.join()


def _serve(pipe: Any, make: str, arguments: tuple[Any, ...]) -> None:
    served = pkgutil.resolve_name(make)(*arguments)
    while True:
        try:
            method, given = pipe.recv()
        except EOFError:
            return
        pipe.send(getattr(served, method)(*given))
