"""Heat maps against a plain implementation in torch, on the small models of tests/fixtures.

Needs torch (extra ``reference``).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.backbones.parity import filled
from tl_jax import tasks
from tl_jax.evaluation import grad_cam
from tl_jax.evaluation.grad_cam import WAYS, Cut
from tl_jax.forward import Recipe
from tl_jax.inputs import Pictures

torch = pytest.importorskip("torch", reason="parity compares with torch: pip install -e '.[reference]'")
pytestmark = pytest.mark.slow

FIXTURES = Path(__file__).parents[1] / "fixtures"
SIZE = 64


def _theirs(
    network: Any, block: Any, grid: tuple[int, int] | None, pixels: Any, classes: Any, way: str
) -> Any:
    """Maps (n, h, w), by a hook on what goes into a block, or comes out of it where ``grid`` is None."""
    kept: dict[str, Any] = {}

    def keep(value: Any) -> None:
        kept["x"] = value
        value.retain_grad()

    if grid is None:
        handle = block.register_forward_hook(lambda module, given, made: keep(made))
    else:
        handle = block.register_forward_pre_hook(lambda module, given: keep(given[0]))
    logits = network(pixels).logits
    handle.remove()
    own = logits.gather(1, classes[:, None])[:, 0]
    others = logits.scatter(1, classes[:, None], -torch.inf).logsumexp(dim=1)
    (own - others).sum().backward()
    values, slopes = kept["x"].detach(), kept["x"].grad
    if grid is not None:  # (n, tokens, c), one token before the patches
        shape = (len(values), *grid, values.shape[-1])
        values, slopes = (x[:, 1:].reshape(shape).permute(0, 3, 1, 2) for x in (values, slopes))
    if way == "averaged":
        slopes = slopes.mean(dim=(2, 3), keepdim=True)
    elif way == "relative":
        values = values - values.mean(dim=(2, 3), keepdim=True)
    return torch.relu((values * slopes).sum(dim=1)).numpy()


@pytest.mark.parametrize("name", ["resnet-basic", "vit", "convnext"])
def test_the_same_maps(name: str) -> None:
    import transformers

    folder = FIXTURES / name
    network = transformers.AutoModelForImageClassification.from_pretrained(folder, dtype=torch.float32).eval()
    config, arrays = json.loads((folder / "config.json").read_text()), load_file(folder / "model.safetensors")
    size = config.get("image_size", SIZE)
    model = filled(config, arrays)
    outputs = model.head.linear.out_features
    mean, std = (0.5,) * model.spec.channels, (0.25,) * model.spec.channels
    recipe = Recipe(tasks.find("classification"), outputs, Pictures(size, model.spec.channels, mean, std))
    images = np.random.default_rng(0).integers(0, 256, (5, size, size, model.spec.channels), dtype=np.uint8)
    classes = np.arange(5) % outputs

    pixels = torch.from_numpy(((images / 255 - 0.5) / 0.25).astype(np.float32).transpose(0, 3, 1, 2).copy())
    base = network.base_model
    if name == "vit":
        block, grid, blocks = base.layers[-1], model.grid, len(model.blocks) - 1
    else:
        block, grid, blocks = base.encoder.stages[-1].layers[-1], None, len(model.blocks)
    for way in WAYS if name != "vit" else ("relative", "averaged"):
        theirs = _theirs(network, block, grid, pixels, torch.from_numpy(classes), way)
        wanted = grad_cam.enlarged(theirs, model.spec, blocks, size)
        found = grad_cam.heatmaps(model, recipe, images, classes, cut=Cut(blocks, way))
        assert wanted.max() == 1
        np.testing.assert_allclose(found, wanted, atol=2e-3, err_msg=way)
