"""The tokenizer of the invented tongues: pieces of words by byte pair encoding (Sennrich et al. 2016,
arXiv:1508.07909), learned from lowland pairs alone, as the tokenizer of a pretrained network has seen little
of a rarer language. What it does not know it spells.

    python -m tl_jax.data.tongues.tokens    # writes the tokenizer.json of this folder again
"""

from __future__ import annotations

from pathlib import Path
from string import ascii_lowercase

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tl_jax.data.tongues.pairs import TOKENIZER_FOLDER, pairs
from tl_jax.pretrained.tokenizer import TOKENIZER

END, TO = "<end>", "<to>"
"""Tokens 0 and 1: after a sentence, and between it and its translation."""

SIZE, PAIRS = 512, 4000


def make(folder: Path) -> Path:
    """Learns the tokenizer and writes folder/tokenizer.json."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE,
        special_tokens=[END, TO],
        initial_alphabet=[*ascii_lowercase, "."],
        show_progress=False,
    )
    made.train_from_iterator([text for pair in pairs("lowland", PAIRS, "train", 0) for text in pair], trainer)
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / TOKENIZER))
    return folder / TOKENIZER


if __name__ == "__main__":
    print(make(TOKENIZER_FOLDER))
