"""Filling a backbone from a checkpoint's arrays, and comparing what it computes with a reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from tl_jax import backbones
from tl_jax.backbones.anatomy import Backbone, Leaves, merge, run, set_mode, split
from tl_jax.pretrained.initial import keys
from tl_jax.pretrained.rules import to_ours

TOLERANCE = 1e-4
"""Largest difference allowed, as a share of the largest value of the reference."""

HEAD = dict.fromkeys(("head/linear/kernel", "head/linear/bias"), "the checkpoint has no classifier")


def filled(config: Mapping[str, Any], arrays: Mapping[str, np.ndarray], **overrides: Any) -> Backbone:
    """A backbone in inference mode; a head that the checkpoint lacks is zero."""
    outline = nnx.eval_shape(lambda: backbones.build(config, rngs=keys(0), **overrides))
    graph, params, stats = split(outline)
    leaves = {**params, **stats}
    read = to_ours(arrays, backbones.table(outline.spec.config), leaves, optional=HEAD)
    blank = {path: np.zeros(leaves[path].shape, leaves[path].dtype) for path in read.initialised}
    # A module writes its statistics in place where they are numpy arrays, so they must not be.
    model = merge(graph, {path: jnp.asarray(leaf) for path, leaf in {**read.leaves, **blank}.items()})
    set_mode(model, dropout=False, batch_statistics=False)
    return model


def computed(model: Backbone, images: np.ndarray) -> dict[str, np.ndarray]:
    """What the backbone makes of images: ``"stem"``, ``"blocks/i"`` and ``"logits"``."""
    graph, params, stats = split(model)

    def parts(leaves: Leaves, images: jax.Array) -> dict[str, jax.Array]:
        model = merge(graph, leaves)
        stem = model.stem(images)
        carry, taps = run(model, stem, taps=range(len(model.blocks)))
        logits = model.answer(model.neck(carry))
        return {"stem": stem["x"], **{f"blocks/{i}": tap["x"] for i, tap in taps.items()}, "logits": logits}

    return {name: np.asarray(part) for name, part in jax.jit(parts)(params | stats, images).items()}


def assert_equal(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> None:
    """Every array of ``theirs`` agrees with ours to `TOLERANCE`; all that do not are listed."""
    wrong = []
    for name, wanted in theirs.items():
        assert ours[name].shape == wanted.shape, (name, ours[name].shape, wanted.shape)
        share = np.abs(ours[name] - wanted).max() / np.abs(wanted).max()
        if not share <= TOLERANCE:
            wrong.append(f"{name}: {share:.1e}")
    assert not wrong, wrong
