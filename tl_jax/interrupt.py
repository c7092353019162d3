"""SIGTERM and Ctrl-C: while training, a request to save and leave; otherwise, leave at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 75}
"""Exit codes of an interrupted run. 75 is EX_TEMPFAIL of sysexits.h: run the same command again."""


class Interrupted(SystemExit):
    """Raised where a run was asked to stop; its ``code`` is the process's exit code."""


class Stop:
    """The request. ``graceful`` is true while somebody polls `check`. ``agree`` makes one number of those
    that several processes have (the signal's, or 0), so that all leave at the same call of `check`."""

    def __init__(self, agree: Callable[[int], int] = int) -> None:
        self.graceful = False
        self.signal = 0
        self.agree = agree

    def check(self) -> None:
        """Raises `Interrupted` if a signal has come."""
        _leave(self.agree(self.signal))

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again, self.signal = self.signal != 0, number
        if again or not self.graceful:
            _leave(number)


def _leave(number: int) -> None:
    if number:
        raise Interrupted(EXIT_CODES[signal.Signals(number)])


@contextmanager
def listening(agree: Callable[[int], int] = int) -> Iterator[Stop]:
    """Listens for SIGTERM and SIGINT in the main thread; a second signal does not wait."""
    stop = Stop(agree)
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    old = {number: signal.signal(number, stop._handle) for number in EXIT_CODES}
    try:
        yield stop
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
