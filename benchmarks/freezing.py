"""What does freezing save? One training step with less and less of a ViT-Tiny trained.

    python -m benchmarks.freezing

The step is the one that a run takes (augmentation, forward, backward, update), on random pictures of 224
pixels. Steps with different parts frozen take turns; the ratio is to training everything.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from benchmarks import models, noise, pairs
from tl_jax import config as configs
from tl_jax import job, memory, optim, step
from tl_jax.stepper import Stepper

PARTS = ("all", "last 6", "last 2", "head")
ROUNDS = 5


def prepared(batch_size: int) -> job.Job:
    """A job with one stage for each of `PARTS`."""
    config = configs.complete(
        dict(
            batch_size=batch_size,
            data=dict(source=noise.source(32, 50, 2, models.SIZE), image_size=models.SIZE, cache=""),
            model=dict(pretrained="", arch=dict(models.MODELS["vit-tiny"].arch)),
            stages=[dict(name=part, train=part, duration="10 steps", lr=1e-4) for part in PARTS],
        )
    )
    return job.prepare(config, say=lambda line: None)


class Step:
    """The compiled step of one stage; a call takes it and waits."""

    def __init__(self, work: job.Job, number: int) -> None:
        plan, stage = work.plans[number], work.config.stages[number]
        trained, frozen = plan.partition(work.base_params)
        moving, still = plan.partition_statistics(work.base_stats)
        self.state = jax.tree.map(
            jnp.array, step.State(trained, moving, optim.build(stage, plan).init(trained), {})
        )
        self.fixed = step.Fixed(frozen, still, {}, jnp.ones(work.recipe.classes))
        rows = work.config.batch_size
        images, labels = work.data.train.images[:rows], work.data.train.labels[:rows]
        self.batch = {"image": jnp.asarray(images), "label": jnp.asarray(labels, jnp.int32)}, None
        self.step = Stepper(work, number, start=0, key=jax.random.key(0))
        self.step.compile(self.state, self.fixed, self.batch, 0)

    def __call__(self) -> None:
        self.state, metrics = self.step(self.state, self.fixed, self.batch, 0)
        jax.block_until_ready((self.state, metrics))


def main(argv: list[str]) -> int:
    batch_size = int(argv[0]) if argv else 32
    work = prepared(batch_size)
    found = pairs.seconds({part: Step(work, i) for i, part in enumerate(PARTS)}, rounds=ROUNDS)
    print(f"ViT-Tiny, 224 px, batch of {batch_size}, {jax.default_backend()}, median of {ROUNDS} steps")
    print("  trained   seconds a step   images/s   faster than all")
    for part, taken in found.items():
        print(f"  {part:<8} {taken:>15.3f} {batch_size / taken:>10.0f} {found['all'] / taken:>14.2f} ×")
    return 0


if __name__ == "__main__":
    memory.tune()  # as a command of tl_jax does
    pairs.run(main)
