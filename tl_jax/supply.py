"""What the steps and measurements of each stage read: pictures, or what its frozen prefix makes of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import jax
import numpy as np

from tl_jax import sharding
from tl_jax.backbones.anatomy import Leaves
from tl_jax.data.feed import Feed, Store
from tl_jax.job import Job
from tl_jax.kept import Kept
from tl_jax.predictor import Predictor
from tl_jax.prefix import Cut
from tl_jax.snapshot import Best


class Supply:
    """Of one run. ``cuts`` says for each stage where its prefix is cut; ``say`` gets a line about each pass.

    `begin` comes before the batches and measurements of a stage, `close` at the end. ``behind`` is how many
    blocks batches have behind them, None where they are pictures.
    """

    def __init__(self, job: Job, cuts: Sequence[Cut], say: Callable[[str], None]) -> None:
        self.job, self.cuts = job, cuts
        self.kept = Kept(job, say)
        self.behind: int | None = None
        self.val = job.data.val
        self._feed: Feed | None = None
        self._predictors: dict[int | None, Predictor] = {}

    def begin(self, number: int, params: Leaves, stats: Leaves) -> float:
        """Makes ready what stage ``number`` reads, with the weights that it begins with. The seconds that its
        frozen prefix took."""
        job, cut, train = self.job, self.cuts[number], self.job.data.train
        self.val, self.behind, views = job.data.val, None, 1
        began = time.monotonic()
        if cut.start is not None:
            served = self.kept.serve(number, cut, params, stats)
            if served is not None:
                (train, self.val), self.behind, views = served, cut.start, max(cut.views, 1)
        seconds = time.monotonic() - began
        if self._feed is not None and self._feed.split is train:
            return seconds
        self.close()
        self._feed = Feed(
            train,
            batch_size=job.config.batch_size,
            seed=job.config.seed,
            device_budget=job.config.data.device_budget,
            sharding=sharding.batched(job.mesh),
            views=views,
        )
        return seconds

    def batch(self, step: int) -> tuple[Store, jax.Array | None]:
        """As `Feed.batch`."""
        assert self._feed is not None, "begin comes first"
        return self._feed.batch(step)

    def val_logits(self, params: Leaves, stats: Leaves, check: Callable[[], None]) -> np.ndarray:
        """Logits (n, K) float32 of the validation split. ``check`` is as in `Predictor.logits`."""
        rows = self.job.config.evaluation.batch_size
        return self._predictor(self.behind).logits(params, stats, self.val, rows, check=check)

    def test_logits(self, best: Best, number: int) -> np.ndarray:
        """Logits (n, K) float32 of the test split by the chosen weights, which stage ``number`` has come to,
        computed as validation was in that stage: where its frozen prefix is kept, this one is kept too, for
        other runs."""
        pictures, cut, behind = self.job.data.test, self.cuts[number], None
        if cut.start is not None and len(pictures):
            served = self.kept.test(number, cut, best.params, best.stats)
            if served is not None:
                pictures, behind = served, cut.start
        rows = self.job.config.evaluation.batch_size
        return self._predictor(behind).logits(best.params, best.stats, pictures, rows)

    def close(self) -> None:
        if self._feed is not None:
            self._feed.close()

    def _predictor(self, behind: int | None) -> Predictor:
        """Of pictures, or of what the first ``behind`` blocks make of them; the same one every time."""
        if behind not in self._predictors:
            recipe = replace(self.job.recipe, start=behind)
            self._predictors[behind] = Predictor(self.job.model, recipe, self.job.mesh)
        return self._predictors[behind]
