"""How much processor time other processes took, from Linux's own counters.

Everything that is busy and does not belong to the process under measurement counts: other users, the idle
side of a pair should it spin, and time that a hypervisor gave to other machines.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BUSY = (0, 1, 2, 5, 6, 7)
"""user, nice, system, irq, softirq and steal in a line of /proc/stat (proc_stat(5))."""
_PARENT, _TIMES = 1, slice(11, 15)
"""Of /proc/PID/stat behind the name: ppid; utime, stime and the same of children waited for."""


class Unsupported(Exception):
    """This system does not say what its processors do."""


@dataclass(frozen=True)
class Reading:
    """Seconds since some beginning: ``wall`` by the clock, ``busy`` of all processors, ``own`` of one
    process and all below it."""

    wall: float
    busy: float
    own: float

    def others_since(self, before: Reading) -> float:
        """Processors that were busy with something else, on average, since ``before``."""
        others = (self.busy - before.busy) - (self.own - before.own)
        return max(0.0, others) / max(self.wall - before.wall, 1e-9)


class Counters:
    """Reads ``proc``, the folder where Linux shows its processes."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self.proc = proc
        if not (proc / "stat").is_file():
            raise Unsupported(f"{proc}/stat is not there, so that nobody knows what else this machine does")
        self.tick = 1 / os.sysconf("SC_CLK_TCK")

    def read(self, pid: int) -> Reading:
        """Now, for process ``pid`` with its descendants."""
        line = (self.proc / "stat").read_text().splitlines()[0].split()[1:]
        busy = sum(int(line[column]) for column in _BUSY)
        times, children = {}, {}
        for number, fields in self._processes():
            times[number] = sum(map(int, fields[_TIMES]))
            children.setdefault(int(fields[_PARENT]), []).append(number)
        own, waiting = 0, [pid]
        while waiting:
            number = waiting.pop()
            own += times.get(number, 0)
            waiting += children.get(number, [])
        return Reading(time.perf_counter(), busy * self.tick, own * self.tick)

    def _processes(self) -> Iterator[tuple[int, list[str]]]:
        for folder in self.proc.iterdir():
            if folder.name.isdigit():
                try:
                    text = (folder / "stat").read_text()
                except OSError:  # it has just ended
                    continue
                yield int(folder.name), text.rpartition(")")[2].split()
