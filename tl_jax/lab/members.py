"""One of the heads that are trained together: its job, how far it has come, and the folder that it leaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tl_jax import runs
from tl_jax.backbones.anatomy import Leaves
from tl_jax.job import Job, check_warmups
from tl_jax.journal import Journal
from tl_jax.lab.alike import Candidate
from tl_jax.lab.grid import Run
from tl_jax.prefix import Cut
from tl_jax.pretrained import redrawn
from tl_jax.snapshot import Best, Progress
from tl_jax.workdir import Workdir


@dataclass(eq=False)
class Member:
    """A run of a group. ``told`` is what its journal will be told, in order; ``failure`` why it has ended
    before its time; ``end`` the step at which the stage in progress ends."""

    run: Run
    job: Job
    progress: Progress = field(default_factory=Progress)
    told: list[Callable[[Journal], None]] = field(default_factory=list)
    failure: Exception | None = None
    end: int = 0

    def say(self, text: str) -> None:
        self.told.append(lambda journal: journal.say(text))

    def measured(self, values: dict[str, float | None], *, stage: str, better: bool, seconds: float) -> None:
        """``seconds``: this member's share of the training so far."""
        at, facts = self.progress.step, dict[str, Any](stage=stage, better=better, seconds=seconds)
        self.told.append(lambda journal: journal.measured(at, values, **facts))

    def stepped(self, metrics: dict[str, Any], *, stage: str, rate: float, left: float) -> None:
        """``rate`` in images a second, ``left`` in seconds."""
        at, total, loss = self.progress.step, self.total, float(metrics["loss"])
        epoch = at * self.job.config.batch_size / len(self.job.data.train)

        def tell(journal: Journal) -> None:
            journal.stepped(at, metrics, stage=stage, epoch=epoch, rate=rate)
            journal.pace(at, total=total, stage=stage, loss=loss, rate=rate, left=left)

        self.told.append(tell)

    def compiled(self, stage: str, each: float, seconds: float) -> None:
        self.told.append(lambda journal: journal.compiled(stage, each, seconds))

    def stopped_early(self, stage: str) -> None:
        metric, at, failed = self.job.config.select.metric, self.progress.step, self.progress.failed
        self.told.append(lambda journal: journal.stopped_early(at, stage, metric, failed))

    @property
    def rests(self) -> bool:
        """Whether it takes no further step in this stage."""
        return self.failure is not None or self.progress.step >= self.end

    @property
    def total(self) -> int:
        """Steps of the whole run, as far as is known now."""
        return self.progress.stage_start + sum(self.job.durations[self.progress.stage :])

    def leave(
        self,
        root: Path,
        cuts: Sequence[Cut],
        notes: Sequence[str],
        best: Best,
        test: np.ndarray,
        began: float,
    ) -> dict[str, Any]:
        """Writes the run's folder below ``root`` as `tl_jax.runs.run` would have left it, but without
        checkpoints; the result. ``notes`` were said before there was a plan; the rest is as in
        `runs.conclude`. Raises what made the run fail; the folder tells then how far it came."""
        with ExitStack() as opened:
            folder = Workdir(root / self.run.name)
            finished = runs.claim(folder, self.job.config, opened)
            assert finished is None, "a finished run is in no group"
            journal = opened.enter_context(closing(Journal(folder, quiet=True)))
            for note in notes:
                journal.say(note)
            runs.describe(self.job, cuts, folder, journal)
            journal.open(0, 0)
            for tell in self.told:
                tell(journal)
            if self.failure is not None:
                raise self.failure
            return runs.conclude(self.job, folder, journal, self.progress, best, test, began)


def members(group: Sequence[Candidate], job: Job) -> list[Member]:
    """The members of a group, of which ``job`` is the first one's: the same pictures and weights, and what
    was initialised anew as their own seeds draw it.

    Raises ValueError as `tl_jax.job.prepare` would for one of them.
    """
    anew = [entry.path for entry in job.load_report.initialised]
    seeds = sorted({one.run.seed for one in group} - {job.config.seed})
    drawn: dict[int, Leaves] = dict(zip(seeds, redrawn(job.model, anew, seeds), strict=True)) if anew else {}
    found = []
    for one in group:
        config = one.run.config
        check_warmups(config, job.durations, n=len(job.data.train))
        own = {path: np.asarray(leaf) for path, leaf in drawn.get(config.seed, {}).items()}
        params = {path: own.get(path, leaf) for path, leaf in job.base_params.items()}
        found.append(Member(one.run, replace(job, config=config, plans=one.plans, base_params=params)))
    return found
