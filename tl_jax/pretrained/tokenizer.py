"""The tokenizer that lies beside weights: ``tokenizer.json``, as the library `tokenizers` writes it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from tl_jax.pretrained.errors import PretrainedError

TOKENIZER = "tokenizer.json"
COMPANIONS = ("tokenizer_config.json", "special_tokens_map.json")
"""What transformers reads beside it, and tl_jax does not."""


class Tokenizer:
    """``path`` is a ``tokenizer.json``. Raises PretrainedError where it is not there, or cannot be used."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise PretrainedError(
                f"there is no {TOKENIZER} in {path.parent}, by which texts become tokens: set data.tokenizer "
                "to a folder or hub id that has one (AutoTokenizer of transformers writes it, by "
                "save_pretrained)"
            )
        import tokenizers

        self.path = path
        text = path.read_text(encoding="utf-8")
        self.digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        try:
            self._tokenizer = tokenizers.Tokenizer.from_str(text)
        except Exception as error:  # the library raises Exception itself
            raise PretrainedError(f"{path} is no tokenizer, or cut short: {error}") from error
        self._tokenizer.no_padding()  # which a file may ask for
        self.size = 1 + max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)

    @property
    def marks(self) -> int:
        """How many tokens mark the beginning and end of every text."""
        return self._tokenizer.num_special_tokens_to_add(False)

    def check(self, vocabulary: int, source: str) -> None:
        """Raises PretrainedError where tokens may come that the network, of this ``vocabulary``, lacks."""
        if self.size > vocabulary:
            raise PretrainedError(
                f"{self.path} knows {self.size:,} tokens, and the network of {source} has a vocabulary of "
                f"{vocabulary:,}: they do not belong together"
            )

    def encode(self, texts: Sequence[str], longest: int) -> tuple[list[list[int]], int]:
        """The tokens of each text, ``longest`` at the most with those that mark its beginning and end; and
        how many texts were cut for that, at their end."""
        self._tokenizer.enable_truncation(longest)
        found = self._tokenizer.encode_batch(list(texts))
        return [one.ids for one in found], sum(bool(one.overflowing) for one in found)

    def pieces(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text, all of them, without any that mark its beginning or end."""
        self._tokenizer.no_truncation()
        found = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [one.ids for one in found]

    def words(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """The text of each row of tokens, without special ones."""
        return [text.strip() for text in self._tokenizer.decode_batch([list(row) for row in rows])]
