"""Full sizes against torch transformers, in float32: every block, the logits, and the way back.

Random weights and random statistics, so no download. Needs torch (extra ``reference``).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.backbones.parity import assert_equal, computed, filled
from tl_jax import backbones
from tl_jax.backbones import convnext, dinov2, inception, resnet, vgg, vit
from tl_jax.backbones.anatomy import Backbone, merge, set_mode, split, statistics
from tl_jax.backbones.necks import NECK
from tl_jax.pretrained.rules import to_theirs
from tl_jax.pretrained.transforms import bicubic

torch = pytest.importorskip("torch", reason="parity compares with torch: pip install -e '.[reference]'")
pytestmark = pytest.mark.slow

FILE = "model.safetensors"
TEACHER = "DeiTForImageClassificationWithTeacher"
DINO, REGISTERS = "Dinov2ForImageClassification", "Dinov2WithRegistersForImageClassification"
_ODD = dict(downsample_in_first_stage=True, downsample_in_bottleneck=True, hidden_act="gelu", num_channels=1)
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "ResNet-18": ("ResNetForImageClassification", resnet.sizes["resnet-18"]),
    "ResNet-34": ("ResNetForImageClassification", resnet.sizes["resnet-34"]),
    "ResNet-50": ("ResNetForImageClassification", resnet.sizes["resnet-50"]),
    "odd bottleneck": (
        "ResNetForImageClassification",
        {**resnet.sizes["resnet-50"], "depths": (2, 3, 2, 2), **_ODD},
    ),
    "ViT-Tiny": ("ViTForImageClassification", {**vit.sizes["vit-tiny-patch16-224"], "layer_norm_eps": 1e-6}),
    "ViT-B/16": ("ViTForImageClassification", vit.sizes["vit-base-patch16-224"]),
    "ViT-B/32 without bias": (
        "ViTForImageClassification",
        {**vit.sizes["vit-base-patch32-224"], "qkv_bias": False, "hidden_act": "gelu_new"},
    ),
    "DeiT-Tiny": ("DeiTForImageClassification", vit.sizes["deit-tiny-distilled-patch16-224"]),
    "DeiT-Tiny with teacher": (TEACHER, vit.sizes["deit-tiny-distilled-patch16-224"]),
    "DINOv2-S": (DINO, dinov2.sizes["dinov2-small"]),
    "DINOv2-S with registers": (REGISTERS, dinov2.sizes["dinov2-with-registers-small"]),
    "blocks of DINOv2-g": (
        DINO,
        {**dinov2.sizes["dinov2-giant"], "num_hidden_layers": 2, "image_size": 224, "layerscale_value": 0.1},
    ),
    "ConvNeXt-T": ("ConvNextForImageClassification", convnext.sizes["convnext-tiny"]),
    "odd ConvNeXt": (
        "ConvNextForImageClassification",
        {
            **convnext.sizes["convnext-base"],
            **dict(depths=(2, 1, 3, 1), patch_size=3, layer_scale_init_value=0.0, hidden_act="gelu_new"),
            **dict(num_channels=1, image_size=239),
        },
    ),
    "VGG16": ("VGG", {**vgg.DEFAULTS, **vgg.sizes["vgg16"]}),
    "VGG11 with norms": ("VGG", {**vgg.DEFAULTS, **vgg.sizes["vgg11_bn"]}),
    "Inception-v3": ("InceptionV3", {**inception.DEFAULTS, **inception.sizes["inception_v3"]}),
    "VGG19 with norms": ("VGG", {**vgg.DEFAULTS, **vgg.sizes["vgg19_bn"], "num_features": 256}),
}
OTHER_SIZES = {  # the side of the pictures, and what transformers needs to be told for it
    "ViT-Tiny": (384, dict(interpolate_pos_encoding=True)),
    "DeiT-Tiny with teacher": (384, dict(interpolate_pos_encoding=True)),
    "DINOv2-S": (224, {}),
    "DINOv2-S with registers": (224, {}),
    "blocks of DINOv2-g": (280, {}),
    "ConvNeXt-T": (200, {}),
}


def _torch(architecture: str, config: dict[str, Any]) -> torch.nn.Module:
    from tests.fixtures import plain, reference

    taken = () if architecture in plain.NETWORKS else ("model_type", "architectures")
    facts = {name: value for name, value in config.items() if name not in taken}
    return reference.model(architecture, {**facts, "num_labels": 10})


def _outputs(network: torch.nn.Module, images: np.ndarray, **options: Any) -> dict[str, np.ndarray]:
    from tests.fixtures import reference

    return reference.outputs(network, images, **options)


def _saved(network: torch.nn.Module, folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    network.save_pretrained(folder)
    return json.loads((folder / "config.json").read_text()), load_file(folder / FILE)


def _images(config: dict[str, Any], size: int | None = None) -> np.ndarray:
    size = size or config.get("image_size", 224)
    shape = (2, size, size, config.get("num_channels", 3))
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def _write(model: Backbone, folder: Path) -> None:
    """The model as a Hugging Face folder, by its table and spec alone."""
    _, params, stats = split(model)
    config = dict(model.spec.config)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    arrays = to_theirs(jax.device_get({**params, **stats}), backbones.table(config))
    save_file(arrays, folder / FILE, metadata={"format": "pt"})


def _assert_torch_reads(folder: Path, architecture: str, images: np.ndarray, logits: np.ndarray) -> None:
    import transformers

    from tests.fixtures import plain

    if architecture in plain.NETWORKS:
        network = plain.NETWORKS[architecture](json.loads((folder / "config.json").read_text()))
        network.load_state_dict({k: torch.from_numpy(v) for k, v in load_file(folder / FILE).items()})
    else:
        network, info = getattr(transformers, architecture).from_pretrained(
            folder, dtype=torch.float32, output_loading_info=True
        )
        assert not any(info.values()), info
    assert_equal(_outputs(network.eval(), images), {"logits": logits})


@pytest.mark.parametrize(("architecture", "config"), CASES.values(), ids=CASES.keys())
def test_blocks_logits_and_the_way_back(architecture: str, config: dict[str, Any], tmp_path: Path) -> None:
    network = _torch(architecture, config)
    images = _images(config, 299 if architecture == "InceptionV3" else None)
    wanted = _outputs(network, images)
    model = filled(*_saved(network, tmp_path / "theirs"))
    assert_equal(computed(model, images), wanted)
    assert len(wanted) == len(model.blocks) + (1 if architecture in ("VGG", "InceptionV3") else 2)  # no stem
    _write(model, tmp_path / "ours")
    _assert_torch_reads(tmp_path / "ours", architecture, images, wanted["logits"])


@pytest.mark.parametrize(("name", "size", "options"), [(k, *v) for k, v in OTHER_SIZES.items()])
def test_pictures_of_another_size(name: str, size: int, options: dict[str, Any], tmp_path: Path) -> None:
    architecture, config = CASES[name]
    network, images = _torch(architecture, config), _images(config, size)
    wanted = _outputs(network, images, **options)
    model = filled(*_saved(network, tmp_path / "theirs"), image_size=size)
    assert_equal(computed(model, images), wanted)
    _write(model, tmp_path / "ours")
    _assert_torch_reads(tmp_path / "ours", architecture, images, wanted["logits"])


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize(("old", "new"), [(14, 24), (14, 9), (24, 14), (37, 16), (3, 40), (7, 7), (1, 4)])
def test_bicubic_weights(old: int, new: int, antialias: bool) -> None:
    grid = np.random.default_rng(0).normal(size=(1, 2, old, old))
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(grid), size=(new, new), mode="bicubic", align_corners=False, antialias=antialias
    ).numpy()
    weights = bicubic(old, new, antialias=antialias)
    ours = np.einsum("ia,jb,ncab->ncij", weights, weights, grid)
    np.testing.assert_allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize("size", [96, 150, 320])
def test_a_vgg_on_pictures_of_other_sizes(size: int, tmp_path: Path) -> None:
    """Maps of 3, 4 and 10 cells under large layers that look at 7; and the network without these layers."""
    config = {**vgg.DEFAULTS, **vgg.sizes["vgg13"], "num_features": 256}
    network, images = _torch("VGG", config), _images(config, size)
    wanted = _outputs(network, images)
    config, arrays = _saved(network, tmp_path)
    assert_equal(computed(filled(config, arrays), images), wanted)
    del arrays["head.fc.weight"], arrays["head.fc.bias"]
    topless = filled({**config, NECK: "flatten"}, arrays, image_size=size)
    found = computed(topless, images)
    assert_equal(found, {name: part for name, part in wanted.items() if name != "logits"})
    last = wanted[f"blocks/{len(topless.blocks) - 1}"]
    assert_equal({"neck": np.asarray(topless.neck({"x": last}))}, {"neck": last.reshape(2, -1)})


def test_batch_statistics_and_their_update(tmp_path: Path) -> None:
    """Training mode normalises by the batch and moves the statistics as torch does.

    torch stores the unbiased variance, n / (n - 1) of the biased one that Flax stores.
    """
    config = {**resnet.sizes["resnet-18"], "hidden_sizes": (16, 16, 16, 16), "embedding_size": 16}
    network, images = _torch("ResNetForImageClassification", config), _images(config, 64)
    arrays = _saved(network, tmp_path)
    model = filled(*arrays)
    set_mode(model, dropout=False, batch_statistics=True)
    before = statistics(model)
    wanted = _outputs(network.train(), images)
    assert_equal({"logits": np.asarray(model(images))}, {"logits": wanted["logits"]})

    moved, theirs = statistics(model), statistics(filled(*_saved(network, tmp_path)))
    assert_equal(moved, {path: np.asarray(leaf) for path, leaf in theirs.items() if path.endswith("mean")})
    name = "blocks/1/layers/0/norm/var"
    n = 2 * (64 // 4) ** 2
    np.testing.assert_allclose(
        theirs[name] - 0.9 * before[name], (moved[name] - 0.9 * before[name]) * n / (n - 1), rtol=1e-4
    )


def test_gradients(tmp_path: Path) -> None:
    """The gradient of every parameter is torch's (networks of few layers)."""
    shallow = {
        "ViTForImageClassification": {
            **vit.sizes["vit-tiny-patch16-224"],
            "num_hidden_layers": 2,
            "image_size": 64,
        },
        "ResNetForImageClassification": {
            **resnet.sizes["resnet-50"],
            "depths": (1, 1),
            "hidden_sizes": (16, 32),
        },
        DINO: {
            **dinov2.sizes["dinov2-small"],
            **dict(num_hidden_layers=2, image_size=70, use_swiglu_ffn=True),
        },
        REGISTERS: {**dinov2.sizes["dinov2-with-registers-small"], "num_hidden_layers": 2, "image_size": 70},
        "ConvNextForImageClassification": {"num_stages": 2, "depths": (1, 2), "hidden_sizes": (16, 32)},
        "VGG": {
            **vgg.DEFAULTS,
            "model_type": "vgg",
            "depths": (1, 2),
            "hidden_sizes": (16, 32),
            "num_features": 32,
        },
        "InceptionV3": {
            **inception.DEFAULTS,
            "model_type": "inception_v3",
            "depths": (1, 2, 2),
            "depth_multiplier": 1 / 16,
        },
    }
    for architecture, config in shallow.items():
        network, images = (
            _torch(architecture, config),
            _images(config, 96 if "Inception" in architecture else config.get("image_size", 64)),
        )
        folder = tmp_path / architecture
        model = filled(*_saved(network, folder))
        graph, params, stats = split(model)
        ours = jax.grad(lambda p: (merge(graph, p, stats)(images) ** 2).sum())(params)  # noqa: B023

        made = network(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
        ((made if isinstance(made, torch.Tensor) else made.logits) ** 2).sum().backward()
        with torch.no_grad():
            for leaf in network.parameters():
                if leaf.grad is not None:  # a DINOv2's mask token has none
                    leaf.copy_(leaf.grad)
        _, theirs, _ = split(filled(*_saved(network, folder)))
        largest = max(float(abs(leaf).max()) for leaf in theirs.values())
        for path, leaf in theirs.items():
            np.testing.assert_allclose(ours[path], leaf, atol=1e-4 * largest, rtol=1e-3, err_msg=path)


def test_a_config_of_transformers_says_all_that_we_read() -> None:
    """Our defaults are those of transformers, for every family."""
    import transformers

    for defaults, name in (
        (resnet.DEFAULTS, "ResNetConfig"),
        (vit.DEFAULTS, "ViTConfig"),
        (vit.DEFAULTS, "DeiTConfig"),
        (dinov2.DEFAULTS, "Dinov2Config"),
        (dinov2.REGISTERS, "Dinov2WithRegistersConfig"),
        (convnext.DEFAULTS, "ConvNextConfig"),
    ):
        theirs = getattr(transformers, name)().to_dict()
        for key, value in defaults.items():
            assert theirs[key] == (list(value) if isinstance(value, tuple) else value), (name, key)
