"""What PyTorch's sides share: the parts of a network of `transformers`, and what of it learns."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModel, AutoModelForImageClassification
from transformers.utils import logging


def load(folder: str, device: str, **changes: Any) -> Any:
    """The network in ``folder``, in float32 and channels last."""
    logging.disable_progress_bar()
    # Without a dtype the weights would stay in the file's, which may be half precision.
    network = AutoModelForImageClassification.from_pretrained(folder, dtype=torch.float32, **changes)
    return network.to(device, memory_format=torch.channels_last)


class Encoder(nn.Module):
    """A BERT, the mean of its tokens, and a linear classifier: sentence encoders are fine-tuned so. Reads
    tokens (B, n) that are padded with negative numbers."""

    base_model_prefix = "bert"

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.bert = AutoModel.from_pretrained(folder, dtype=torch.float32, add_pooling_layer=False)
        head = load_file(Path(folder) / "model.safetensors")
        outputs, features = head["classifier.weight"].shape
        self.classifier = nn.Linear(features, outputs)
        self.classifier.load_state_dict(
            {name: head[f"classifier.{name}"].float() for name in ("weight", "bias")}
        )

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        there = tokens >= 0
        x = self.bert(input_ids=tokens.clamp(min=0), attention_mask=there.long()).last_hidden_state
        weights = there[..., None].to(x.dtype)
        return self.classifier((x * weights).sum(1) / weights.sum(1))


def load_encoder(folder: str, device: str) -> Any:
    """The network in ``folder``, which reads texts, in float32."""
    logging.disable_progress_bar()
    logging.set_verbosity_error()  # it would list the classifier, which is loaded apart
    return Encoder(folder).to(device)


def vocabulary(folder: str) -> int:
    return json.loads((Path(folder) / "config.json").read_text())["vocab_size"]


def device() -> str:
    """Where to compute. On a CPU, with as many threads as the environment says."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    return "cuda" if torch.cuda.is_available() else "cpu"


def freeze(network: Any, last: int) -> None:
    """Trains the last ``last`` blocks and what follows them; all of them: the stem too; 0: the classifier
    alone. What is frozen is in evaluation mode."""
    parts = list(blocks(network))
    network.train()
    if last == len(parts):
        return
    frozen = [stem(network), *parts[: len(parts) - last]] if last else [base(network)]
    for part in frozen:
        part.eval()
        part.requires_grad_(False)


def groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """What learns, for an optimiser: kernels decay; norms, biases, tokens and positions do not."""
    learning = [p for p in network.parameters() if p.requires_grad]
    kernels, others = [p for p in learning if p.ndim in (2, 4)], [p for p in learning if p.ndim not in (2, 4)]
    return [dict(params=kernels, weight_decay=weight_decay), dict(params=others, weight_decay=0.0)]


def base(network: Any) -> Any:
    return getattr(network, network.base_model_prefix)


def stem(network: Any) -> nn.Module:
    return base(network).embedder if hasattr(base(network), "embedder") else base(network).embeddings


def blocks(network: Any) -> Iterator[nn.Module]:
    encoder = getattr(base(network), "encoder", base(network))
    if not hasattr(encoder, "stages"):
        yield from encoder.layer if hasattr(encoder, "layer") else encoder.layers
        return
    for stage in encoder.stages:
        first, *others = stage.layers
        # What halves a ConvNeXt's map belongs to the first block of the level, as in tl_jax.
        yield nn.ModuleList([*getattr(stage, "downsampling_layer", ()), first])
        yield from others
