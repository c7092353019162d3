"""What a seed draws, and what another one would have drawn."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from tests import fixtures, tiny
from tl_jax import pretrained
from tl_jax.backbones.anatomy import split
from tl_jax.pretrained.initial import keys

FOLDER = Path(fixtures.__file__).parent


def leaves(model):
    _, params, stats = split(model)
    return {**params, **stats}


@pytest.mark.parametrize("name", ["vit", "resnet-basic"])
def test_a_head_as_other_seeds_draw_it(name):
    made = {
        seed: pretrained.load(FOLDER / name, num_classes=5, image_size=32, dropout=0.5, seed=seed)
        for seed in (0, 3)
    }
    anew = [entry.path for entry in made[0][1].initialised]
    assert {path.partition("/")[0] for path in anew} == {"head"}
    same, other = pretrained.redrawn(made[0][0], anew, [0, 3])
    assert set(same) == set(anew)
    for path in anew:
        np.testing.assert_array_equal(same[path], leaves(made[0][0])[path])
        np.testing.assert_array_equal(other[path], leaves(made[3][0])[path])
    assert any(not np.array_equal(same[path], other[path]) for path in anew)


def test_a_gray_network_from_scratch():
    """All of it, with a stem of one channel and positions for another size."""
    arch = dict(tiny.VIT, num_hidden_layers=1)
    model, _ = pretrained.scratch(arch, num_classes=3, image_size=16, channels=1, seed=0)
    wanted, _ = pretrained.scratch(arch, num_classes=3, image_size=16, channels=1, seed=7)
    (found,) = pretrained.redrawn(model, list(leaves(model)), [7])
    for path, leaf in leaves(wanted).items():
        np.testing.assert_allclose(found[path], leaf, rtol=1e-6, atol=1e-7)


def test_keys_are_those_of_flax():
    ours, theirs, of_key = keys(3), nnx.Rngs(3), keys(jax.random.key(3))
    for _ in range(3):
        wanted = jax.random.key_data(theirs())
        np.testing.assert_array_equal(jax.random.key_data(ours()), wanted)
        np.testing.assert_array_equal(jax.random.key_data(of_key()), wanted)
