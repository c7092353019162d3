"""What is frozen is not differentiated: by XLA's own count of the compiled steps of both families."""

from __future__ import annotations

import itertools

import pytest

from tests import tiny
from tl_jax import programs
from tl_jax.config import complete
from tl_jax.job import prepare

pytestmark = pytest.mark.slow  # test_step has the same of fewer presets

RESNET = {**tiny.ARCH, "embedding_size": 8, "hidden_sizes": [16, 24], "depths": [2, 2]}
VIT = {**tiny.VIT, "hidden_size": 32, "intermediate_size": 64, "patch_size": 4}
CHAINS = {
    # Less and less is trained, from step to step by one block or, at the ends, by stem and neck.
    "resnet": ("all", "level 1", "last 3", "level 2", "last 1", "head"),
    "vit": ("all", "last 4", "last 3", "level 3", "last 1", "head"),
}
EVERY = ("norms", "biases")
"""They train something in every block, so everything is passed through backwards, but no kernel's gradient
is taken."""


@pytest.fixture(scope="module", params=CHAINS)
def costs(request, tmp_path_factory):
    """The cost of a step under each preset, with clipping, norms, weight decay and averages on."""
    folder = tiny.make_folder(tmp_path_factory.mktemp("pictures"))
    presets = (*CHAINS[request.param], *EVERY)
    settings = tiny.config(
        folder,
        model=dict(arch=dict(resnet=RESNET, vit=VIT)[request.param]),
        augment={},
        ema=0.9,
        stages=[
            dict(name=preset, train=preset, duration="1 epochs", clip=1.0, weight_decay=0.1)
            for preset in presets
        ],
    )
    job = prepare(complete(settings), lambda line: None)
    return request.param, {preset: programs.cost(job, i, None) for i, preset in enumerate(presets)}


def test_each_block_that_freezes_saves_its_gradients(costs):
    family, found = costs
    steps = [found[preset].step for preset in CHAINS[family]]
    assert all(more > less for more, less in itertools.pairwise(steps)), steps
    assert len({round(cost.forward) for cost in found.values()}) == 1


def test_the_last_block_alone_is_far_cheaper_than_all(costs):
    _, found = costs
    forward, whole = found["all"].forward, found["all"].step
    # A backward pass is two forward passes: for the inputs, and for the weights.
    assert whole > 2.5 * forward
    # Of four blocks one, and a share of overhead that larger networks do not have.
    assert found["last 1"].backward < 0.45 * found["all"].backward


def test_a_step_of_the_head_is_a_forward_pass(costs):
    """Beyond it there are the gradient of one small matrix, and the update of it."""
    _, found = costs
    assert 0 <= found["head"].backward < 0.05 * found["head"].forward


@pytest.mark.parametrize("preset", EVERY)
def test_norms_and_biases_spare_the_gradients_of_kernels(costs, preset):
    _, found = costs
    assert found["head"].step < found[preset].step < 0.85 * found["all"].step


def test_optimiser_state_is_of_what_trains(costs):
    family, found = costs
    sizes = [found[preset].optimiser_bytes for preset in CHAINS[family]]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == len(sizes)
