"""The lower part of pretrained weights is kept to the bit; what lies above is what a new network has."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.pretrained import folders
from tl_jax import pretrained
from tl_jax.pretrained import PretrainedError

BLOCKS = {"vit": 3, "resnet-basic": 3, "convnext": 3}


def load(name: str, **options):
    return pretrained.load(folders.FIXTURES / name, num_classes=2, seed=3, **options)


def fresh(name: str):
    """The same network from scratch, with the same seed."""
    arch = json.loads((folders.FIXTURES / name / "config.json").read_text())
    return pretrained.scratch(arch, num_classes=2, seed=3)[0]


@pytest.mark.parametrize(
    ("name", "keep", "depth"),
    [
        *((name, "none", -1) for name in BLOCKS),
        *((name, "stem", 0) for name in BLOCKS),
        *((name, "first 1", 1) for name in BLOCKS),
        *((name, f"first {n}", n) for name, n in BLOCKS.items()),
    ],
)
def test_what_lies_above_is_new_and_what_lies_below_is_the_files(name: str, keep: str, depth: int) -> None:
    model, report = load(name, keep=keep)
    assert len(model.blocks) == BLOCKS[name]
    whole, new, found = (folders.leaves(one) for one in (load(name)[0], fresh(name), model))
    assert found.keys() == new.keys()
    for path, leaf in found.items():
        kept = model.depth(path) <= depth
        if kept:
            np.testing.assert_array_equal(leaf, whole[path], err_msg=path)
        else:  # a compiled program may round otherwise
            np.testing.assert_allclose(leaf, new[path], rtol=1e-6, atol=1e-8, err_msg=path)
        assert (path in report.loaded_paths) == kept
    why = {entry.why for entry in report.initialised}
    assert why == ({"model.keep='none'"} if depth < 0 else {f"above what model.keep={keep!r} keeps"})
    assert all(f"model.keep={keep!r}" in entry.why for entry in report.ignored if "batches" not in entry.name)


def test_statistics_of_batch_norm_are_new_with_their_block() -> None:
    model, report = load("resnet-basic", keep="first 2")
    new = {entry.path for entry in report.initialised}
    means = {path: leaf for path, leaf in folders.leaves(model).items() if path.endswith("/mean")}
    assert {path.split("/")[1] for path in means if path in new} == {"2"}
    assert {path for path in means if path not in new} >= {"stem/layer/norm/mean"}
    assert all((path in new) == (not leaf.any()) for path, leaf in means.items())


def test_all_of_it_is_the_default() -> None:
    for name in BLOCKS:
        folders.assert_same(load(name, keep="all")[0], load(name)[0])
        assert {entry.path.split("/")[0] for entry in load(name)[1].initialised} == {"head"}


def test_a_head_of_the_same_classes_is_new_too() -> None:
    _, report = pretrained.load(folders.FIXTURES / "vit", keep="first 3")
    assert {entry.path.split("/")[0] for entry in report.initialised} == {"neck", "head"}


@pytest.mark.parametrize("keep", ["none", "stem"])
def test_a_gray_stem(keep: str) -> None:
    """Folded where it is kept; else one of a single channel from the start, and the pictures are normalised
    alike."""
    model, report = load("resnet-basic", keep=keep, channels=1, gray="sum")
    whole, _ = load("resnet-basic", channels=1, gray="sum")
    kernel = "stem/layer/conv/kernel"
    assert np.array_equal(folders.leaves(model)[kernel], folders.leaves(whole)[kernel]) == (keep == "stem")
    assert ("gray" in report.summary()) == (keep == "stem")
    assert model.spec.preprocess == whole.spec.preprocess


def test_what_cannot_be_kept() -> None:
    with pytest.raises(PretrainedError, match="'first 4': this network has 3 blocks, so K is 1…3"):
        load("vit", keep="first 4")
    with pytest.raises(PretrainedError, match="must be 'all', 'none', 'stem' or 'first K'"):
        load("vit", keep="last 1")
