"""What a network that was chosen writes for every example of a split: tokens, and then words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from tl_jax import generation, sharding
from tl_jax.backbones.anatomy import Backbone, inference_graph, merge, split
from tl_jax.backbones.text import PADDING
from tl_jax.data import Split
from tl_jax.data.pairs import REFERENCE, PairReader, prompt_lengths
from tl_jax.data.texts import widths_of
from tl_jax.predictor import each_shape, over, round_up
from tl_jax.tasks import Task

HYPOTHESIS = "hypothesis"
"""The column of a split that holds what was written."""


class Writer:
    """``model``: a language model with its weights; ``reader``: of its pairs; ``settings``:
    ``config.evaluation``, whose ``beams`` and ``length_penalty`` say how texts are searched for. Weights are
    float32, whatever the run's precision."""

    def __init__(self, model: Backbone, reader: PairReader, mesh: Mesh, settings: Any) -> None:
        self.reader, self.mesh, self.settings = reader, mesh, settings
        graph = inference_graph(model)
        _, params, stats = split(model)
        leaves = sharding.replicate({**params, **stats}, mesh)
        how: dict[str, Any] = dict(
            end=reader.end,
            new=reader.longest - reader.half,
            beams=settings.beams,
            penalty=float(settings.length_penalty),
        )

        def write(leaves: Any, prompts: jax.Array) -> jax.Array:
            return generation.generate(merge(graph, leaves), prompts, **how)

        self._write: Callable[[Any], Any] = each_shape(
            write, leaves, static=(generation.generate, graph, *how.items())
        )

    def __call__(self, examples: Split) -> list[str]:
        """A text an example, in their order."""
        if not len(examples):
            return []
        size = round_up(min(self.settings.batch_size, len(examples)), self.mesh.size)
        rows = over(self._write, prompts(examples, self.reader.half), size, self.mesh)
        tokens = [row[(row != PADDING) & (row != self.reader.end)].tolist() for row in rows]
        return self.reader.tokenizer.words(tokens)


def prompts(examples: Split, longest: int) -> Split:
    """The examples without their targets. ``longest``: tokens that a prompt may have."""
    assert examples.lengths is not None, "texts have lengths"
    lengths = prompt_lengths(examples.labels, examples.lengths).astype(np.int32)
    widths = widths_of(lengths, longest)
    tokens = examples.images[:][:, : widths[-1]]
    there = np.arange(tokens.shape[1])[None] < lengths[:, None]
    return replace(examples, images=np.where(there, tokens, PADDING), lengths=lengths, widths=widths)


def judged(
    task: Task, examples: Split, logits: np.ndarray, write: Callable[[Split], list[str]]
) -> tuple[Split, np.ndarray]:
    """The examples with what was written for each among their columns, and logits (n, K) that know of it."""
    texts = write(examples)
    columns = {**examples.columns, HYPOTHESIS: np.array(texts, dtype=str)}
    references = examples.columns[REFERENCE].tolist()
    return replace(examples, columns=columns), task.with_texts(logits, texts, references)
