"""Lines of the weight table for layers that are alike in many families, in PyTorch's names."""

from __future__ import annotations

from tl_jax.pretrained.rules import Rule
from tl_jax.pretrained.transforms import CONV, LINEAR, Transform


def linear(theirs: str, ours: str, *, bias: bool = True) -> list[Rule]:
    """A linear layer."""
    rules = [Rule(f"{theirs}.weight", f"{ours}/kernel", LINEAR)]
    return [*rules, Rule(f"{theirs}.bias", f"{ours}/bias")] if bias else rules


def conv(theirs: str, ours: str, transform: Transform = CONV) -> list[Rule]:
    """A convolution with a bias."""
    return [Rule(f"{theirs}.weight", f"{ours}/kernel", transform), Rule(f"{theirs}.bias", f"{ours}/bias")]


def norm(theirs: str, ours: str) -> list[Rule]:
    """A layer norm."""
    return [Rule(f"{theirs}.weight", f"{ours}/scale"), Rule(f"{theirs}.bias", f"{ours}/bias")]


def attention(theirs: str, ours: str, *, bias: bool) -> list[Rule]:
    """Self-attention as ViT and its kin save it; ``bias``: whether queries, keys and values have one."""
    rules = []
    for part in ("query", "key", "value"):
        rules += linear(f"{theirs}.attention.{part}", f"{ours}/{part}", bias=bias)
    return [*rules, *linear(f"{theirs}.output.dense", f"{ours}/out")]
