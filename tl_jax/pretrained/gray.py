"""A colour network made to take gray pictures: one input channel that computes what three would.

Three channels of a gray picture x give the first layer Σ_c W_c · (x - m_c) / s_c, with the channels'
mean m and std s. With one mean m' and std s' that is (Σ_c W_c s'/s_c) · (x - m') / s', and a constant
Σ_c W_c (m' - m_c) / s_c for each output. The kernel takes the factors; the constant goes into the
bias, or into the running mean of the BatchNorm behind it. Both are exact, save that a padded border's
zeros stand for black of slightly different kinds where the channels' means differ. Where all channels
share mean and std the kernel is the plain sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from tl_jax.backbones.anatomy import Preprocess, part_of
from tl_jax.pretrained.errors import PretrainedError
from tl_jax.pretrained.files import Arrays
from tl_jax.pretrained.rules import Ignore, Rule, Translation
from tl_jax.pretrained.transforms import FIRST_CONV


def fold(
    translation: Translation,
    arrays: Mapping[str, np.ndarray],
    rules: Iterable[Rule | Ignore],
    colour: Preprocess,
    gray: Preprocess,
) -> tuple[Arrays, str]:
    """The leaves with a first layer for gray pictures, and a note on what was done.

    Args:
      translation: the leaves as the table read them.
      arrays: the checkpoint; its first kernel is (out, channels, height, width).
      rules: the table; its line with `FIRST_CONV` names that kernel.
      colour: mean and std, a number a channel; ``gray``: one number each.

    Raises:
      PretrainedError: if a constant is left over and there is no bias or BatchNorm to take it.
    """
    leaves = translation.leaves
    path = first_kernel(rules)
    if path is None:
        raise PretrainedError("this family's table names no first convolution: use gray='repeat'")
    weights = arrays[translation.sources[path][0]].astype(np.float64)
    mean, std = (np.reshape(values, (1, -1, 1, 1)) for values in (colour.mean, colour.std))
    summed = (weights * (gray.std[0] / std)).sum(axis=1, keepdims=True)
    kernel = FIRST_CONV.to_ours([summed], leaves[path].shape).astype(leaves[path].dtype)
    constant = (weights * (gray.mean[0] - mean) / std).sum(axis=(1, 2, 3))
    note = f"gray: {path} is the sum of {weights.shape[1]} channels, each by its std"
    if len(set(colour.mean)) == 1:
        return {**leaves, path: kernel}, note
    for behind, sign in _behind(leaves, path):
        moved = (leaves[behind] + sign * constant).astype(leaves[behind].dtype)
        return {**leaves, path: kernel, behind: moved}, f"{note}; {behind} takes their different means"
    raise PretrainedError(
        f"gray='sum': nothing behind {path} takes the constant that the channels' different means leave; "
        "use gray='repeat'"
    )


def first_kernel(rules: Iterable[Rule | Ignore]) -> str | None:
    """Our path of the kernel that meets the pictures' channels."""
    return next(
        (rule.ours for rule in rules if isinstance(rule, Rule) and rule.transform is FIRST_CONV), None
    )


def _behind(leaves: Mapping[str, np.ndarray], kernel: str) -> list[tuple[str, float]]:
    """Leaves of the kernel's own part that can take a constant of its output, and with which sign."""
    layer, part = kernel.rpartition("/")[0], part_of(kernel)
    own = [path for path in leaves if part_of(path) == part]
    biases = [(path, 1.0) for path in own if path == f"{layer}/bias"]
    return biases + [(path, -1.0) for path in own if path.endswith("/mean")]
