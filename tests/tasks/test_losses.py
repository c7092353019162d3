"""Losses against other people's, and weights."""

from __future__ import annotations

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.tasks import made
from tl_jax.tasks import MultiLabel, Regression


def test_findings_have_the_binary_cross_entropy_of_optax():
    truth = np.random.default_rng(0).integers(0, 2, (20, 3)).astype(np.float32)
    outputs = jnp.asarray(made.logits("multi_label", truth))
    expected = optax.sigmoid_binary_cross_entropy(outputs, truth).mean()
    np.testing.assert_allclose(MultiLabel().loss(outputs, truth, jnp.ones(3)), expected, rtol=1e-6)


def test_balanced_weights_give_presence_and_absence_the_same_say():
    truth = made.labels("multi_label")
    weights = MultiLabel().weights(SimpleNamespace(class_weights="balanced"), truth, made.NAMES)
    np.testing.assert_allclose(weights * (truth == 1).sum(axis=0), (truth == 0).sum(axis=0), rtol=1e-6)
    with pytest.raises(ValueError, match="2 numbers for 3 findings"):
        MultiLabel().weights(SimpleNamespace(class_weights=(1.0, 2.0)), truth, made.NAMES)


@pytest.mark.parametrize("delta", [0.5, 1.0, 3.0])
def test_numbers_have_the_huber_loss_of_optax(delta):
    truth = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    outputs = jnp.asarray(np.random.default_rng(1).normal(size=(20, 3)), jnp.float32)
    expected = optax.huber_loss(outputs, truth, delta=delta).mean()
    np.testing.assert_allclose(Regression(huber=delta).loss(outputs, truth, jnp.ones(3)), expected, rtol=1e-6)


def test_huber_with_a_wide_bound_is_the_squared_error():
    truth = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    outputs = jnp.asarray(truth + 1)
    ones = jnp.ones(3)
    np.testing.assert_allclose(
        Regression(huber=1e6).loss(outputs, truth, ones), Regression().loss(outputs, truth, ones), rtol=1e-6
    )
