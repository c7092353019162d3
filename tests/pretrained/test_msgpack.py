"""Names and layouts of Flax parameters, as transformers 4 wrote them, in PyTorch's."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from flax import serialization

from tl_jax.pretrained.errors import PretrainedError
from tl_jax.pretrained.msgpack import read_msgpack, translate


def nested(*names: str, array: np.ndarray) -> dict:
    tree = array
    for name in reversed(names):
        tree = {name: tree}
    return tree


@pytest.mark.parametrize(
    ("theirs", "ours", "shapes"),
    [
        (
            "vit/embeddings/patch_embeddings/projection/kernel",
            "vit.embeddings.patch_embeddings.projection.weight",
            ((16, 16, 3, 8), (8, 3, 16, 16)),
        ),
        (
            "vit/encoder/layer/3/attention/attention/query/kernel",
            "vit.encoder.layer.3.attention.attention.query.weight",
            ((4, 6), (6, 4)),
        ),
        ("vit/layernorm/scale", "vit.layernorm.weight", ((4,), (4,))),
        ("vit/embeddings/cls_token", "vit.embeddings.cls_token", ((1, 1, 4), (1, 1, 4))),
        (
            "bert/embeddings/word_embeddings/embedding",
            "bert.embeddings.word_embeddings.weight",
            ((9, 4), (9, 4)),
        ),
        (
            "bert/encoder/layer/0/attention/output/LayerNorm/bias",
            "bert.encoder.layer.0.attention.output.LayerNorm.bias",
            ((4,), (4,)),
        ),
        (
            "params/resnet/encoder/stages/1/layers/0/layer/layer_1/convolution/kernel",
            "resnet.encoder.stages.1.layers.0.layer.1.convolution.weight",
            ((3, 3, 2, 5), (5, 2, 3, 3)),
        ),
        (
            "params/resnet/encoder/stages/1/layers/0/layer/2/convolution/kernel",
            "resnet.encoder.stages.1.layers.0.layer.2.convolution.weight",
            ((3, 3, 2, 5), (5, 2, 3, 3)),
        ),
        (
            "batch_stats/resnet/embedder/embedder/normalization/mean",
            "resnet.embedder.embedder.normalization.running_mean",
            ((4,), (4,)),
        ),
        (
            "batch_stats/resnet/embedder/embedder/normalization/var",
            "resnet.embedder.embedder.normalization.running_var",
            ((4,), (4,)),
        ),
        ("params/classifier/1/kernel", "classifier.1.weight", ((4, 2), (2, 4))),
        ("encoder/layers_2/fc/bias", "encoder.layers.2.fc.bias", ((4,), (4,))),
        ("feature/conv/kernel", "feature.conv.weight", ((3, 2, 5), (5, 2, 3))),
    ],
)
def test_names_and_layouts(theirs: str, ours: str, shapes: tuple) -> None:
    array = np.random.default_rng(0).normal(size=shapes[0]).astype(np.float32)
    ((name, translated),) = translate(nested(*theirs.split("/"), array=array)).items()
    assert name == ours
    assert translated.shape == shapes[1]
    assert np.isclose(translated.sum(), array.sum())


def test_a_kernel_is_the_same_map_in_both_layouts() -> None:
    """x @ kernel (Flax) is weight @ x (PyTorch); a convolution's (y, x, in, out) is (out, in, y, x)."""
    rng = np.random.default_rng(0)
    dense, conv, x = rng.normal(size=(4, 6)), rng.normal(size=(3, 5, 2, 7)), rng.normal(size=4)
    weight = translate({"a": {"kernel": dense}})["a.weight"]
    np.testing.assert_allclose(weight @ x, x @ dense, rtol=1e-5)
    np.testing.assert_array_equal(
        translate({"a": {"kernel": conv}})["a.weight"][6, 1, 2, 4], np.float32(conv[2, 4, 1, 6])
    )


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32])
def test_files_of_any_precision_become_float32(dtype: type, tmp_path) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)
    path = tmp_path / "flax_model.msgpack"
    path.write_bytes(serialization.msgpack_serialize({"a": {"bias": array}}))
    read = read_msgpack(path)["a.bias"]
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, array.astype(np.float32))


def test_what_is_no_array_is_listed(tmp_path) -> None:
    with pytest.raises(PretrainedError, match=r"(?s)a/b is a str.*c is a int"):
        translate({"a": {"b": "text"}, "c": 3})
    with pytest.raises(PretrainedError, match=r"second 'a\.weight'"):
        translate({"a": {"scale": np.ones(2), "embedding": np.ones(2)}})
    path = tmp_path / "flax_model.msgpack"
    path.write_bytes(serialization.msgpack_serialize([1, 2]))
    with pytest.raises(PretrainedError, match="holds a list"):
        read_msgpack(path)
