"""What the input pipeline costs: steps with it and without, of a ViT-Ti/16.

    python -m benchmarks.input

With it: batches are taken from the data set, augmented and normalised as in a run; once with all pictures on
the device, once streamed from the host. Without it: the same step on one batch that never changes and is not
augmented.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import models, noise, pairs, record
from tl_jax import config as configs
from tl_jax import job, memory, optim, sharding, step
from tl_jax.data.feed import Feed
from tl_jax.stepper import Batch, Stepper

DESCRIPTION = "A step with the whole input pipeline against the same on one constant batch."
PICTURES = 512
STEPS = 2
"""Steps in a sample."""
AUGMENT = dict(scale=(0.8, 1.0), rotate=5.0, shift=0.03, brightness=0.1, contrast=0.2)
"""That of configs/xray.py."""


class Steps:
    """Steps of a run that trains all of a ViT-Ti/16.

    ``device_budget``: see `data.device_budget`; None for one constant batch, not augmented.
    """

    def __init__(self, batch: int, device_budget: int | None) -> None:
        constant, pictures = device_budget is None, noise.source(PICTURES, 4, 4, 256)
        config = configs.complete(
            dict(
                batch_size=batch,
                precision="float32" if jax.default_backend() == "cpu" else "bfloat16",
                data=dict(source=pictures, image_size=models.SIZE, cache="", min_val=2),
                model=dict(arch=dict(models.MODELS["vit-tiny"].arch)),
                augment={} if constant else AUGMENT,
                stages=[dict(train="all", duration="1000 steps", lr=models.LR)],
            )
        )
        work = job.prepare(config, say=lambda line: None)
        plan, mesh = work.plans[0], work.mesh
        key = jax.device_put(jax.random.key(0), sharding.replicated(mesh))
        self.stepper, self.at = Stepper(work, 0, start=0, key=key), 0
        params, stats = sharding.replicate((work.base_params, work.base_stats), mesh)
        trained, frozen = plan.partition(params)
        moving, still = plan.partition_statistics(stats)
        opt = optim.build(work.config.stages[0], plan).init(trained)
        state = step.State(trained, moving, opt, {})
        # A step overwrites its state in place: nothing else may hold the same memory.
        self.state = jax.tree.map(jnp.copy, state)
        self.fixed = step.Fixed(frozen, still, {}, sharding.replicate(work.class_weights, mesh))
        self.feed = Feed(
            work.data.train,
            batch_size=batch,
            seed=0,
            device_budget=device_budget or 0,
            sharding=sharding.batched(mesh),
        )
        self.constant: Batch | None = self.feed.batch(0) if constant else None
        if constant:
            self.feed.close()
        self.stepper.compile(self.state, self.fixed, self._batch(), 0)

    def _batch(self) -> Batch:
        return self.constant or self.feed.batch(self.at)

    def __call__(self) -> None:
        metrics: Any = None
        for _ in range(STEPS):
            self.state, metrics = self.stepper(self.state, self.fixed, self._batch(), self.at)
            self.at += 1
        jax.block_until_ready((self.state, metrics))


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.input", description=DESCRIPTION)
    parser.add_argument("--batch", type=int, default=models.MODELS["vit-tiny"].batch)
    parser.add_argument("--rounds", type=int, default=7, help="clean samples of each (%(default)s)")
    record.add_flag(parser)
    flags = parser.parse_args(argv)
    print(f"{record.describe()}; median of {flags.rounds} samples of {STEPS} steps", flush=True)
    ways = {
        "constant": Steps(flags.batch, None),
        "resident": Steps(flags.batch, 10**10),
        "streamed": Steps(flags.batch, 0),
    }
    found = pairs.turns(ways, rounds=flags.rounds)
    ratios = {name: samples.median / found["constant"].median for name, samples in found.items()}
    print("pictures   seconds a step   ÷ constant")
    for name, samples in found.items():
        print(f"{name:<10} {samples.median / STEPS:>14.3f} {ratios[name]:>12.3f}")
    record.write(flags.json, "input", dict(batch=flags.batch, steps=STEPS, ratios=ratios), found)
    ways["streamed"].feed.close()
    return 0


if __name__ == "__main__":
    memory.tune()  # as a command of tl_jax does
    pairs.run(main)
