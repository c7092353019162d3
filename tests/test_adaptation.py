"""Networks fitted to unlabelled examples: statistics, the aligned head, and what they are worth."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest
from flax import nnx

from tests import tiny
from tl_jax import adaptation, schema
from tl_jax.adaptation import Adapter
from tl_jax.backbones import heads
from tl_jax.backbones.anatomy import merge, set_mode, split
from tl_jax.data.shift import Shift
from tl_jax.finished import open_run
from tl_jax.pretrained.initial import keys
from tl_jax.runs import run

SHIFT = Shift("contrast", 3)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small ResNet that has learned something."""
    folder = tiny.make_folder(tmp_path_factory.mktemp("pictures"))
    workdir = tmp_path_factory.mktemp("runs") / "run"
    run(tiny.config(folder, stages=[dict(train="all", duration="60 steps", lr=1e-2)]), workdir)
    return open_run(workdir)


@pytest.fixture(scope="module")
def test(finished):
    return finished.data().test


def shifted(pictures):
    images = [SHIFT.corrupted(*one) for one in zip(pictures.images, pictures.ids, strict=True)]
    return replace(pictures, images=np.stack(images))


def in_batches_of(finished, size):
    config = finished.config.copy_and_resolve_references()
    config.evaluation.batch_size = size
    return replace(finished, config=config)


def test_statistics_are_those_of_the_examples(finished, test):
    """In one batch they are exactly what a pass in training mode normalises by."""
    whole = in_batches_of(finished, len(test))
    adapted = Adapter(whole, "batch_norm")(test)
    model = nnx.clone(whole.model)
    set_mode(model, dropout=False, batch_statistics=True)
    graph, params, stats = split(model)
    expected = merge(graph, params, stats)(whole.recipe.input.network(jax.numpy.asarray(test.images)))
    np.testing.assert_allclose(adapted.logits(test), expected, rtol=2e-3, atol=2e-4)
    _, before, _ = split(whole.model)
    _, after, _ = split(adapted.model)
    assert all((before[path] == after[path]).all() for path in before), "no parameter moves"


def test_batches_are_pooled(finished, test):
    """The first layer sees the same pixels in any batches: its statistics are those of all of them."""
    found = []
    for size in (len(test), 7):
        _, _, stats = split(Adapter(in_batches_of(finished, size), "batch_norm")(test).model)
        found.append({path: leaf for path, leaf in stats.items() if path.startswith("stem/")})
    assert found[0]
    for path, leaf in found[0].items():
        np.testing.assert_allclose(leaf, found[1][path], rtol=1e-4, atol=1e-5)


def test_aligned_features_have_the_sources_mean_and_covariance(finished, test):
    adapter, target = Adapter(finished, "coral"), shifted(test)
    features = adapter._read(target)
    source_mean, source = adapter._source
    mean, covariance = adaptation._moments(features)
    map_ = adaptation._power(covariance, -0.5) @ adaptation._power(source, 0.5)
    np.testing.assert_allclose(map_.T @ covariance @ map_, source, rtol=1e-6, atol=1e-9)
    aligned = (features - mean) @ map_ + source_mean
    head = finished.model.head.linear
    expected = aligned @ np.asarray(head.kernel[...]) + np.asarray(head.bias[...])
    np.testing.assert_allclose(adapter(target).logits(target), expected, rtol=1e-3, atol=1e-3)


def test_a_head_with_hidden_layers_is_aligned_before_the_first(finished, test):
    model = nnx.clone(finished.model)
    top = heads.described(name="mlp", sizes=(5, 3), act="gelu", dropout=0.0, output="sigmoid")
    model.head = heads.build(top, model.spec.features, 2, dropout=0.0, rngs=keys(0))
    adapter, target = Adapter(replace(finished, model=model), "coral"), shifted(test)
    source_mean, source = adapter._source
    features = adapter._read(target)
    mean, covariance = adaptation._moments(features)
    map_ = adaptation._power(covariance, -0.5) @ adaptation._power(source, 0.5)
    aligned = jax.numpy.asarray((features - mean) @ map_ + source_mean, jax.numpy.float32)
    np.testing.assert_allclose(adapter(target).logits(target), model.head(aligned), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("how", schema.ADAPTATIONS)
def test_less_is_lost(finished, test, how):
    """Under low contrast, which batch statistics undo."""
    target = shifted(test)

    def nll(run):
        logits = run.logits(target)
        logits = logits - logits.max(axis=1, keepdims=True)
        log = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return -log[np.arange(len(log)), target.labels].mean()

    assert nll(Adapter(finished, how)(target)) < nll(finished)


def test_what_cannot_be_fitted(finished, test):
    one = replace(
        test, ids=test.ids[:1], labels=test.labels[:1], groups=test.groups[:1], images=test.images[:1]
    )
    with pytest.raises(ValueError, match="1 picture has no variance"):
        Adapter(finished, "coral")(one)
    model = nnx.clone(finished.model)
    model.head = nnx.Linear(2, 2, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="coral becomes part of a head whose first layer has a bias"):
        Adapter(replace(finished, model=model), "coral")
