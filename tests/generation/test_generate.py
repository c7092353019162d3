"""Decoding with a cache, against decoding without one, against every text there is, and row by row."""

from __future__ import annotations

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.generation import models
from tl_jax.backbones.text import PADDING
from tl_jax.generation import generate
from tl_jax.generation.begin import begin, step

END = 15


def decoded(model, prompts, **how) -> np.ndarray:
    return np.asarray(jax.jit(partial(generate, model, end=END, **how))(prompts))


def scores(model, prompt: np.ndarray, texts: list[tuple[int, ...]], penalty: float) -> np.ndarray:
    """Of texts after a prompt (n,), by the network without a cache."""
    longest = len(prompt) + max(map(len, texts))
    whole = np.full((len(texts), longest), PADDING, np.int32)
    for row, text in zip(whole, texts, strict=True):
        row[: len(prompt) + len(text)] = [*prompt, *text]
    chances = np.asarray(jax.jit(lambda tokens: jax.nn.log_softmax(model(tokens)))(whole))
    sums = [
        sum(row[len(prompt) - 1 + i, token] for i, token in enumerate(text)) / len(text) ** penalty
        for row, text in zip(chances, texts, strict=True)
    ]
    return np.array(sums)


def test_the_cache_gives_the_logits_of_the_whole_text():
    """Prompts of several lengths, then tokens one by one."""
    model, lengths = models.model(), (7, 1, 4)
    prompts, more = models.prompts(lengths), models.prompts((5, 5, 5), seed=1)
    begun = jax.jit(partial(begin, model, new=5))(prompts)
    step_on, forward = jax.jit(partial(step, model)), jax.jit(model)
    found, cache = [begun.logits], begun.cache
    for at in range(5):
        logits, cache = step_on(more[:, at], cache, begun.lengths + at)
        found.append(logits)
    for row, length in enumerate(lengths):
        whole = np.concatenate([prompts[row, :length], more[row], [PADDING] * (7 - length)])
        wanted = forward(whole[None].astype(np.int32))[0, length - 1 : length + 5]
        np.testing.assert_allclose(np.stack(found)[:, row], wanted, rtol=1e-5, atol=1e-5)


def test_greedy_is_the_most_likely_token_again_and_again():
    model, lengths, new = models.model(), (7, 1, 4, 2), 12
    prompts = models.prompts(lengths)
    found = decoded(model, prompts, new=new)
    assert (found == END).any()
    forward = jax.jit(model)
    for row, length in enumerate(lengths):
        text = prompts[row, :length].tolist()
        while len(text) < length + new and END not in text[length:]:
            padded = jnp.asarray([text + [PADDING] * (length + new - len(text))], jnp.int32)
            text.append(int(forward(padded)[0, len(text) - 1].argmax()))
        rest = [PADDING] * (length + new - len(text))
        assert found[row].tolist() == text[length:] + rest


def test_one_beam_is_greedy():
    from tl_jax.generation.beam import beam

    model, prompts = models.model(2), models.prompts((7, 1, 4, 2, 9))
    search = jax.jit(partial(beam, model, end=END, new=10, beams=1))
    np.testing.assert_array_equal(search(prompts), decoded(model, prompts, new=10))


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
def test_with_a_beam_for_every_text_the_best_of_all_texts_is_found(penalty):
    words, new, end = 4, 3, 2
    model = models.model(3, vocab_size=words)
    prompts = models.prompts((3, 1, 2), words=words)
    search = jax.jit(partial(generate, model, end=end, new=new, beams=words**new, penalty=penalty))
    found = np.asarray(search(prompts))
    every = itertools.product(range(words), repeat=new)
    texts = sorted({text[: text.index(end) + 1] if end in text else text for text in every})
    for row, length in enumerate((3, 1, 2)):
        best = texts[scores(model, prompts[row, :length], texts, penalty).argmax()]
        assert found[row][found[row] != PADDING].tolist() == list(best)


@pytest.mark.parametrize("beams", [1, 3])
def test_rows_do_not_know_of_each_other(beams):
    """Nor of how far they are padded."""
    model, lengths = models.model(4), (7, 1, 4, 2)
    prompts = models.prompts(lengths)
    together = decoded(model, prompts, new=10, beams=beams)
    padded = np.pad(prompts, ((0, 0), (0, 3)), constant_values=PADDING)
    np.testing.assert_array_equal(decoded(model, padded, new=10, beams=beams), together)
    for row, length in ((0, 7), (3, 2)):
        alone = decoded(model, prompts[row : row + 1, :length], new=10, beams=beams)
        np.testing.assert_array_equal(alone[0], together[row])


def test_more_beams_find_texts_that_are_no_worse():
    model, lengths = models.model(5), (7, 1, 4, 2)
    prompts = models.prompts(lengths)

    def found(beams: int) -> list[float]:
        texts = decoded(model, prompts, new=6, beams=beams, penalty=0.0)
        written = [tuple(row[row != PADDING].tolist()) for row in texts]
        return [scores(model, prompts[i, :n], [written[i]], 0.0)[0] for i, n in enumerate(lengths)]

    one, eight = found(1), found(8)
    assert all(b >= a - 1e-5 for a, b in zip(one, eight, strict=True))
    assert sum(eight) > sum(one) + 0.1


def test_what_the_network_cannot_hold_is_refused():
    model = models.model()
    with pytest.raises(ValueError, match="the network reads 40: ask for 1 to 33 new ones"):
        generate(model, jnp.asarray(models.prompts((7,))), end=END, new=34)
    classifier = models.model(pooling="last")
    with pytest.raises(ValueError, match="pooling='each'"):
        generate(classifier, jnp.asarray(models.prompts((7,))), end=END, new=3)
