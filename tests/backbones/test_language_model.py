"""GPT-2 as a language model: words that are tied to the head, read, checked, and written."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from tests.backbones.test_contract import CONFIGS
from tests.generation import models
from tl_jax import backbones, pretrained
from tl_jax.backbones.anatomy import split
from tl_jax.backbones.heads import HEAD
from tl_jax.pretrained.errors import PretrainedError
from tl_jax.pretrained.initial import keys

FILE = "model.safetensors"


@pytest.fixture
def folder(tmp_path):
    """Of a model that is tied, as `transformers` writes one."""
    return pretrained.export(models.model(tie_word_embeddings=True), tmp_path / "lm", classes=())


def test_a_tied_head_has_no_weights_of_its_own(folder):
    model, report = pretrained.load(folder)
    assert model.spec.sequence
    assert not [path for path in split(model)[1] if path.startswith("head/")]
    assert not report.initialised
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["GPT2LMHeadModel"]
    assert "id2label" not in config
    assert not [name for name in load_file(folder / FILE) if "lm_head" in name]


def test_what_is_written_is_read_again(folder):
    tokens = models.prompts((9, 4))
    wanted = jax.jit(models.model(tie_word_embeddings=True))(tokens)
    found = jax.jit(pretrained.load(folder)[0])(tokens)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("same", [True, False])
def test_an_array_that_is_said_to_be_tied_must_be(folder, same):
    """Some files hold it twice."""
    arrays = load_file(folder / FILE)
    words = arrays["transformer.wte.weight"]
    save_file({**arrays, "lm_head.weight": words.copy() if same else words + 1}, folder / FILE)
    if same:
        assert [one.name for one in pretrained.load(folder)[1].ignored] == ["lm_head.weight"]
        return
    with pytest.raises(PretrainedError, match=r"'lm_head.weight' is to be the same as 'transformer.wte"):
        pretrained.load(folder)


def test_one_that_is_not_tied_has_a_kernel(tmp_path):
    model = models.model()
    folder = pretrained.export(model, tmp_path / "lm", classes=())
    kernel = split(model)[1]["head/linear/kernel"]
    np.testing.assert_array_equal(load_file(folder / FILE)["lm_head.weight"], np.asarray(kernel).T)
    found = split(pretrained.load(folder)[0])[1]
    np.testing.assert_array_equal(found["head/linear/kernel"], kernel)


def test_a_classifier_is_made_of_a_language_model_by_its_pooling(folder):
    model, report = pretrained.load(folder, pooling="last", num_classes=3)
    assert not model.spec.sequence
    assert model(models.prompts((9, 4))).shape == (2, 3)
    assert [one.path for one in report.initialised] == ["head/linear/kernel"]


def test_a_classifier_of_its_layout_is_written(tmp_path):
    """Its head has no bias."""
    model, _ = pretrained.scratch({**models.SIZES, "pooling": "last"}, num_classes=3)
    folder = pretrained.export(model, tmp_path / "c", classes=("x", "y", "z"))
    assert load_file(folder / FILE)["score.weight"].shape == (3, 16)
    with pytest.raises(PretrainedError, match="2 class names for a head of 3"):
        pretrained.export(model, tmp_path / "d", classes=("x", "y"))


def test_no_other_head_stands_on_a_language_model():
    head = dict(name="mlp", sizes=(8,), act="relu", dropout=0.0, output="softmax")
    with pytest.raises(PretrainedError, match="the head of a language model"):
        pretrained.scratch(models.SIZES, num_classes=3, top=pretrained.top.entries("", head))


def test_the_head_of_a_classifier_does_not_come_along(tmp_path):
    """A head of ours over a GPT-2 whose words are the head of the language model."""
    head = dict(name="mlp", sizes=(8,), act="relu", dropout=0.0, output="softmax")
    top = pretrained.top.entries("", head)
    arch = {**models.SIZES, "tie_word_embeddings": True, "pooling": "last"}
    classifier, _ = pretrained.scratch(arch, num_classes=3, top=top)
    folder = pretrained.export(classifier, tmp_path / "c", classes=("x", "y", "z"))
    model, report = pretrained.load(folder, pooling="each", num_classes=1)
    assert model.spec.sequence
    assert HEAD not in model.spec.config
    assert not report.initialised
    with pytest.raises(PretrainedError, match="the head of a language model"):
        pretrained.load(folder, pooling="each", num_classes=1, top=top)


@pytest.mark.parametrize("end", [None, [1, 2], -1, 40])
def test_a_config_without_one_end_of_text_still_builds(end):
    """A null, as transformers writes it, several ends, and what is no token: texts then have no end."""
    config = {**CONFIGS["gpt2 next word"], "eos_token_id": end}
    model = nnx.eval_shape(lambda: backbones.build(config, rngs=keys(0)))
    assert model.spec.text.end is None
