"""The network in the package: small, loadable in one word, and in the layout that everybody reads."""

from __future__ import annotations

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import tl_jax
from tl_jax import pretrained

FOLDER = Path(pretrained.__file__).parent / "embedded"
MEGABYTES = 6


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= MEGABYTES * 2**20


def test_it_is_kept_in_half_precision_and_finite() -> None:
    arrays = safetensors.numpy.load_file(FOLDER / "model.safetensors")
    floats = {name: array for name, array in arrays.items() if array.dtype.kind == "f"}
    assert {array.dtype for array in floats.values()} == {np.dtype(np.float16)}
    assert all(np.isfinite(array).all() for array in floats.values())


def test_it_says_what_it_is() -> None:
    config = json.loads((FOLDER / "config.json").read_text(encoding="utf-8"))
    assert config["model_type"] == "resnet"
    assert len(config["id2label"]) == 80


def test_it_reads_gray_pictures_in_float32() -> None:
    model, report = tl_jax.load_pretrained("embedded", num_classes=2)
    logits = model(jnp.zeros((2, 96, 96, 1)))
    assert logits.shape == (2, 2)
    assert logits.dtype == jnp.float32
    assert report.source == "embedded"


@pytest.mark.slow
def test_it_knows_figures_it_has_never_seen() -> None:
    """Pictures beyond those of configs/pretrain.py, of another seed: eighty classes, so chance is 1.25 %."""
    from types import SimpleNamespace

    from tl_jax.data import figures

    model, _ = tl_jax.load_pretrained("embedded")
    facts = pretrained.inspect("embedded")
    names = [facts.config["id2label"][str(i)] for i in range(80)]
    table = figures.source(SimpleNamespace(name="256", split_seed=12345))
    images = np.stack([table.read(i, None) for i in range(256)]).astype(np.float32) / 255
    mean, std = (np.array(value, np.float32) for value in (facts.preprocess.mean, facts.preprocess.std))
    logits = model((images - mean) / std)
    found = [names[i] for i in np.asarray(logits).argmax(-1)]
    assert np.mean(np.array(found) == table.labels) > 0.25
