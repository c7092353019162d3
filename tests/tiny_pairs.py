"""The same for pairs: words to be said backwards in capitals, and a small GPT-2."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers

from tl_jax import pretrained
from tl_jax.pretrained.tokenizer import TOKENIZER

LOW = ("sun", "moon", "rain", "wind", "snow", "fog")
END, TO = "<end>", "<to>"
WORDS = (END, TO, "[UNK]", *LOW, *(word.upper() for word in LOW))
ARCH: dict[str, Any] = dict(
    model_type="gpt2",
    vocab_size=len(WORDS),
    n_positions=16,
    n_embd=32,
    n_layer=2,
    n_head=2,
    eos_token_id=0,
    bos_token_id=0,
    pooling="each",
)


def make_pairs(root: Path, *, train: int = 256, val: int = 24, test: int = 32, seed: int = 0) -> Path:
    """root/train.csv, val.csv, test.csv with columns low, high and region; 1 to 4 words a side, and no source
    twice."""
    rng, seen = np.random.default_rng(seed), set()
    root.mkdir(parents=True, exist_ok=True)
    for split, n in (("train", train), ("val", val), ("test", test)):
        with open(root / f"{split}.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["low", "high", "region"])
            for i in range(n):
                while (words := tuple(rng.choice(LOW, rng.integers(1, 5)).tolist())) in seen:
                    pass
                seen.add(words)
                back = [word.upper() for word in reversed(words)]
                writer.writerow([" ".join(words), " ".join(back), ("a", "b")[i % 3 == 0]])
    return root


def make_tokenizer(folder: Path) -> Path:
    """folder/tokenizer.json, which knows `WORDS`."""
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.add_special_tokens([END, TO])
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / TOKENIZER))
    return folder / TOKENIZER


def make_weights(folder: Path, **changes: Any) -> Path:
    """A folder in Hugging Face layout with random weights and the tokenizer."""
    model, _ = pretrained.scratch({**ARCH, **changes}, num_classes=2)
    pretrained.export(model, folder, classes=())
    make_tokenizer(folder)
    return folder


def config(pairs: Path, weights: Path, **changes: Any) -> dict[str, Any]:
    """A config of two stages on such pairs and weights."""
    return {
        "task": "translation",
        "batch_size": 16,
        "select": dict(every="4 epochs"),
        "checkpoint": dict(every="4 epochs"),
        "log_every": "5 steps",
        "data": dict(
            source="csv",
            manifest=str(pairs),
            columns=dict(text="low", target="high"),
            separator=TO,
            min_val=2,
        ),
        "model": dict(pretrained=str(weights)),
        "evaluation": dict(bootstrap=50, batch_size=16, beams=2),
        "mesh": dict(data=1),
        "report": dict(enabled=False),
        "cache": dict(dir=""),
        "stages": [
            dict(name="top", duration="1 epochs", train="last 1", lr=3e-3),
            dict(name="all", duration="20 epochs", train="all", lr=5e-3, warmup="5%"),
        ],
        **changes,
    }
