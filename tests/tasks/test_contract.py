"""What every task promises, by being listed in `TASKS`; those of a language model in a file of their own."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.tasks import made
from tests.tasks.made import LOSS, NAMES, SETTINGS
from tl_jax import schema
from tl_jax.tasks import TASKS
from tl_jax.text_table import comma_separated

pytestmark = pytest.mark.parametrize("name", [name for name, task in TASKS.items() if not task.sequence])
ONES = jnp.ones(3)


def head(n: int, seed: int = 0) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), (n, 3))


def test_the_loss_is_a_mean_over_the_batch(name):
    """Or micro-batches would not add up."""
    task, truth, outputs = made.fitted(name), made.labels(name, 24), head(24)
    targets = task.targets(jnp.asarray(truth), 3, 0.1)
    assert targets.dtype == jnp.float32
    whole = task.loss(outputs, targets, ONES)
    parts = [task.loss(outputs[i : i + 8], targets[i : i + 8], ONES) for i in range(0, 24, 8)]
    np.testing.assert_allclose(whole, np.mean(parts), rtol=1e-6)


def test_what_is_missing_teaches_nothing(name):
    task, truth, outputs = made.fitted(name), made.labels(name, 24), head(24)
    targets = task.targets(jnp.asarray(truth), 3, 0.1)
    gradient = jax.grad(lambda x: task.loss(x, targets, ONES))(outputs)
    assert jnp.isfinite(gradient).all()
    if truth.ndim > 1:
        assert (np.asarray(gradient)[np.isnan(truth)] == 0).all()
        assert (np.asarray(gradient)[~np.isnan(truth)] != 0).all()


def test_learning_lowers_the_loss_to_what_is_true(name):
    task, truth = made.fitted(name), made.labels(name, 24)
    targets = task.targets(jnp.asarray(truth), 3, 0.0)
    outputs, slope = head(24), jax.jit(jax.grad(lambda x: task.loss(x, targets, ONES)))
    before = task.loss(outputs, targets, ONES)
    for _ in range(300):
        outputs = outputs - 20 * slope(outputs)
    assert task.loss(outputs, targets, ONES) < 0.05 * before
    answer = np.asarray(task.logits(outputs))
    if name == "classification":
        assert (answer.argmax(axis=1) == truth).all()
    elif name == "multi_label":
        assert ((answer > 0) == (truth == 1))[~np.isnan(truth)].all()
    else:
        np.testing.assert_allclose(answer[~np.isnan(truth)], truth[~np.isnan(truth)], rtol=1e-2, atol=1e-2)


def test_tasks_are_values(name):
    """Equal ones share compiled programs."""
    assert made.fitted(name) == made.fitted(name)
    assert hash(made.fitted(name)) == hash(made.fitted(name))


def test_what_training_looks_at_is_what_a_config_may_name(name):
    task = made.fitted(name)
    truth = made.labels(name)
    found = task.quick(made.logits(name, truth), truth, SETTINGS, NAMES)
    assert found.keys() == task.better.keys() == set(schema.METRICS[name])
    assert all(isinstance(value, float) for value in found.values())
    nothing = task.quick(np.full((4, 3), np.nan), made.labels(name, 4), SETTINGS, NAMES)
    assert set(nothing.values()) == {None}


def test_measures_and_decisions_go_through_json(name):
    task, truth = made.fitted(name), made.labels(name)
    logits = made.logits(name, truth)
    decision = task.decide(logits, truth, names=NAMES, settings=SETTINGS)
    assert task.decision(json.loads(json.dumps(decision.to_dict()))) == decision
    found = task.measure(logits, truth, np.arange(60) // 2, names=NAMES, decision=decision, settings=SETTINGS)
    assert json.loads(json.dumps(found)) == found
    assert list(found["per_class"]) == list(found["counts"]) == list(NAMES)
    assert (found["n"], found["n_groups"]) == (60, 30)
    assert found["interval"].startswith("95 %")
    table = task.table(found)
    assert all(one in table for one in NAMES)


def test_the_sample_itself_is_a_replicate(name):
    """Measures are one function of weights: two copies of an example are a weight of two."""
    task, truth = made.fitted(name), made.labels(name)
    logits = made.logits(name, truth)
    decision = task.decide(logits, truth, names=NAMES, settings=SETTINGS)
    weights = np.random.default_rng(5).integers(0, 3, 60)
    rows = np.repeat(np.arange(60), weights)
    one, _ = task.statistics(logits.astype(float), truth, decision)(weights[:, None].astype(float))
    other, _ = task.statistics(logits[rows].astype(float), truth[rows], decision)(np.ones((len(rows), 1)))
    assert one.keys() == other.keys()
    for measure in one:
        np.testing.assert_allclose(one[measure], other[measure], rtol=1e-9, err_msg=measure)


def test_predictions_are_read_as_they_were_written(name):
    task, truth = made.fitted(name), made.labels(name)
    logits = made.logits(name, truth)
    decision = task.decide(logits, truth, names=NAMES, settings=SETTINGS)
    columns = {**task.truth(truth, NAMES), **task.answers(logits, decision, NAMES)}
    text = comma_separated(zip(*columns.values(), strict=True))
    rows = [line.split(",") for line in text.splitlines()]
    labels, scores = task.read([["id", "group", *row] for row in rows], NAMES)
    np.testing.assert_allclose(labels, truth, rtol=1e-5)
    np.testing.assert_allclose(scores, logits, rtol=1e-5)


def test_runs_of_parts_are_measured_together(name):
    """Each example by the decision of its own run: of equal decisions nothing changes."""
    task, truth = made.fitted(name), made.labels(name)
    logits = made.logits(name, truth)
    decision = task.decide(logits, truth, names=NAMES, settings=SETTINGS)
    scores, joined = task.joined([logits[:20], logits[20:]], [decision, decision])

    def measured(values, by):
        return task.statistics(np.asarray(values, float), truth, by)(np.ones((60, 1)))[0]

    whole, parts = measured(logits, decision), measured(scores, joined)
    for measure in whole:
        if measure.endswith("_calibrated") or not hasattr(decision, "scale"):
            same = measure.removesuffix("_calibrated") if name == "multi_label" else measure
            if name == "multi_label" and same in ("nll", "brier", "ece"):
                continue  # joined logits are calibrated already
            np.testing.assert_allclose(parts[measure], whole[measure], rtol=1e-9, err_msg=measure)


def test_runs_asked_together_are_no_worse_than_their_mean(name):
    """Jensen's inequality: losses are convex in what is averaged. One run alone is itself."""
    task, truth = made.fitted(name), made.labels(name)
    logits = np.stack([made.logits(name, truth, seed) for seed in range(1, 5)]).astype(float)
    alone, together = task.together(logits[:1]), task.together(logits)
    assert alone is not None
    assert together is not None
    shift = (alone - logits[0]) - (alone - logits[0])[:, :1] * (name == "classification")
    np.testing.assert_allclose(shift, 0, atol=1e-9)  # softmax does not see what all logits have in common
    one_by_one = [task.validation_loss(one, truth) for one in logits]
    assert task.validation_loss(together, truth) < np.mean(one_by_one)


def test_words_for_people(name):
    task, truth = made.fitted(name), made.labels(name)
    logits = made.logits(name, truth)
    decision = task.decide(logits, truth, names=NAMES, settings=SETTINGS)
    targets = np.asarray(task.targets(jnp.asarray(truth), 3, 0.0))
    captions = [task.caption(target, NAMES) for target in targets]
    assert all(captions)
    assert "one" in task.summary(logits, decision, NAMES)
    assert set(task.pointed(logits, decision).tolist()) <= {0, 1, 2}


def test_a_head_goes_in_and_out(name):
    """What `outward` gives computes `logits`; `inward` takes it back."""
    task = made.fitted(name)
    random = np.random.default_rng(0)
    leaves = {
        "head/linear/kernel": random.normal(size=(5, 3)).astype(np.float32),
        "head/linear/bias": random.normal(size=3).astype(np.float32),
    }
    features = random.normal(size=(7, 5)).astype(np.float32)

    def outputs(own):
        return features @ own["head/linear/kernel"] + own["head/linear/bias"][None]

    out = task.outward(leaves)
    np.testing.assert_allclose(outputs(out), task.logits(outputs(leaves)), rtol=1e-4, atol=1e-4)
    back = task.inward(out)
    for path, leaf in leaves.items():
        np.testing.assert_allclose(back[path], leaf, rtol=1e-4, atol=1e-4)


def test_weights_are_as_many_as_names(name):
    assert (made.fitted(name).weights(LOSS, made.labels(name), NAMES) == 1).all()
