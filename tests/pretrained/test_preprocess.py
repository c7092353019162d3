"""The forms that ``preprocessor_config.json`` has had, and timm's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tl_jax.backbones.anatomy import Preprocess
from tl_jax.pretrained.errors import PretrainedError
from tl_jax.pretrained.preprocess import fit_channels, from_processor, read_preprocess, to_processor

IMAGENET = dict(image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225])
HALF = dict(image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.5, 0.5])


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (  # google/vit-base-patch16-224
            dict(do_normalize=True, do_resize=True, resample=2, size=224, **HALF),
            Preprocess((224, 224), (0.5,) * 3, (0.5,) * 3, "bilinear"),
        ),
        (  # microsoft/resnet-50
            dict(crop_pct=0.875, feature_extractor_type="ConvNextFeatureExtractor", resample=3, size=224)
            | IMAGENET,
            Preprocess((224, 224), resample="bicubic", crop=0.875),
        ),
        (  # facebook/deit-base-distilled-patch16-224
            dict(
                crop_size=224,
                do_center_crop=True,
                feature_extractor_type="DeiTFeatureExtractor",
                resample=3,
                size=256,
                **IMAGENET,
            ),
            Preprocess((224, 224), resample="bicubic", crop=0.875),
        ),
        (  # the same, as written today
            dict(
                crop_size={"height": 224, "width": 224},
                do_center_crop=True,
                image_processor_type="DeiTImageProcessor",
                resample=3,
                size={"height": 256, "width": 256},
                **IMAGENET,
            ),
            Preprocess((224, 224), resample="bicubic", crop=0.875),
        ),
        (  # facebook/dinov2-small
            dict(
                crop_size={"height": 224, "width": 224},
                do_center_crop=True,
                image_processor_type="BitImageProcessor",
                resample=3,
                size={"shortest_edge": 256},
                **IMAGENET,
            ),
            Preprocess((224, 224), resample="bicubic", crop=0.875),
        ),
        (  # facebook/convnext-tiny-224, as written today
            dict(
                crop_pct=0.875,
                image_processor_type="ConvNextImageProcessor",
                resample=3,
                size={"shortest_edge": 224},
                **IMAGENET,
            ),
            Preprocess((224, 224), resample="bicubic", crop=0.875),
        ),
        (  # silent on the crop, for which that processor has a default
            dict(feature_extractor_type="ConvNextFeatureExtractor", resample=3, size=224, **IMAGENET),
            Preprocess((224, 224), resample="bicubic", crop=0.875),
        ),
        (  # facebook/convnext-base-384: larger pictures are not cropped
            dict(crop_pct=0.875, feature_extractor_type="ConvNextFeatureExtractor", resample=3, size=384)
            | IMAGENET,
            Preprocess((384, 384), resample="bicubic"),
        ),
        (
            dict(size={"shortest_edge": 256}, crop_size=[224, 192], do_center_crop=True, **IMAGENET),
            Preprocess((224, 192), crop=0.75),
        ),
        (dict(size={"height": 96, "width": 64}, **IMAGENET), Preprocess((96, 64))),
        (dict(size={"shortest_edge": 384}, crop_pct=0.9, **IMAGENET), Preprocess((384, 384))),
        (dict(do_center_crop=False, size=256, crop_size=224, **IMAGENET), Preprocess((256, 256))),
        (
            dict(image_processor_type="ViTImageProcessor"),
            Preprocess((224, 224), (0.5,) * 3, (0.5,) * 3, "bilinear"),
        ),
        (dict(do_normalize=False, **HALF), Preprocess((224, 224), (0.0,) * 3, (1.0,) * 3)),
        (  # white is 2 before the mean of 1 is taken off: the same as 0.5 and 0.5
            dict(rescale_factor=2 / 255, image_mean=[1.0], image_std=[1.0]),
            Preprocess((224, 224), (0.5,), (0.5,)),
        ),
        (
            dict(do_rescale=False, image_mean=[127.5], image_std=[127.5]),
            Preprocess((224, 224), (0.5,), (0.5,)),
        ),
    ],
)
def test_the_forms_in_use(facts: dict, expected: Preprocess) -> None:
    notes: list[str] = []
    found = from_processor(facts, notes)
    assert found.mean == pytest.approx(expected.mean)
    assert found.std == pytest.approx(expected.std)
    assert (found.size, found.resample, found.crop) == (expected.size, expected.resample, expected.crop)
    assert not notes


@pytest.mark.parametrize(
    "preprocess",
    [
        Preprocess(),
        Preprocess((96, 64), (0.5,), (0.25,), "bicubic"),
        Preprocess((224, 224), resample="lanczos", crop=0.875),
        Preprocess((23, 23), resample="nearest", crop=0.9),
        Preprocess((448, 448), crop=0.9),
        Preprocess((64, 64), fit="crop"),
        Preprocess((64, 64), fit="pad"),
    ],
)
def test_a_round_trip_says_the_same(preprocess: Preprocess) -> None:
    notes: list[str] = []
    assert from_processor(json.loads(json.dumps(to_processor(preprocess))), notes) == preprocess
    assert not notes


def test_an_unknown_resampling_is_noted() -> None:
    notes: list[str] = []
    assert from_processor(dict(resample=5), notes).resample == "bilinear"
    assert "resample=5" in notes[0]


@pytest.mark.parametrize(
    "facts",
    [
        dict(size={"longest_edge": 3}),
        dict(image_mean=[0.5, 0.5]),
        dict(image_std=[0.0, 1.0, 1.0]),
        dict(size="large"),
    ],
)
def test_what_cannot_be_understood_names_the_file(facts: dict) -> None:
    with pytest.raises(PretrainedError, match=r"here\.json cannot be understood"):
        from_processor(facts, [], "here.json")


def test_timm_keeps_it_in_the_config(tmp_path: Path) -> None:
    config = {
        "pretrained_cfg": {
            "input_size": [3, 288, 288],
            "interpolation": "bicubic",
            "crop_pct": 0.95,
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
        }
    }
    found, notes = read_preprocess(tmp_path, config)
    assert found == Preprocess((288, 288), (0.5,) * 3, (0.5,) * 3, "bicubic", 0.95)
    assert not notes


def test_without_a_file_imagenet_is_assumed_and_said(tmp_path: Path) -> None:
    found, notes = read_preprocess(tmp_path, {"image_size": 96})
    assert found == Preprocess((96, 96))
    assert "ImageNet's mean and std are assumed" in notes[0]


def test_whose_size_counts(tmp_path: Path) -> None:
    """That of the pictures, unless the network takes no others than its config says."""
    size = lambda **options: read_preprocess(tmp_path, {"image_size": 96}, **options)[0].size  # noqa: E731
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(dict(size=80, crop_size=64)))
    assert size(fixed_size=True) == (96, 96)
    assert size(fixed_size=False) == (64, 64)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(IMAGENET))
    assert size(fixed_size=False) == (96, 96)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(PretrainedError, match=r"preprocessor_config\.json is not valid JSON"):
        read_preprocess(tmp_path, {})


def test_one_number_a_channel() -> None:
    assert fit_channels(Preprocess(mean=(0.5,), std=(0.2,)), 3).mean == (0.5, 0.5, 0.5)
    assert fit_channels(Preprocess(mean=(0.1, 0.2, 0.6), std=(1.0,) * 3), 1).mean == pytest.approx((0.3,))
    assert fit_channels(Preprocess(mean=(0.1,) * 3, std=(0.3,) * 3), 1).mean == (0.1,)
    with pytest.raises(PretrainedError, match="3 numbers, the network 4 channels"):
        fit_channels(Preprocess(), 4)
