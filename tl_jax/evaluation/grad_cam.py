"""Grad-CAM: where in a picture the evidence for a class lies, as far as a network's last maps tell.

Selvaraju et al. 2017, arXiv:1610.02391. A channel of the feature map counts as much as the class's score
rises with it, on average over the map (eq. 1); of the sum of channels, what is above zero argues for the
class (eq. 2). What such a map cannot show: docs/evaluation.md, "Heat maps".

Two choices. The score is the log-odds of the class, its logit less the log-sum-exp of the others: a number
added to all logits changes no probability, and would change maps of the logit alone. The map is cut as deep
in the network as what follows still reads every cell (see `deepest`). For a mean over the picture that is
after the last block, as published; where the class token alone goes on, it is before the last block, in
which that token looks at the patches for the last time.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import ArrayLike

from tl_jax import compilation
from tl_jax.backbones.anatomy import Backbone, Carry, Leaves, inference_graph, merge, onward, run, split
from tl_jax.step import Recipe, inputs

ROWS = 16
"""Pictures that go through the network at once; fewer are filled up, so that there is one program."""


def heatmaps(
    model: Backbone, recipe: Recipe, images: np.ndarray, classes: ArrayLike, *, cut: int | None = None
) -> np.ndarray:
    """Where each picture argues for a class: (n, size, size) float32, 0…1, on the picture's own pixels.

    ``images`` (n, size, size, c) uint8 as a `Split` holds them at evaluation; ``classes`` (n,) int, what each
    map argues for; ``cut``: blocks before the map, by default `deepest`. The highest pixel is 1. A map
    without any evidence for the class is 0 everywhere. The model is put into inference mode.

    Raises ValueError where pictures and classes do not fit each other or the network.
    """
    classes = np.asarray(classes)
    _check(model, recipe, images, classes, cut)
    graph, params, stats = inference_graph(model), *split(model)[1:]
    shapes = tuple((path, leaf.shape, leaf.dtype) for path, leaf in (params | stats).items())
    key = (graph, recipe.inference, shapes)
    if cut is None:
        cut = compilation.once((deepest, *key), lambda: deepest(model, recipe))
    if not len(images):
        return np.zeros(images.shape[:3], np.float32)
    shape = jax.ShapeDtypeStruct((ROWS, *images.shape[1:]), images.dtype)
    which = jax.ShapeDtypeStruct((ROWS,), jnp.int32)
    maps_of = jax.jit(partial(_maps, graph, recipe, cut))
    program = compilation.once(
        (_maps, *key, cut, shape.shape),
        lambda: compilation.compiled(maps_of.lower(params, stats, shape, which)),
    )
    found = []
    for start in range(0, len(images), ROWS):
        rows = images[start : start + ROWS]
        empty = ROWS - len(rows)
        filled = np.concatenate([rows, np.zeros((empty, *rows.shape[1:]), rows.dtype)])
        wanted = np.concatenate([classes[start : start + ROWS], np.zeros(empty, classes.dtype)])
        maps = program(params, stats, jnp.asarray(filled), jnp.asarray(wanted, jnp.int32))
        found.append(_finished(np.asarray(maps)[: len(rows)], recipe.size))
    return np.concatenate(found)


def deepest(model: Backbone, recipe: Recipe) -> int:
    """The highest number of blocks after which the neck still reads every cell of the feature map.

    Found by asking the network, not its name: what the blocks that are left and the neck make of a random
    carry is differentiated, and where a cell has no gradient nothing that follows has looked at it.
    """
    graph, *leaves = split(model)
    picture = jax.ShapeDtypeStruct((1, recipe.size, recipe.size, recipe.channels), jnp.float32)
    random = np.random.default_rng(0)
    direction = random.normal(size=model.spec.features).astype(np.float32)

    def begin(cut: int, leaves: list[Leaves], picture: jax.Array) -> Carry:
        model = merge(graph, *leaves)
        return run(model, model.stem(picture), stop=cut)[0]

    def reach(cut: int, leaves: list[Leaves], carry: Carry) -> jax.Array:
        model = merge(graph, *leaves)
        slope = jax.grad(lambda carry: jnp.vdot(model.neck(run(model, carry, cut)[0]), direction))(carry)
        return jnp.abs(model.feature_map(slope)).max(axis=-1)

    for cut in range(len(model.blocks), 0, -1):
        outline = jax.eval_shape(partial(begin, cut), leaves, picture)
        carry = {name: random.normal(size=leaf.shape).astype(leaf.dtype) for name, leaf in outline.items()}
        program = compilation.compiled(jax.jit(partial(reach, cut)).lower(leaves, carry))
        if np.asarray(program(leaves, carry)).all():
            return cut
    return 0


def _maps(
    graph: nnx.GraphDef,
    recipe: Recipe,
    cut: int,
    params: Leaves,
    stats: Leaves,
    images: jax.Array,
    classes: jax.Array,
) -> jax.Array:
    """Maps (B, h, w) float32 of stored pictures (B, size, size, c) uint8 and classes (B,) int32."""
    half = {path: leaf.astype(recipe.precision) for path, leaf in params.items()}
    model = merge(graph, half, stats)
    pixels = inputs(images, recipe).astype(recipe.precision)
    carry, _ = run(model, model.stem(pixels), stop=cut)

    def score(x: jax.Array) -> jax.Array:
        logits = recipe.task.logits(onward(model, {**carry, "x": x}, cut)).astype(jnp.float32)
        chosen = jax.nn.one_hot(classes, recipe.classes, dtype=bool)
        others = jax.nn.logsumexp(jnp.where(chosen, -jnp.inf, logits), axis=1)
        return jnp.sum(jnp.where(chosen, logits, 0).sum(axis=1) - others)  # pictures do not see each other

    slope = jax.grad(score)(carry["x"])
    values, slopes = (model.feature_map({**carry, "x": x}).astype(jnp.float32) for x in (carry["x"], slope))
    weights = slopes.mean(axis=(1, 2), keepdims=True)
    return jax.nn.relu((weights * values).sum(axis=-1))


def _finished(maps: np.ndarray, size: int) -> np.ndarray:
    """Maps (n, h, w) → (n, size, size): between the cells' centres linear, then the highest is 1."""
    down, across = (_weights(cells, size) for cells in maps.shape[1:])
    large = np.einsum("yi,nij,xj->nyx", down, maps, across, optimize=True).astype(np.float32)
    highest = large.max(axis=(1, 2), keepdims=True)
    some = np.isfinite(highest) & (highest > 0)
    return np.where(some, large / np.where(some, highest, 1), np.float32(0))


def _weights(cells: int, size: int) -> np.ndarray:
    """What each cell in a line gives to each pixel (size, cells)."""
    centres = (np.arange(cells) + 0.5) * size / cells - 0.5
    return np.stack([np.interp(np.arange(size), centres, row) for row in np.eye(cells)], axis=1)


def _check(model: Backbone, recipe: Recipe, images: np.ndarray, classes: np.ndarray, cut: int | None) -> None:
    problems = []
    if images.ndim != 4 or images.shape[1:3] != (recipe.size, recipe.size) or images.dtype != np.uint8:
        problems.append(
            f"images are {images.dtype} {images.shape}; uint8 (n, {recipe.size}, {recipe.size}, c) is wanted"
        )
    if classes.shape != images.shape[:1]:
        problems.append(f"classes are {classes.shape} for {len(images)} pictures; give one each")
    elif classes.size and not (np.issubdtype(classes.dtype, np.integer)):
        problems.append(f"classes are {classes.dtype}; give numbers 0…{recipe.classes - 1}, integers")
    elif classes.size and (classes.min() < 0 or classes.max() >= recipe.classes):
        problems.append(
            f"classes reach from {classes.min()} to {classes.max()}; the network has 0…{recipe.classes - 1}"
        )
    if cut is not None and not 0 <= cut <= len(model.blocks):
        problems.append(f"cut={cut}; the network has blocks 0…{len(model.blocks)} to cut before")
    if problems:
        raise ValueError("\n".join(problems))
