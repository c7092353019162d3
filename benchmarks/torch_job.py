"""A whole job as a plain PyTorch script: what `benchmarks.probe`, `.cut` and `.ladder` compare with.

    python -m benchmarks.torch_job --data=FOLDER --weights=FOLDER --blocks=0

Every picture is decoded and resized once and kept as uint8. The usual loop follows: the whole network runs
on every batch of every epoch, and what is frozen is in evaluation mode and needs no gradient. Validation
after every epoch chooses the weights that are measured on the test split. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from benchmarks import torch_models
from benchmarks.job_config import BATCH, EPOCHS, WEIGHT_DECAY


class Split:
    """Pictures (n, size, size, 3) uint8 and labels of ``root``/``name``/CLASS/*."""

    def __init__(self, root: Path, name: str, size: int, resample: int) -> None:
        images, labels = [], []
        for label, folder in enumerate(sorted(path for path in (root / name).iterdir() if path.is_dir())):
            for path in sorted(folder.iterdir()):
                with Image.open(path) as file:
                    picture = file.convert("RGB").resize((size, size), Image.Resampling(resample))
                images.append(np.asarray(picture))
                labels.append(label)
        self.images, self.labels = torch.from_numpy(np.stack(images)), torch.tensor(labels)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--blocks", type=int, required=True, help="that learn, from the top")
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args(argv)
    torch.manual_seed(flags.seed)
    device = torch_models.device()
    facts = json.loads((flags.weights / "preprocessor_config.json").read_text())
    size = facts["size"]["height"]
    data = {name: Split(flags.data, name, size, facts["resample"]) for name in ("train", "val", "test")}
    mean, std = (
        torch.tensor(facts[name], device=device).view(1, 3, 1, 1) * 255
        for name in ("image_mean", "image_std")
    )
    network = torch_models.load(str(flags.weights), device, num_labels=2, ignore_mismatched_sizes=True)
    torch_models.freeze(network, flags.blocks)
    call = torch.compile(network) if device == "cuda" else network

    def logits(images: torch.Tensor) -> torch.Tensor:
        x = (images.to(device).permute(0, 3, 1, 2).float() - mean) / std
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            return call(pixel_values=x).logits.float()

    def outputs(split: Split) -> torch.Tensor:
        """Logits of a whole split, with dropout and statistics at rest."""
        training = {name: module.training for name, module in network.named_modules()}
        network.eval()
        with torch.inference_mode():
            found = torch.cat([logits(rows) for rows in split.images.split(64)]).cpu()
        for name, module in network.named_modules():
            module.training = training[name]
        return found

    optimizer = torch.optim.AdamW(torch_models.groups(network, WEIGHT_DECAY), lr=flags.lr, fused=True)
    steps = math.ceil(flags.epochs * len(data["train"].labels) / BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    best, chosen = math.inf, None
    for _ in range(flags.epochs):
        for rows in torch.randperm(len(data["train"].labels)).split(BATCH):
            loss = functional.cross_entropy(
                logits(data["train"].images[rows]), data["train"].labels[rows].to(device)
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
        value = float(functional.cross_entropy(outputs(data["val"]), data["val"].labels))
        if value < best:
            best, chosen = value, copy.deepcopy(network.state_dict())
    assert chosen is not None
    network.load_state_dict(chosen)
    print(json.dumps(measures(outputs(data["test"]).numpy(), data["test"].labels.numpy())))
    return 0


def measures(logits: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Accuracy, and AUROC of the second class: the share of pairs in the right order, ties half."""
    score = logits[:, 1] - logits[:, 0]
    pairs = score[labels == 1][:, None] - score[labels == 0][None, :]
    return {
        "accuracy": float((logits.argmax(1) == labels).mean()),
        "auroc": float((pairs > 0).mean() + 0.5 * (pairs == 0).mean()),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
