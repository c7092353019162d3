"""PyTorch's side of `benchmarks.steps`, as somebody who knows PyTorch would write it.

Models of `transformers` (with the scaled-dot-product attention that they choose by themselves), channels
last, fused AdamW, gradients set to None; what is frozen needs no gradient and is in evaluation mode. On a
GPU: bfloat16 autocast and `torch.compile`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn import functional

from benchmarks import models, torch_models


class Steps:
    """The network in ``folder``, and one batch of pictures, or of texts of ``tokens`` tokens. ``trained``:
    blocks that learn, by part."""

    def __init__(
        self, trained: Mapping[str, int], batch: int, size: int, folder: str, tokens: int = 0
    ) -> None:
        self.device = torch_models.device()
        self.trained, self.folder, self.tokens = trained, folder, tokens
        if tokens:
            images, labels = models.texts(batch, tokens, torch_models.vocabulary(folder))
        else:
            images, labels = models.pictures(batch, size)
        self.images = torch.from_numpy(images).to(self.device)
        self.labels = torch.from_numpy(labels).long().to(self.device)
        self.mean = torch.tensor(models.MEAN, device=self.device).view(1, 3, 1, 1) * 255
        self.std = torch.tensor(models.STD, device=self.device).view(1, 3, 1, 1) * 255

    def start(self, part: str) -> float:
        """Makes ready for `take`; the loss of the first step, or of a forward pass: of texts always, whose
        networks drop units at random."""
        load = torch_models.load_encoder if self.tokens else torch_models.load
        network = load(self.folder, self.device)
        call = torch.compile(network) if self.device == "cuda" else network

        def logits() -> torch.Tensor:
            if self.tokens:
                with torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda"):
                    return call(self.images).float()
            # The pictures lie as (B, H, W, C), so that this is channels last without a copy.
            x = (self.images.permute(0, 3, 1, 2).float() - self.mean) / self.std
            with torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda"):
                return call(pixel_values=x).logits.float()

        def forward() -> torch.Tensor:
            with torch.inference_mode():
                return logits()

        network.eval()
        loss = float(functional.cross_entropy(forward(), self.labels))
        if part == "forward":
            self._once = forward
            return loss
        torch_models.freeze(network, self.trained[part])
        groups = torch_models.groups(network, models.WEIGHT_DECAY)
        optimizer = torch.optim.AdamW(groups, lr=models.LR, fused=True)

        def once() -> torch.Tensor:
            found = functional.cross_entropy(logits(), self.labels)
            optimizer.zero_grad(set_to_none=True)
            found.backward()
            optimizer.step()
            return found.detach()

        self._once, first = once, float(once())
        return loss if self.tokens else first

    def take(self, count: int) -> float:
        """Takes ``count`` steps, and waits for the last: its loss, or the mean of its logits."""
        for _ in range(count - 1):
            self._once()
        found = float(self._once().mean())
        if self.device == "cuda":
            torch.cuda.synchronize()
        return found
