"""tl_jax's side of `benchmarks.steps`: the step that a run takes, and its forward pass."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import models, noise
from tl_jax import config as configs
from tl_jax import job, optim, pretrained, sharding, step
from tl_jax.backbones.anatomy import inference_graph, merge
from tl_jax.forward import predict
from tl_jax.stepper import Stepper


class Steps:
    """A random network of ``arch``, and one batch of ``batch`` pictures of ``size`` pixels, or texts of
    ``tokens`` tokens.

    ``trained``: blocks that learn, by part. On an accelerator it computes in bfloat16.
    """

    def __init__(
        self, arch: Mapping[str, Any], trained: Mapping[str, int], batch: int, size: int, tokens: int = 0
    ) -> None:
        stages = [
            dict(
                name=part,
                train=train(blocks, arch),
                duration="1000 steps",
                schedule="constant",
                lr=models.LR,
                weight_decay=models.WEIGHT_DECAY,
                clip=0.0,
            )
            for part, blocks in trained.items()
        ]
        with tempfile.TemporaryDirectory() as folder:
            if tokens:
                noise.tokenizer(folder)
                data = dict(source=noise.text_source(4, 4, 4), tokenizer=folder)
            else:
                data = dict(source=noise.source(4, 4, 4, 8), image_size=size)
            config = configs.complete(
                dict(
                    batch_size=batch,
                    precision="float32" if jax.default_backend() == "cpu" else "bfloat16",
                    data=dict(data, cache="", min_val=2),
                    model=dict(arch=dict(arch)),
                    stages=stages or [dict(train="head")],
                )
            )
            self.work = job.prepare(config, say=lambda line: None)
        self.parts, self.tokens = list(trained), tokens
        if tokens:
            images, labels = models.texts(batch, tokens, arch["vocab_size"])
        else:
            images, labels = models.pictures(batch, size)
        self.batch = jax.device_put({"image": images, "label": labels}, sharding.batched(self.work.mesh))

    def export(self, folder: str) -> None:
        """Writes the network for the other side."""
        network = merge(inference_graph(self.work.model), *self._weights())
        pretrained.export(network, folder, classes=self.work.data.classes)

    def start(self, part: str) -> float:
        """Makes ready for `take`; the loss of the first step, or of a forward pass: of texts always, whose
        networks drop units at random."""
        params, stats = self._weights()
        loss = 0.0
        if part == "forward" or self.tokens:
            forward = jax.jit(partial(predict, inference_graph(self.work.model), self.work.recipe))
            logits = forward(params, stats, self.batch["image"])
            rows = jnp.arange(len(logits))
            self._once = lambda: forward(params, stats, self.batch["image"])
            loss = float(-jax.nn.log_softmax(logits)[rows, self.batch["label"]].mean())
            if part == "forward":
                return loss
        number = self.parts.index(part)
        plan, stage = self.work.plans[number], self.work.config.stages[number]
        trained, frozen = plan.partition(params)
        moving, still = plan.partition_statistics(stats)
        # A step overwrites its state in place: nothing else may hold the same memory.
        state = jax.tree.map(
            jnp.copy, step.State(trained, moving, optim.build(stage, plan).init(trained), {})
        )
        weights = sharding.replicate(self.work.class_weights, self.work.mesh)
        fixed = step.Fixed(frozen, still, {}, weights)
        key = sharding.replicate(jax.random.key_data(jax.random.key(0)), self.work.mesh)
        key = jax.random.wrap_key_data(key)
        take, batch = Stepper(self.work, number, start=0, key=key), (self.batch, None)
        take.compile(state, fixed, batch, 0)
        self._state = state

        def once() -> jax.Array:
            self._state, metrics = take(self._state, fixed, batch, 0)
            return metrics["loss"]

        self._once, first = once, float(once())
        return loss if self.tokens else first

    def take(self, count: int) -> float:
        """Takes ``count`` steps, and waits for the last: its loss, or the mean of its logits."""
        for _ in range(count - 1):
            self._once()
        return float(np.asarray(self._once()).mean())

    def _weights(self) -> tuple[Any, Any]:
        mesh = self.work.mesh
        return sharding.replicate(self.work.base_params, mesh), sharding.replicate(self.work.base_stats, mesh)


def train(blocks: int, arch: Mapping[str, Any]) -> str:
    """`stages[].train` for the last ``blocks`` blocks; with all of them the stem learns too."""
    depths: Sequence[int] = arch.get("depths", (3, 4, 6, 3))
    everything = arch["num_hidden_layers"] if "num_hidden_layers" in arch else sum(depths)
    return "all" if blocks == everything else f"last {blocks}"
