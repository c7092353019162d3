"""The networks that both sides train, what of them is trained, and random pictures and texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tl_jax.backbones import bert
from tl_jax.backbones.text import PADDING

SIZE = 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LR, WEIGHT_DECAY = 1e-4, 0.05


@dataclass(frozen=True)
class Model:
    """``arch``: Hugging Face config; ``blocks``: how many there are, ``last``: how many of them are in the
    last level (of a transformer: quarter); ``batch``: pictures, or texts of up to ``tokens`` tokens."""

    title: str
    arch: Mapping[str, Any]
    blocks: int
    last: int
    batch: int
    tokens: int = 0

    def trained(self, part: str) -> int:
        """Blocks that learn with ``part`` of the network: "all" | "half" | "last"."""
        return {"all": self.blocks, "half": self.blocks // 2, "last": self.last}[part]


_MINILM = {**bert.DEFAULTS, **bert.sizes["all-MiniLM-L6-v2"]}

MODELS = {
    "resnet50": Model("ResNet-50", dict(model_type="resnet"), blocks=16, last=3, batch=16),
    "resnet18": Model(
        "ResNet-18",
        dict(model_type="resnet", layer_type="basic", depths=[2, 2, 2, 2], hidden_sizes=[64, 128, 256, 512]),
        blocks=8,
        last=2,
        batch=32,
    ),
    "vit-tiny": Model(
        "ViT-Ti/16",
        dict(
            model_type="vit",
            hidden_size=192,
            num_hidden_layers=12,
            num_attention_heads=3,
            intermediate_size=768,
        ),
        blocks=12,
        last=3,
        batch=32,
    ),
    "convnext-tiny": Model(
        "ConvNeXt-T",
        # Blocks that add a millionth, as at the start of its training, would hide what they compute.
        dict(model_type="convnext", depths=[3, 3, 9, 3], layer_scale_init_value=0.1),
        blocks=18,
        last=3,
        batch=16,
    ),
    "dinov2-small": Model(
        "DINOv2-S",
        dict(model_type="dinov2", hidden_size=384, num_hidden_layers=12, num_attention_heads=6),
        blocks=12,
        last=3,
        batch=16,
    ),
    "minilm": Model("MiniLM 32", _MINILM, blocks=6, last=2, batch=32, tokens=32),
    "minilm-80": Model("MiniLM 80", _MINILM, blocks=6, last=2, batch=32, tokens=80),
}


def pictures(rows: int, size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Random pictures (rows, size, size, 3) uint8 and labels (rows,) int32 of two classes."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (rows, size, size, 3), np.uint8), rng.integers(0, 2, rows).astype(np.int32)


def texts(rows: int, tokens: int, vocabulary: int) -> tuple[np.ndarray, np.ndarray]:
    """Random texts (rows, tokens) int32 of at least three quarters of that length, padded as tl_jax pads
    them, and labels (rows,) int32 of two classes."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(tokens * 3 // 4, tokens + 1, rows)
    drawn = rng.integers(0, vocabulary, (rows, tokens))
    made = np.where(np.arange(tokens) < lengths[:, None], drawn, PADDING).astype(np.int32)
    return made, rng.integers(0, 2, rows).astype(np.int32)
