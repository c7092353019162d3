"""Features of all layers at once are those of each layer alone."""

from __future__ import annotations

import numpy as np
import pytest

from tests import tiny
from tl_jax.config import complete
from tl_jax.features import layer_function
from tl_jax.job import prepare
from tl_jax.lab import layers


@pytest.mark.parametrize("arch", [tiny.ARCH, tiny.VIT], ids=["resnet", "vit"])
def test_each_layer(arch, tmp_path):
    config = tiny.config(tiny.make_folder(tmp_path), model=dict(arch=arch), evaluation=dict(batch_size=8))
    job = prepare(complete(config), lambda line: None)
    val, test = layers.of_pictures(job, [job.data.val, job.data.test])
    assert list(val) == layers.names(job.model)
    assert len(test["neck"]) == len(job.data.test)
    images = job.data.val.images[:]
    for name, found in val.items():
        alone = layer_function(job.model, job.recipe, name, pool=True)(images)
        np.testing.assert_allclose(found, alone, atol=1e-5)
