"""The same for texts: short sentences, of which the good ones have a good word, and a small BERT."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from tl_jax import pretrained
from tl_jax.pretrained.tokenizer import TOKENIZER

GOOD, BAD = ("fine", "lovely", "bright"), ("dull", "poor", "grim")
PLAIN = (
    *("the", "a", "film", "story", "of", "and", "in", "with"),
    *("it", "was", "one", "more", "scene", "then", "light"),
)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
WORDS = (*SPECIAL, *GOOD, *BAD, *PLAIN)
ARCH: dict[str, Any] = dict(
    model_type="bert",
    vocab_size=len(WORDS),
    hidden_size=16,
    num_hidden_layers=3,
    num_attention_heads=2,
    intermediate_size=32,
    max_position_embeddings=32,
    pooling="mean",
)


def make_texts(root: Path, *, train: int = 96, val: int = 24, test: int = 24, seed: int = 0) -> Path:
    """root/train.csv, val.csv, test.csv with columns text, label and source; 3 to 20 words a text."""
    rng = np.random.default_rng(seed)
    root.mkdir(parents=True, exist_ok=True)
    for split, n in (("train", train), ("val", val), ("test", test)):
        with open(root / f"{split}.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label", "source"])
            for i in range(n):
                words = rng.choice(PLAIN, rng.integers(3, 21)).tolist()
                words[rng.integers(len(words))] = rng.choice((BAD, GOOD)[i % 2])
                writer.writerow([" ".join(words), ("bad", "good")[i % 2], ("a", "b")[i % 3 == 0]])
    return root


def make_tokenizer(folder: Path) -> Path:
    """folder/tokenizer.json, which knows `WORDS` and marks both ends of a text."""
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(name, WORDS.index(name)) for name in ("[CLS]", "[SEP]")]
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / TOKENIZER))
    return folder / TOKENIZER


def make_weights(folder: Path, *, classes: tuple[str, ...] = ("x", "y", "z"), **changes: Any) -> Path:
    """A folder in Hugging Face layout with random weights and the tokenizer."""
    model, _ = pretrained.scratch({**ARCH, **changes}, num_classes=len(classes))
    pretrained.export(model, folder, classes=classes)
    make_tokenizer(folder)
    return folder


def config(texts: Path, weights: Path, **changes: Any) -> dict[str, Any]:
    """A config of two stages on such texts and weights."""
    return {
        "batch_size": 8,
        "select": dict(every="4 epochs"),
        "checkpoint": dict(every="4 epochs"),
        "log_every": "1 steps",
        "data": dict(source="csv", manifest=str(texts), columns=dict(text="text"), min_val=2, cache=""),
        "model": dict(pretrained=str(weights), dropout=0.1),
        "evaluation": dict(bootstrap=50, batch_size=16),
        "mesh": dict(data=1),
        "report": dict(enabled=False),
        "cache": dict(dir=""),
        "stages": [
            dict(name="head", duration="2 epochs", train="head", lr=1e-2),
            dict(name="all", duration="6 epochs", train="all", lr=1e-2, layer_decay=0.8, weight_decay=0.01),
        ],
        **changes,
    }
