"""What is written, against `generate` of torch transformers on the same random weights."""

from __future__ import annotations

import json
from functools import partial

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.backbones.parity import filled
from tests.generation import models
from tl_jax.backbones.text import PADDING
from tl_jax.generation import generate

torch = pytest.importorskip("torch", reason="parity compares with torch: pip install -e '.[reference]'")
pytestmark = pytest.mark.slow

END, NEW = 33, 20
LENGTHS = (9, 1, 4, 6)


@pytest.fixture(scope="module")
def theirs():
    from tests.fixtures import reference

    facts = dict(vocab_size=60, n_positions=48, n_embd=32, n_layer=3, n_head=4, tie_word_embeddings=False)
    return reference.model("GPT2LMHeadModel", {**facts, "eos_token_id": END, "pad_token_id": END}, seed=1)


@pytest.mark.parametrize(
    ("beams", "penalty"), [(1, 1.0), (4, 1.0), (4, 0.0), (4, 2.0), (3, 0.6)], ids=lambda value: str(value)
)
def test_the_same_texts(theirs, beams, penalty, tmp_path):
    theirs.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    ours = filled({**config, "pooling": "each"}, load_file(tmp_path / "model.safetensors"))
    prompts = models.prompts(LENGTHS, words=60)
    how = dict(end=END, new=NEW, beams=beams, penalty=penalty)
    found = np.asarray(jax.jit(partial(generate, ours, **how))(prompts))
    ended = 0
    for row, length in enumerate(LENGTHS):
        prompt = torch.from_numpy(prompts[row : row + 1, :length].astype(np.int64))
        wanted = theirs.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=NEW,
            do_sample=False,
            num_beams=beams,
            length_penalty=penalty,
        )[0, length:].tolist()
        assert found[row][found[row] != PADDING].tolist() == wanted
        ended += wanted[-1] == END
    assert ended or penalty > 1, "no text came to its end: the rules of ending are not looked at"
