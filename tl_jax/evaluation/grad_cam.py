"""Grad-CAM: where in a picture the evidence for a class lies, as far as a network's maps tell.

Selvaraju et al. 2017, arXiv:1610.02391: the network is cut at some depth, and a channel of the map there
counts as much as the score of the class rises with it; of the sum over channels, what is above zero argues
for the class. What is chosen here, by the network's anatomy and never by its family (`chosen`):

* **The score is the log-odds** of the class: its logit less the log-sum-exp of the others. A number added to
  all logits changes no probability, but it would change maps of a logit alone.
* **The cut is as deep as it can be** while what follows still reads every cell, and the map has `CELLS` cells
  a side.
* **Slopes are kept for each cell** (HiResCAM: Draelos and Carin 2020, arXiv:2011.08891) where the paper takes
  their mean over the map (eq. 1). Before a mean over the picture and a linear head all cells have the same
  slopes, so that the two maps are one; at other cuts the mean lights up cells from which nothing reaches the
  score.
* **Cells count by their difference from the mean cell of the map where a normalisation of each comes next**,
  as in a transformer. It does not see a cell's length, so that the slope is orthogonal to the cell (Euler's
  theorem on homogeneous functions) and their product is zero whatever the cell holds: such cells have no zero
  to be measured from. (Slope times difference from a reference: Shrikumar et al. 2017, arXiv:1704.02685.)

What such a map cannot show: docs/evaluation.md, "Heat maps".
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import ArrayLike

from tl_jax import compilation
from tl_jax.backbones.anatomy import Backbone, Carry, Leaves, Spec, inference_graph, merge, onward, run, split
from tl_jax.data.examples import Rows
from tl_jax.forward import Recipe
from tl_jax.inputs import Pictures

ROWS = 16
"""Pictures that go through the network at once; fewer are filled up, so that there is one program."""
CELLS = 6
"""A map with fewer cells a side places nothing; docs/evaluation.md has the measurement."""


WAYS = ("each", "relative", "averaged")
"""How a cell counts: its own slope times the cell, or times its difference from the mean cell; or the mean
slope of its map times the cell, as published."""


class Cut(NamedTuple):
    """``blocks`` before the map, 1 at least; ``way``: one of `WAYS`."""

    blocks: int
    way: str


def heatmaps(
    model: Backbone, recipe: Recipe, images: np.ndarray | Rows, classes: ArrayLike, *, cut: Cut | None = None
) -> np.ndarray:
    """Where each picture argues for a class: (n, size, size) float32, 0…1, on the picture's own pixels.

    ``images`` (n, size, size, c) uint8 as a `Split` holds them at evaluation; ``classes`` (n,) int, what each
    map argues for; ``cut``: by default what is `chosen`.

    The hottest pixel of a map is 1; a map without evidence for its class, or with numbers that are not
    finite, is 0 everywhere. The model is put into inference mode. Raises ValueError where the arguments do
    not fit each other, listing everything.
    """
    classes = np.asarray(classes)
    _check(model, recipe, images, classes, cut)
    if not len(images):
        return np.zeros((0, *images.shape[1:3]), np.float32)
    graph, params, stats = inference_graph(model), *split(model)[1:]
    static = graph, recipe.inference
    if cut is None:
        known = (chosen, *static, compilation.shapes(params, stats))
        cut = compilation.once(known, lambda: chosen(model, recipe))
    like = jax.ShapeDtypeStruct((ROWS, *images.shape[1:]), jnp.uint8)
    wanted = jax.ShapeDtypeStruct((ROWS,), jnp.int32)
    function = jax.jit(partial(_maps, graph, recipe, cut))
    program = compilation.program(function, (_maps, *static, cut), params, stats, like, wanted)
    found = []
    for start in range(0, len(images), ROWS):
        rows, which = images[start : start + ROWS], classes[start : start + ROWS]
        full = np.zeros(like.shape, np.uint8), np.zeros(ROWS, np.int32)
        full[0][: len(rows)], full[1][: len(rows)] = rows, which
        found.append(np.asarray(program(params, stats, *full))[: len(rows)])
    return enlarged(np.concatenate(found), model.spec, cut.blocks, pictures(recipe).size)


def pictures(recipe: Recipe) -> Pictures:
    """How the network reads pictures. Raises ValueError where it reads texts."""
    if not isinstance(recipe.input, Pictures):
        raise ValueError("heat maps are drawn on pictures, and this network reads texts")
    return recipe.input


def chosen(model: Backbone, recipe: Recipe) -> Cut:
    """Where the map is taken, by default.

    After all blocks where the neck reads every cell of what they make: a mean over the picture does. Where
    it does not, as that of a ViT reads the class token alone, the other cells have no slope there; it is the
    last block that collects from them, and the cut is before it. Of the cuts up to there it is the deepest
    with `CELLS` cells a side, or with the most cells where none has as many. Cells count as they are where
    the neck reads all of them and sees their length, else by their difference from the mean cell.
    """
    spec = model.spec
    reads_all, sees_length = _neck(model, recipe)
    deepest = len(model.blocks) - (not reads_all)
    size = pictures(recipe).size
    cells = {blocks: spec.cells(size, blocks) for blocks in range(1, deepest + 1)}
    blocks = max(cells, key=lambda one: (min(cells[one], CELLS), one), default=0)
    return Cut(blocks, "each" if reads_all and sees_length else "relative")


def enlarged(maps: np.ndarray, spec: Spec, cut: int, size: int) -> np.ndarray:
    """Maps (n, h, w) of a cut on the picture's pixels, (n, size, size) float32: linear between the pixels on
    which cells are centred, constant beyond the outermost. The hottest becomes 1."""
    stride, origin = spec.grid(cut)

    def weights(cells: int) -> np.ndarray:
        centres = origin + stride * np.arange(cells)
        return np.stack([np.interp(np.arange(size), centres, one) for one in np.eye(cells)], axis=1)

    down, across = map(weights, maps.shape[1:])
    large = np.einsum("yi,nij,xj->nyx", down, maps, across, optimize=True)
    hottest = large.max(axis=(1, 2), keepdims=True)
    some = np.isfinite(hottest) & (hottest > 0)
    return np.where(some, large / np.where(some, hottest, 1), 0).astype(np.float32)


def _maps(
    graph: nnx.GraphDef,
    recipe: Recipe,
    cut: Cut,
    params: Leaves,
    stats: Leaves,
    images: jax.Array,
    classes: jax.Array,
) -> jax.Array:
    """Maps (B, h, w) float32 of stored pictures (B, size, size, c) uint8 and classes (B,) int32."""
    model = merge(graph, {path: leaf.astype(recipe.precision) for path, leaf in params.items()}, stats)
    x = recipe.input.network(images).astype(recipe.precision)
    carry, _ = run(model, model.stem(x), stop=cut.blocks)

    def score(x: jax.Array) -> jax.Array:
        """The sum over pictures, none of which sees another."""
        logits = recipe.task.logits(onward(model, {**carry, "x": x}, cut.blocks)).astype(jnp.float32)
        which = jax.nn.one_hot(classes, recipe.classes, dtype=bool)
        others = jax.nn.logsumexp(jnp.where(which, -jnp.inf, logits), axis=1)
        return jnp.sum(jnp.where(which, logits, 0).sum(axis=1) - others)

    both = carry["x"], jax.grad(score)(carry["x"])
    values, slopes = (model.feature_map({**carry, "x": x}).astype(jnp.float32) for x in both)
    if cut.way == "averaged":
        slopes = slopes.mean(axis=(1, 2), keepdims=True)
    elif cut.way == "relative":
        values = values - values.mean(axis=(1, 2), keepdims=True)
    return jax.nn.relu((values * slopes).sum(axis=-1))


def _neck(model: Backbone, recipe: Recipe) -> tuple[bool, bool]:
    """Whether the neck reads every cell of the map after the last block, and whether it sees the length of
    those that it reads: by its slopes at a random carry."""
    graph, *leaves = split(model)
    how = pictures(recipe)
    picture = jax.ShapeDtypeStruct((1, how.size, how.size, how.channels), jnp.float32)

    def blocks(leaves: list[Leaves], picture: jax.Array) -> Carry:
        model = merge(graph, *leaves)
        return run(model, model.stem(picture))[0]

    random = np.random.default_rng(0)
    outline = jax.eval_shape(blocks, leaves, picture)
    carry = {name: random.normal(size=leaf.shape).astype(leaf.dtype) for name, leaf in outline.items()}
    direction = random.normal(size=model.spec.features).astype(np.float32)

    def slopes(leaves: list[Leaves], carry: Carry) -> tuple[jax.Array, jax.Array]:
        model = merge(graph, *leaves)
        slope = jax.grad(lambda x: jnp.vdot(model.neck({**carry, "x": x}), direction))(carry["x"])
        return model.feature_map(carry), model.feature_map({**carry, "x": slope})

    values, found = compilation.compiled(jax.jit(slopes).lower(leaves, carry))(leaves, carry)
    products = np.asarray(values, np.float64) * np.asarray(found, np.float64)
    along, across = np.abs(products.sum(axis=-1)), np.abs(products).sum(axis=-1)
    return bool((across > 0).all()), bool((along > 1e-3 * across).any())


def _check(
    model: Backbone, recipe: Recipe, images: np.ndarray | Rows, classes: np.ndarray, cut: Cut | None
) -> None:
    size, problems = pictures(recipe).size, []
    if len(images.shape) != 4 or images.shape[1:3] != (size, size) or images[:0].dtype != np.uint8:
        problems.append(f"images are {images[:0].dtype} {images.shape}, not uint8 (n, {size}, {size}, c)")
    if classes.shape != images.shape[:1]:
        problems.append(f"classes are {classes.shape} for {len(images)} pictures; give a number for each")
    elif classes.size and not np.issubdtype(classes.dtype, np.integer):
        problems.append(f"classes are {classes.dtype}, not integers")
    elif classes.size and (classes.min() < 0 or classes.max() >= recipe.classes):
        problems.append(f"classes are {classes.min()}…{classes.max()}, of 0…{recipe.classes - 1}")
    if cut is not None and not 1 <= cut.blocks <= len(model.blocks):
        problems.append(f"a cut after {cut.blocks} blocks; it can be after 1…{len(model.blocks)}")
    if cut is not None and cut.way not in WAYS:
        problems.append(f"way={cut.way!r} is none of {', '.join(WAYS)}")
    if problems:
        raise ValueError("\n".join(problems))
