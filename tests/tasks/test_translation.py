"""Translation as a task: a loss on the target alone, in which every token has the same say."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU

from tl_jax import schema
from tl_jax.config import complete
from tl_jax.evaluation.translations import COLUMNS, FORESEEN
from tl_jax.tasks import Translation
from tl_jax.text_table import comma_separated

SETTINGS = SimpleNamespace(bootstrap=20, seed=0)
PLAIN = SimpleNamespace(label_smoothing=0.0)
NAMES, ONES, WORDS = ("target",), jnp.ones(1), 7


def labels(n: int = 12, width: int = 9, seed: int = 0) -> np.ndarray:
    """(n, width) int32: a target of 1 to 5 tokens behind a source of 1 to 4."""
    random = np.random.default_rng(seed)
    found = np.full((n, width), -1, np.int32)
    for row in found:
        start, length = random.integers(0, width - 5), random.integers(1, 6)
        row[start : start + length] = random.integers(0, WORDS, length)
    return found


def outputs(n: int = 12, width: int = 9) -> jax.Array:
    return jax.random.normal(jax.random.key(0), (n, width, WORDS))


def judged(n: int = 12) -> tuple[np.ndarray, list[str], list[str]]:
    """What a run ends with, and the texts behind it."""
    task, truth = Translation(), labels(n)
    random = np.random.default_rng(1)
    references = [" ".join(random.choice(list("abcdef"), 6)) for _ in range(n)]
    written = [text if i % 3 else text[:-1] + "x" for i, text in enumerate(references)]
    scores = np.asarray(task.scored(outputs(n), jnp.asarray(truth)))
    return task.with_texts(scores, written, references), written, references


def test_the_loss_is_the_mean_over_tokens_of_a_batch_like_the_training_set():
    truth, logits = labels(), outputs()
    task = Translation().fitted(truth, PLAIN)
    chances, there = jax.nn.log_softmax(logits), truth >= 0
    wanted = -np.asarray(jnp.take_along_axis(chances, jnp.asarray(truth)[..., None], -1))[..., 0][
        there
    ].mean()
    np.testing.assert_allclose(task.loss(logits, task.targets(truth, 1, 0.0), ONES), wanted, rtol=1e-6)


def test_micro_batches_add_up():
    truth, logits = jnp.asarray(labels()), outputs()
    task = Translation().fitted(np.asarray(truth), PLAIN)
    parts = [task.loss(logits[i : i + 4], truth[i : i + 4], ONES) for i in range(0, 12, 4)]
    np.testing.assert_allclose(task.loss(logits, truth, ONES), np.mean(parts), rtol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_sources_and_padding_teach_nothing(smoothing):
    truth = labels()
    task = Translation().fitted(truth, SimpleNamespace(label_smoothing=smoothing))
    gradient = jax.grad(lambda x: task.loss(x, jnp.asarray(truth), ONES))(outputs())
    assert (np.asarray(gradient)[truth < 0] == 0).all()
    assert (np.abs(np.asarray(gradient)[truth >= 0]).sum(axis=1) > 0).all()


def test_a_batch_that_is_cut_shorter_than_its_labels_is_the_same():
    """Batches of texts are cut to a few widths, labels are not."""
    truth = labels(width=6)
    padded = np.pad(truth, ((0, 0), (0, 3)), constant_values=-1)
    task, logits = Translation().fitted(truth, PLAIN), outputs(width=6)
    assert task.loss(logits, jnp.asarray(padded), ONES) == task.loss(logits, jnp.asarray(truth), ONES)
    np.testing.assert_array_equal(task.scored(logits, jnp.asarray(padded)), task.scored(logits, truth))


def test_smoothing_spreads_over_the_vocabulary():
    truth, logits = labels(), outputs()
    task = Translation().fitted(truth, SimpleNamespace(label_smoothing=0.2))
    spread = 0.8 * jax.nn.one_hot(truth, WORDS) + 0.2 / WORDS
    each = -np.asarray((spread * jax.nn.log_softmax(logits)).sum(-1))
    np.testing.assert_allclose(task.loss(logits, truth, ONES), each[truth >= 0].mean(), rtol=1e-6)


def test_what_validation_looks_at():
    truth, task = labels(), Translation()
    scores = np.asarray(task.scored(outputs(), jnp.asarray(truth)))
    assert scores.shape == (12, task.width(1)) == (12, len(FORESEEN))
    found = task.quick(scores, truth, SETTINGS, NAMES)
    assert found.keys() == task.better.keys() == set(schema.METRICS["translation"])
    assert found["nll"] == pytest.approx(
        float(Translation().fitted(truth, PLAIN).loss(outputs(), truth, ONES))
    )
    right = np.asarray(outputs().argmax(-1))[truth >= 0] == truth[truth >= 0]
    assert found["token_accuracy"] == pytest.approx(right.mean())
    nothing = task.quick(np.full((4, 3), np.nan), truth[:4], SETTINGS, NAMES)
    assert set(nothing.values()) == {None}


def test_tasks_are_values():
    one, other = (Translation().fitted(labels(), PLAIN) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)


def test_measures_have_intervals_and_go_through_json():
    logits, written, references = judged(30)
    found = Translation().measure(
        logits, labels(30), np.arange(30) // 2, names=NAMES, decision=None, settings=SETTINGS
    )
    assert json.loads(json.dumps(found)) == found
    assert (found["n"], found["n_groups"]) == (30, 15)
    assert found["bleu"]["value"] == pytest.approx(BLEU().corpus_score(written, [references]).score)
    assert found["exact_match"]["value"] == pytest.approx(20 / 30)
    assert found["length_ratio"]["value"] == 1
    for name in ("bleu", "exact_match", "nll", "token_accuracy"):
        assert found[name]["low"] < found[name]["value"] < found[name]["high"]
    table = Translation().table(found)
    assert "BLEU" in table
    assert found["bleu_signature"] in table


def test_texts_too_short_for_bleu_are_told_of():
    task, truth = Translation(), labels()
    scores = np.asarray(task.scored(outputs(), jnp.asarray(truth)))
    logits = task.with_texts(scores, ["a b c"] * 12, ["a b c"] * 12)
    found = task.measure(logits, truth, np.arange(12), names=NAMES, decision=None, settings=SETTINGS)
    assert found["bleu"]["value"] == 0
    assert "has 4 tokens, and BLEU is 0 then" in found["bleu"]["note"]
    assert found["exact_match"]["value"] == 1


def test_the_sample_itself_is_a_replicate():
    logits, *_ = judged(30)
    weights = np.random.default_rng(5).integers(0, 3, 30)
    rows = np.repeat(np.arange(30), weights)
    one, _ = Translation().statistics(logits, labels(30), None)(weights[:, None].astype(float))
    other, _ = Translation().statistics(logits[rows], labels(30)[rows], None)(np.ones((len(rows), 1)))
    for measure in one:
        np.testing.assert_allclose(one[measure], other[measure], rtol=1e-9, err_msg=measure)


def test_predictions_are_read_as_they_were_written():
    task, (logits, *_) = Translation(), judged()
    columns = task.answers(logits, None, NAMES)
    assert list(columns) == list(COLUMNS)
    text = comma_separated(zip(*columns.values(), strict=True))
    rows = [["id", "group", *line.split(",")] for line in text.splitlines()]
    np.testing.assert_allclose(task.read(rows, NAMES)[1], logits, rtol=1e-5)


def test_runs_of_parts_are_measured_together():
    task, (logits, *_) = Translation(), judged()
    together, decision = task.joined([logits[:5], logits[5:]], [task.decision({})] * 2)
    np.testing.assert_array_equal(together, logits)
    assert task.decision(decision.to_dict()) == decision


def test_what_measures_is_missed_before_anything_is_trained(monkeypatch):
    given = dict(
        task="translation", stages=[dict(name="all")], data=dict(root="x"), model=dict(pretrained="x")
    )
    config = complete(given)
    assert Translation().problems(config, ()) == []
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics.bleu", None)
    (told,) = Translation().problems(config, ())
    assert "pip install 'tl_jax[translation]'" in told
