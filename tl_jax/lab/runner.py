"""Executes the runs of a grid one after the other, in one process.

What is done already is skipped, what was interrupted goes on, what fails is told at the end. The runs share
what they can: the interpreter and JAX, decoded pictures and what a frozen prefix makes of them (both kept in
cache folders), and compiled programs. Heads on the same features are trained together.
"""

from __future__ import annotations

import gc
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from tl_jax import compilation, memory, runs
from tl_jax.command import EXPECTED
from tl_jax.interrupt import Interrupted, Stop, listening
from tl_jax.lab import alike
from tl_jax.lab import together as heads
from tl_jax.lab.alike import Candidate
from tl_jax.lab.grid import Run
from tl_jax.lab.group import NotTogetherError
from tl_jax.lab.ledger import Ended, Ledger, Outcome
from tl_jax.workdir import Workdir


def execute(
    grid: Sequence[Run], root: Path, *, together: bool = True, say: Callable[[str], None] = print
) -> Outcome:
    """Runs what is not finished yet, each in its folder below ``root``. ``together``: heads that can be are
    trained by one program first (`tl_jax.lab.together`).

    Raises before anything is trained: `WorkdirError` where another process is at work in ``root``, or where
    a folder below holds a run of another config; and what keeps the first run from coming as far as a plan,
    since that (a wrong folder, weights that do not load) would keep all of them. Later on, what a run raises
    is a failure of that run alone, but for `KeyboardInterrupt` and `tl_jax.interrupt.Interrupted`.
    """
    with Workdir(root).locked(), compilation.shared():
        ledger = Ledger(grid, root, say)
        for group in alike.groups(ledger.todo, root) if together else ():
            _train_together(group, ledger)
        for run in ledger.todo:
            try:
                ended = start(run.config, root / run.name)
            except (KeyboardInterrupt, Interrupted):
                ledger.interrupted(run)
                raise
            ledger.ended(run, ended)
    return ledger.outcome()


def start(config: ConfigDict, folder: Path, *, stop: Stop | None = None) -> Ended:
    """Runs what ``config`` says in ``folder``, or goes on with it. Raises only what ends the process."""
    began, peak = time.monotonic(), _begin()
    try:
        result = runs.run(config, folder, stop=stop, quiet=True)
    except Exception as error:
        return Ended(time.monotonic() - began, error=error, trace=traceback.format_exc())
    return Ended(time.monotonic() - began, result, peak())


def _train_together(group: Sequence[Candidate], ledger: Ledger) -> None:
    """Trains a group with one program; where that cannot be, says why and leaves its runs to be run alone."""
    ledger.say(f"{len(group)} heads are trained together, on features that are kept once")
    peak = _begin()
    try:
        with listening():
            for run, ended in heads.train(group, ledger.root, ledger.say, peak):
                ledger.ended(run, ended)
    except (KeyboardInterrupt, Interrupted):
        left = {one.run.name for one in group} & {run.name for run in ledger.todo}
        ledger.say(
            f"interrupted: the same command starts {len(left)} of {len(group)} heads of this group again"
        )
        raise
    except (NotTogetherError, *EXPECTED) as error:
        ledger.say(f"they are trained one by one: {error}")


def _begin() -> Callable[[], int | None]:
    """Forgets what the run before has left in memory; the function gives the peak since, in bytes."""
    gc.collect()
    return memory.watch()
