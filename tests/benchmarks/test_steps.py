"""Both sides of `benchmarks.steps` do the same work, on networks of few layers. Needs torch (extra
``reference``)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from benchmarks import pairs
from benchmarks.models import MODELS
from benchmarks.sides import Side, SideError
from benchmarks.steps import Pair

ARCHS = {
    "resnet": dict(
        model_type="resnet", layer_type="basic", embedding_size=8, hidden_sizes=[8, 16], depths=[1, 2]
    ),
    "vit": dict(
        model_type="vit",
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
    ),
    "dinov2": dict(
        model_type="dinov2",
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        mlp_ratio=2,
        image_size=32,
        patch_size=8,
    ),
    "convnext": dict(model_type="convnext", hidden_sizes=[8, 16], depths=[1, 2], layer_scale_init_value=0.1),
    "bert": dict(
        model_type="bert",
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=12,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pooling="mean",
    ),
}
TOKENS = {"bert": 12}


@pytest.fixture(autouse=True)
def _threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHS)
def test_losses_agree_at_the_first_step_and_later(name: str) -> None:
    pytest.importorskip("torch", reason="one side is torch: pip install -e '.[reference]'")
    with Pair(ARCHS[name], {"all": 3, "half": 1}, batch=8, size=32, tokens=TOKENS.get(name, 0)) as pair:
        for part in ("all", "half", "forward"):
            pair.check(part)
            later = {side.call("take", 3) for side in pair.sides.values()}
            assert max(later) - min(later) < 1e-3


def test_other_weights_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = {"tl_jax": 0.7, "torch": 0.702}

    class Fake:
        def __init__(self, name: str) -> None:
            self.name = name

        def call(self, method: str, *arguments: Any) -> float:
            return losses[self.name]

    pair = object.__new__(Pair)
    sides: Mapping[str, Any] = {name: Fake(name) for name in losses}
    pair.sides = dict(sides)
    with pytest.raises(pairs.Different, match=r"'all'.* 0\.700000 of tl_jax, 0\.702000 of torch"):
        pair.check("all")
    losses["torch"] = float("nan")
    with pytest.raises(pairs.Different):
        pair.check("all")
    losses["torch"] = 0.7009
    pair.check("all")


@pytest.fixture
def side() -> Iterator[Side]:
    found = Side("adder", "tests.benchmarks.adder:Adder", 5)
    yield found
    found.close()


def test_a_side_is_another_process_that_answers(side: Side) -> None:
    assert side.call("add", 2) == 7
    assert side.call("pid") == side.pid != os.getpid()


def test_a_side_that_ends_is_an_error(side: Side) -> None:
    with pytest.raises(SideError, match="the process of adder ended with code 1"):
        side.call("add", "a word")


@pytest.mark.parametrize("name", MODELS)
def test_parts_are_parts(name: str) -> None:
    model = MODELS[name]
    assert model.blocks == model.trained("all") > model.trained("half") > model.trained("last") > 0
