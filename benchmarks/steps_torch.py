"""PyTorch's side of `benchmarks.steps`, as somebody who knows PyTorch would write it.

Models of `transformers` (with the scaled-dot-product attention that they choose by themselves), channels
last, fused AdamW, gradients set to None; what is frozen needs no gradient and is in evaluation mode. On a
GPU: bfloat16 autocast and `torch.compile`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import AutoModelForImageClassification

from benchmarks import models


class Steps:
    """The network in ``folder``, and one batch. ``trained``: blocks that learn, by part."""

    def __init__(self, trained: Mapping[str, int], batch: int, size: int, folder: str) -> None:
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.trained, self.folder = trained, folder
        images, labels = models.pictures(batch, size)
        self.images = torch.from_numpy(images).to(self.device)
        self.labels = torch.from_numpy(labels).long().to(self.device)
        self.mean = torch.tensor(models.MEAN, device=self.device).view(1, 3, 1, 1) * 255
        self.std = torch.tensor(models.STD, device=self.device).view(1, 3, 1, 1) * 255

    def start(self, part: str) -> float:
        """Makes ready for `take`; the loss of the first step, or of the forward pass."""
        network = AutoModelForImageClassification.from_pretrained(self.folder, dtype=torch.float32)
        network = network.to(self.device, memory_format=torch.channels_last)
        call = torch.compile(network) if self.device == "cuda" else network

        def logits() -> torch.Tensor:
            # The pictures lie as (B, H, W, C), so that this is channels last without a copy.
            x = (self.images.permute(0, 3, 1, 2).float() - self.mean) / self.std
            with torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda"):
                return call(pixel_values=x).logits.float()

        if part == "forward":
            network.eval()

            def forward() -> torch.Tensor:
                with torch.inference_mode():
                    return logits()

            self._once = forward
            return float(functional.cross_entropy(forward(), self.labels))
        freeze(network, self.trained[part])
        decayed = [p for p in network.parameters() if p.requires_grad and p.ndim in (2, 4)]
        others = [p for p in network.parameters() if p.requires_grad and p.ndim not in (2, 4)]
        groups = [dict(params=decayed, weight_decay=models.WEIGHT_DECAY), dict(params=others, weight_decay=0)]
        optimizer = torch.optim.AdamW(groups, lr=models.LR, fused=True)

        def once() -> torch.Tensor:
            loss = functional.cross_entropy(logits(), self.labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            return loss

        self._once = once
        return float(once())

    def take(self, count: int) -> None:
        """Takes ``count`` steps, and waits for the last."""
        for _ in range(count):
            self._once()
        if self.device == "cuda":
            torch.cuda.synchronize()


def freeze(network: nn.Module, last: int) -> None:
    """Trains the last ``last`` blocks and what follows them; all of them: the stem too."""
    parts = list(blocks(network))
    network.train()
    if last == len(parts):
        return
    for part in [stem(network), *parts[: len(parts) - last]]:
        part.eval()
        part.requires_grad_(False)


def stem(network: Any) -> nn.Module:
    return network.resnet.embedder if hasattr(network, "resnet") else network.vit.embeddings


def blocks(network: Any) -> Iterator[nn.Module]:
    if hasattr(network, "resnet"):
        for stage in network.resnet.encoder.stages:
            yield from stage.layers
    else:
        yield from network.vit.layers
