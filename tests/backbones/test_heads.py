"""Heads with hidden layers, one sigmoid unit for two classes, and the names of their arrays."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax import backbones
from tl_jax.backbones import heads
from tl_jax.backbones.anatomy import set_mode, split
from tl_jax.backbones.hf_config import ConfigError
from tl_jax.pretrained.initial import keys
from tl_jax.pretrained.rules import to_ours, to_theirs
from tl_jax.tasks import Classification

RESNET = dict(model_type="resnet", layer_type="basic", embedding_size=4, hidden_sizes=(4, 8), depths=(1, 1))
MLP: dict[str, Any] = dict(name="mlp", sizes=(16, 12), act="relu", dropout=0.5, output="softmax")


def head(outputs: int = 3, dropout: float = 0.0, **changes: Any) -> heads.Perceptron:
    facts = heads.described(**{**MLP, **changes})
    assert facts is not None
    return heads.build(facts, 8, outputs, dropout=dropout, rngs=keys(0))


def test_the_linear_head_needs_no_description() -> None:
    assert heads.described(**{**MLP, "name": "linear"}) is None
    sigmoid = heads.described(**{**MLP, "name": "linear", "output": "sigmoid"})
    assert sigmoid is not None
    assert sigmoid["sizes"] == []


def test_hidden_layers_by_hand() -> None:
    made, x = head(), np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    _, params, _ = split(made)
    wanted = x
    for i in range(2):
        wanted = np.maximum(wanted @ params[f"hidden/{i}/kernel"] + params[f"hidden/{i}/bias"][None], 0)
    wanted = wanted @ params["linear/kernel"] + params["linear/bias"][None]
    set_mode(made, dropout=False, batch_statistics=False)
    np.testing.assert_allclose(made(x), wanted, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(made(x, key=jax.random.key(0)), made(x))


@pytest.mark.parametrize("rates", [dict(dropout=0.5), dict(dropout=0.0)])
def test_what_is_dropped_is_a_function_of_the_key(rates: dict[str, float]) -> None:
    x = jnp.ones((5, 8))
    made = heads.build(heads.described(**{**MLP, **rates}), 8, 3, dropout=0.5, rngs=keys(0))  # type: ignore[arg-type]
    one, again, other = (made(x, key=jax.random.key(i)) for i in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_one_unit_is_trained_by_binary_cross_entropy() -> None:
    """Of its sigmoid p: the mean of -log p where the second class is right, and of -log (1 - p) elsewhere."""
    made = head(2, output="sigmoid", dropout=0.0)
    assert made.linear.out_features == 1
    set_mode(made, dropout=False, batch_statistics=False)
    logits = np.asarray(made(3 * jax.random.normal(jax.random.key(0), (6, 8))))
    labels, weights = np.array([0, 1, 1, 0, 1, 0]), np.array([1.0, 2.5])
    assert logits.shape == (6, 2)
    p = 1 / (1 + np.exp(-logits[:, 1].astype(np.float64)))
    np.testing.assert_allclose(jax.nn.softmax(logits), np.stack([1 - p, p], axis=1), rtol=1e-5)
    each = -np.where(labels == 1, np.log(p), np.log(1 - p))
    task = Classification()
    found = task.loss(jnp.asarray(logits), task.targets(labels, 2), jnp.asarray(weights))
    np.testing.assert_allclose(found, np.mean(weights[labels] * each), rtol=1e-5)


def test_one_unit_does_not_tell_three_classes_apart() -> None:
    with pytest.raises(ConfigError, match=r"tells two classes apart, not 3.*model\.head\.output"):
        head(3, output="sigmoid")


def test_every_problem_of_a_description_in_one_error() -> None:
    facts = {"sizes": [0], "act": "rely", "dropout": 1.0, "output": "max"}
    with pytest.raises(ConfigError) as error:
        heads.build(facts, 8, 2, dropout=0.0, rngs=keys(0))
    for text in ("sizes=[0]", "'rely'", "dropout=1.0", "output='max'"):
        assert text in str(error.value)


def test_its_arrays_have_names_of_our_own() -> None:
    config = {**RESNET, heads.HEAD: heads.described(**{**MLP, "output": "sigmoid"})}
    model = backbones.build(config, outputs=2, rngs=keys(0))
    leaves = {path: np.asarray(leaf) for part in split(model)[1:] for path, leaf in part.items()}
    table = backbones.table(model.spec.config)
    arrays = to_theirs(leaves, table)
    names = {name: array.shape for name, array in arrays.items() if name.startswith(heads.HEAD)}
    assert names == {
        "tl_jax_head.hidden.0.weight": (16, 8),
        "tl_jax_head.hidden.0.bias": (16,),
        "tl_jax_head.hidden.1.weight": (12, 16),
        "tl_jax_head.hidden.1.bias": (12,),
        "tl_jax_head.linear.weight": (1, 12),
        "tl_jax_head.linear.bias": (1,),
    }
    assert not [name for name in arrays if name.startswith("classifier")]
    back = to_ours({**arrays, "classifier.1.weight": np.zeros((9, 8), np.float32)}, table, leaves)
    assert back.ignored["classifier.1.weight"].startswith("the head of this network")
    np.testing.assert_array_equal(back.leaves["head/hidden/1/kernel"], leaves["head/hidden/1/kernel"])
    plain = backbones.table(RESNET)
    fresh = dict.fromkeys(("head/linear/kernel", "head/linear/bias"), "another")
    linear = {path: leaf for path, leaf in leaves.items() if not path.startswith("head/hidden")}
    assert set(names) <= set(to_ours(arrays, plain, linear, fresh=fresh).ignored)
