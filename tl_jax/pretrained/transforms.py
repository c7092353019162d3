"""How one array of a checkpoint becomes a leaf, and back: named pairs of pure numpy functions.

PyTorch keeps linear kernels as (out, in) and convolution kernels as (out, in, height, width); Flax as
(in, out) and (height, width, in, out).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Transform:
    """A pair of functions.

    ``to_ours`` takes the checkpoint's arrays (one, or as many as the rule names) and the shape the leaf
    must have, which matters only where a resize is meant; ``to_theirs`` takes the leaf and gives them back.
    A ValueError in either says what does not fit.
    """

    name: str
    to_ours: Callable[[Sequence[np.ndarray], Shape], np.ndarray]
    to_theirs: Callable[[np.ndarray], tuple[np.ndarray, ...]]


def _permutation(name: str, axes: Shape) -> Transform:
    inverse = tuple(np.argsort(axes))

    def to_ours(arrays: Sequence[np.ndarray], shape: Shape) -> np.ndarray:
        (array,) = arrays
        if array.ndim != len(axes):
            raise ValueError(f"{len(axes)} axes are needed")
        return array.transpose(axes)

    return Transform(name, to_ours, lambda leaf: (leaf.transpose(inverse),))


IDENTITY = Transform("it is", lambda arrays, shape: arrays[0], lambda leaf: (leaf,))
LINEAR = _permutation("a linear kernel", (1, 0))
CONV = _permutation("a convolution kernel", (2, 3, 1, 0))


def _first_conv_to_ours(arrays: Sequence[np.ndarray], shape: Shape) -> np.ndarray:
    kernel = CONV.to_ours(arrays, shape)
    return kernel.sum(axis=2, keepdims=True) if shape[2] == 1 else kernel


FIRST_CONV = Transform("the first convolution kernel", _first_conv_to_ours, CONV.to_theirs)
"""As `CONV`; a model of one input channel takes the sum over the checkpoint's channels, which is what
the network computes of a gray picture repeated in all of them."""


def _heads_to_ours(arrays: Sequence[np.ndarray], shape: Shape) -> np.ndarray:
    first, second = (LINEAR.to_ours([array], shape) for array in arrays)
    return np.concatenate([first, second]) / 2


def _heads_to_theirs(leaf: np.ndarray) -> tuple[np.ndarray, ...]:
    first, second = np.split(leaf * 2, 2)
    return first.T, second.T


MEAN_OF_HEADS = Transform("the mean of two linear kernels", _heads_to_ours, _heads_to_theirs)
"""Two linear heads on two vectors, averaged, are one linear head on both vectors end to end."""

MEAN = Transform(
    "the mean of two arrays", lambda arrays, shape: (arrays[0] + arrays[1]) / 2, lambda leaf: (leaf, leaf)
)
"""The mean; written back as two equal arrays."""


def positions(prefix: int, *, antialias: bool = False) -> Transform:
    """Position embeddings (1, prefix + n, d): those of the n patches are resized to the model's grid.

    As transformers interpolates them: `bicubic`, square grids, the ``prefix`` embeddings of class and
    distillation tokens kept. Nothing happens where the number is right.
    """

    def to_ours(arrays: Sequence[np.ndarray], shape: Shape) -> np.ndarray:
        (table,) = arrays
        if table.shape == shape or table.ndim != 3:
            return table
        sides = [round((n - prefix) ** 0.5) for n in (table.shape[1], shape[1])]
        if any(side * side != n - prefix for side, n in zip(sides, (table.shape[1], shape[1]), strict=True)):
            raise ValueError("only square grids of patches can be resized to each other")
        old, new = sides
        weights = bicubic(old, new, antialias=antialias).astype(table.dtype)
        grid = table[0, prefix:].reshape(old, old, -1)
        grid = np.einsum("ia,jb,abd->ijd", weights, weights, grid, optimize=True)
        return np.concatenate([table[:, :prefix], grid.reshape(1, new * new, -1)], axis=1)

    return Transform("position embeddings", to_ours, lambda leaf: (leaf,))


def bicubic(old: int, new: int, *, antialias: bool = False) -> np.ndarray:
    """Weights (new, old), float64, of bicubic resizing along one axis as PyTorch does it.

    Cubic convolution (Keys 1981), pixel centres at half-integers (``align_corners=False``). Without
    ``antialias``: a = -0.75, edges repeated, no smoothing when shrinking. With it: a = -0.5, a kernel as
    many times wider as the picture becomes smaller, and nothing beyond the edges.
    """
    centre = (np.arange(new)[:, None] + 0.5) * old / new - 0.5
    if antialias:
        weights = _keys(np.abs(np.arange(old) - centre) / max(old / new, 1.0), -0.5)
        return weights / weights.sum(axis=1, keepdims=True)
    weights = np.zeros((new, old))
    taps = np.floor(centre).astype(int) + np.arange(-1, 3)
    np.add.at(
        weights, (np.arange(new)[:, None], np.clip(taps, 0, old - 1)), _keys(np.abs(centre - taps), -0.75)
    )
    return weights


def _keys(x: np.ndarray, a: float) -> np.ndarray:
    """Keys' kernel of cubic convolution at distances x ≥ 0; zero from 2 on."""
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
