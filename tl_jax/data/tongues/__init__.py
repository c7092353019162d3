"""A family of invented tongues, and pairs of sentences in them: a language pair that anybody may have.

Two of them are translated into the third, highland. Lowland is spoken by many, so that there are as many
pairs as one likes; valley by few. Valley is lowland's sister: of four stems three are lowland's own after
regular changes of sound, and the fourth is another word; the order of words and the endings are its own. What
a network has learned from lowland pairs is therefore of use for valley, as French pairs are for Uzbek ones in
Zoph et al. 2016, arXiv:1604.02201: the language that is written is the same, and what is read is related.
"""

from tl_jax.data.tongues.pairs import TOKENIZER_FOLDER, Pair, pairs, source

__all__ = ["TOKENIZER_FOLDER", "Pair", "pairs", "source"]
