"""Heads of a grid trained together: which of the runs that `tl_jax.lab.alike` finds do share what it takes,
and the folders that they leave.

Nothing is written before all are trained, so that an interrupted group leaves nothing and is started again.
"""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tl_jax import compilation, prefix
from tl_jax.data.sources.errors import counted
from tl_jax.job import Job, prepare
from tl_jax.lab.alike import Candidate
from tl_jax.lab.grid import Run
from tl_jax.lab.group import Group, NotTogetherError, head_of
from tl_jax.lab.ledger import Ended
from tl_jax.lab.members import Member, members
from tl_jax.prefix import Cut

STATES = 6
"""A head takes so many times its size: weights, gradients, update, two moments, the best so far."""


def train(
    group: Sequence[Candidate], root: Path, say: Callable[[str], None], peak: Callable[[], int | None]
) -> Iterator[tuple[Run, Ended]]:
    """Trains the runs of a group, and writes their folders below ``root``, one after the other. ``peak``
    gives the bytes of memory that it has taken.

    Those are trained at once whose states fit ``data.device_budget``. Raises `NotTogetherError`, before
    anything is written, where they do not share what their configs let expect; and what `tl_jax.job.prepare`
    raises.
    """
    began, notes, first = time.monotonic(), list[str](), group[0].run.config
    compilation.use_cache(first.compilation_cache)
    job = prepare(first, notes.append)
    cuts = prefix.cuts(job)
    _refuse(group, job, cuts)
    every = members(group, job)
    budget, size = first.data.device_budget, sum(leaf.nbytes for leaf in head_of(job.base_params).values())
    parts = math.ceil(len(every) / max(1, budget // (STATES * size)))
    each = math.ceil(len(every) / parts)
    for start in range(0, len(every), each):
        yield from _train(every[start : start + each], cuts, notes, root, say, peak, began)
        began = time.monotonic()


def _train(
    every: Sequence[Member],
    cuts: Sequence[Cut],
    notes: Sequence[str],
    root: Path,
    say: Callable[[str], None],
    peak: Callable[[], int | None],
    began: float,
) -> Iterator[tuple[Run, Ended]]:
    n = len(every)
    trained = Group(every, cuts, say)
    trained.run()
    test = trained.test_logits()
    share = (time.monotonic() - began) / n
    say(f"{counted(n, 'head')} trained in {share * n:.1f} s; their folders are written")
    for i, member in enumerate(every):
        own = time.monotonic() - share
        result, failure, trace = None, None, ""
        try:
            result = member.leave(root, cuts, notes, trained.best(i), test[:, i], own)
        except Exception as error:
            failure, trace = error, traceback.format_exc()
        yield member.run, Ended(time.monotonic() - own, result, peak(), failure, trace, n)


def _refuse(group: Sequence[Candidate], job: Job, cuts: Sequence[Cut]) -> None:
    for stage, cut in zip(job.config.stages, cuts, strict=True):
        if cut.start is None:
            raise NotTogetherError(f"stage {stage.name!r}, the frozen prefix: {cut.why}")
    drawn = [entry.path for entry in job.load_report.initialised if not entry.path.startswith("head/")]
    if drawn and len({one.run.seed for one in group}) > 1:
        raise NotTogetherError(f"each seed draws weights below the head: {', '.join(drawn)}")
