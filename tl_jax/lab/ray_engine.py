"""Executes the runs of a grid on the machines of a Ray cluster, where one machine is too slow.

The process of the command is the driver. It hires workers (`ray_worker.Worker`, actors of Ray), each of which
has the processors, GPUs and memory of one run for as long as it lives, and gives each the next run when it is
done with one. So a worker's runs share an interpreter and compiled programs, and its threads and GPUs stay
its own, which Ray's tasks would not promise. More workers are asked for while runs wait, so that machines
may come later. Only the driver writes the records, and only a worker that holds the lock of a run's folder
writes there.

A worker that dies (its process, its machine) is replaced, and its run is started again, from its last
checkpoint, wherever there is room; `RETRIES` times, since a run may be what kills its workers. A machine that
is cut off is dead for Ray while its worker may live: whoever starts the run again waits for the lock of its
folder (`ray_worker.PATIENCE`). What a run raises is not tried again.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tl_jax import config as configs
from tl_jax.interrupt import Stop, listening
from tl_jax.lab import ray_cluster, ray_worker
from tl_jax.lab.grid import Run
from tl_jax.lab.ledger import Ended, Ledger, Outcome
from tl_jax.lab.records import FAILURE
from tl_jax.workdir import Workdir, write_text

RETRIES = 3
"""How often a run is started again whose worker died."""

GRACE = 120.0
"""Seconds that runs have to save and stop when the command is asked to."""

_QUIET = 30.0  # seconds without a busy worker after which that is told


def execute(
    grid: Sequence[Run],
    root: Path,
    *,
    address: str = "",
    resources: ray_cluster.Resources | None = None,
    say: Callable[[str], None] = print,
) -> Outcome:
    """As `runner.execute`, on the machines that ``address`` leads to (`ray_cluster.joined`); ``root`` is a
    folder that all of them share. ``resources``: of each run.

    Raises what that raises, and before anything is run ValueError: where a machine differs from this one in
    code or version of JAX or sees another ``root`` (with all that differs), where a config names a function
    that others cannot import, and where no machine has the resources. A machine that comes later is asked
    too; if it is unfit the grid ends, once the runs under way have saved.
    """
    root, functions = root.absolute(), ray_worker.functions(run.config for run in grid)
    with Workdir(root).locked():
        ledger = Ledger(grid, root, say)
        if ledger.todo:
            with ray_cluster.joined(address) as ray, listening() as stop, _token(root) as token:
                there = ray_worker.here(root, token, functions)
                try:
                    cluster = ray_cluster.Cluster(ray, resources or ray_cluster.Resources(), there)
                    say(cluster.describe())
                    _Crew(cluster, ledger, root, stop, say).work()
                except BaseException:
                    stop.check()  # what a signal raises inside Ray comes out as something else
                    raise
    return ledger.outcome()


@contextmanager
def _token(root: Path) -> Iterator[str]:
    """A text that only this folder holds, in `ray_worker.TOKEN`."""
    path, text = root / ray_worker.TOKEN, secrets.token_hex()
    write_text(path, text)
    try:
        yield text
    finally:
        path.unlink(missing_ok=True)


@dataclass
class _Member:
    """A worker, busy while it has a ``run``; before the first one it is about to begin."""

    worker: Any
    run: Run | None = None


class _Crew:
    """The workers, what each is at, and the runs that wait for one."""

    def __init__(
        self, cluster: ray_cluster.Cluster, ledger: Ledger, root: Path, stop: Stop, say: Callable[[str], None]
    ) -> None:
        self.cluster, self.ledger, self.root, self.stop, self.say = cluster, ledger, root, stop, say
        self.ray = cluster.ray
        self.waiting = deque(ledger.todo)
        self.members: dict[Any, _Member] = {}  # by Ray's reference to what each will answer
        self.deaths: Counter[str] = Counter()  # of workers, by their run
        self.stillborn = 0  # workers in a row that died before they had one

    @property
    def busy(self) -> list[_Member]:
        return [member for member in self.members.values() if member.run is not None]

    def work(self) -> None:
        """Until every run has ended. However this is left, no worker lives on."""
        self.stop.graceful, quiet_since, told = True, time.monotonic(), False
        try:
            while self.waiting or self.busy:
                self.stop.check()
                self.hire()
                self.listen(1.0)
                if self.busy:
                    quiet_since, told = time.monotonic(), False
                elif not told and time.monotonic() - quiet_since > _QUIET:
                    told = True
                    self.say("no machine has room for a run now: waiting for one")
        except BaseException:
            self.rest()
            raise
        finally:
            for member in self.members.values():
                self.ray.kill(member.worker)

    def hire(self) -> None:
        """Asks for as many workers as there is room for, and for one more that may find room later."""
        coming = len(self.members) - len(self.busy)
        room = max(1, self.cluster.room() - len(self.members) + coming)
        for _ in range(min(len(self.waiting), room) - coming):
            worker, answer = self.cluster.hire()
            self.members[answer] = _Member(worker)

    def listen(self, seconds: float) -> None:
        """Waits for the next answers of workers, and gives them something to do."""
        answers, _ = self.ray.wait(list(self.members), timeout=seconds)
        for answer in answers:
            member = self.members.pop(answer)
            try:
                goes_on = self.hear(member, answer)
            except BaseException:
                self.ray.kill(member.worker)
                raise
            if goes_on:
                self.give(member)

    def hear(self, member: _Member, answer: Any) -> bool:
        """Takes down what a worker says. Whether it can go on."""
        run = member.run
        try:
            found = self.ray.get(answer)
        except self.ray.exceptions.RayTaskError:
            raise  # a fault of the worker's own code: runs tell theirs
        except self.ray.exceptions.RayError as error:
            self.lose(member, error)
            return False
        if run is None:
            ray_cluster.refuse(found)
            self.stillborn = 0
        else:
            self.ledger.ended(run, found, at_once=len(self.busy) + 1)
        return True

    def give(self, member: _Member) -> None:
        """The next run, or leave."""
        if not self.waiting:
            self.ray.kill(member.worker)
            return
        member.run = run = self.waiting.popleft()
        answer = member.worker.run.remote(configs.to_json(run.config), str(self.root / run.name))
        self.members[answer] = member

    def lose(self, member: _Member, error: Exception) -> None:
        """A worker has died, or cannot be reached, and its run waits again. Raises RuntimeError where workers
        die before they begin, again and again."""
        self.ray.kill(member.worker)
        if member.run is None:
            self.stillborn += 1
            if self.stillborn > RETRIES:
                raise RuntimeError(
                    f"{self.stillborn} workers have died before they had a run:\n{error}"
                ) from error
            return
        run = member.run
        self.deaths[run.name] += 1
        died = self.deaths[run.name]
        if died > RETRIES:
            why = RuntimeError(f"its worker died {died} times; what Ray says is in {FAILURE}")
            self.ledger.ended(run, Ended(0.0, error=why, trace=f"{error}\n"))
            return
        self.waiting.appendleft(run)
        self.ledger.tell(run, f"its worker died; the run is started again ({died} of {RETRIES} times)")

    def rest(self) -> None:
        """Has the runs under way save and stop, within `GRACE` seconds, and ends those that have nothing to
        save. Who asks to stop a second time does not wait."""
        self.stop.graceful = False
        busy = {
            answer: (member.worker, member.run)
            for answer, member in self.members.items()
            if member.run is not None
        }
        if busy:
            self.say(f"runs that are asked to save and stop, within {GRACE:.0f} s: {len(busy)}")
        asked = {self.cluster.stop(worker): worker for worker, _ in busy.values()}
        until, left = time.monotonic() + GRACE, [*asked, *busy]
        while left and time.monotonic() < until:
            answers, left = self.ray.wait(left, timeout=1.0)
            for answer in answers:
                try:
                    found = self.ray.get(answer)
                except self.ray.exceptions.RayError:
                    found = None
                if answer in asked:
                    if not found:
                        self.ray.kill(asked[answer])
                elif found is not None and found.result is not None:
                    _, run = busy.pop(answer)
                    self.ledger.ended(run, found, at_once=len(busy) + 1)
        for _, run in busy.values():
            self.ledger.interrupted(run)
