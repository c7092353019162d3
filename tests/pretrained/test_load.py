"""Loading from folders: formats, heads, sizes, gray pictures, errors, reports."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.pretrained import folders
from tl_jax import pretrained
from tl_jax.backbones.anatomy import Preprocess
from tl_jax.pretrained import PretrainedError

SMALL = ("vit", "resnet-basic")
OTHERS = (
    *("deit", "deit-teacher", "resnet-bottleneck-odd", "vit-odd"),
    *("dinov2", "dinov2-odd", "dinov2-registers", "convnext", "convnext-odd"),
)


def images(size: int, channels: int = 3, count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).random((count, size, size, channels), np.float32)


@pytest.mark.parametrize("name", [*SMALL, *OTHERS])
def test_logits_are_those_of_torch(name: str) -> None:
    model, report = pretrained.load(folders.FIXTURES / name)
    reference = np.load(folders.FIXTURES / name / "reference.npz")
    logits = np.asarray(model(reference["images"]))
    assert np.abs(logits - reference["logits"]).max() <= 1e-4 * np.abs(reference["logits"]).max()
    assert not report.initialised


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("make", [folders.reshard, folders.to_flax_msgpack])
def test_other_formats_hold_the_same_bits(name: str, make, tmp_path: Path) -> None:
    expected, first = pretrained.load(folders.FIXTURES / name)
    model, second = pretrained.load(make(folders.copy(name, tmp_path / "copy")))
    folders.assert_same(model, expected)
    assert second.identity == first.identity


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_other_precisions_become_float32(dtype: type, tmp_path: Path) -> None:
    folder = folders.copy("resnet-basic", tmp_path / "copy")
    arrays = folders.arrays_of("resnet-basic")
    narrow = {k: v.astype(dtype) if v.dtype == np.float32 else v for k, v in arrays.items()}
    if dtype is np.float64:
        save_file(narrow, folder / "model.safetensors")
    else:
        folders.rewrite(folder, narrow)
    model, _ = pretrained.load(folder)
    kernel = folders.leaves(model)["stem/layer/conv/kernel"]
    wanted = narrow["resnet.embedder.embedder.convolution.weight"].astype(np.float32)
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel, wanted.transpose(2, 3, 1, 0))


def test_the_model_is_in_inference_mode() -> None:
    model, _ = pretrained.load(folders.FIXTURES / "resnet-basic", dropout=0.5, num_classes=2)
    x = images(32)
    before = folders.leaves(model)
    first = model(x, key=jax.random.key(0))
    np.testing.assert_array_equal(first, model(x, key=jax.random.key(1)))
    np.testing.assert_array_equal(first[:1], model(x, key=None)[:1])
    assert all(np.array_equal(before[path], leaf) for path, leaf in folders.leaves(model).items())
    assert model.head.dropout.rate == 0.5


def test_a_new_head_is_a_function_of_the_seed_and_is_reported() -> None:
    load = lambda **options: pretrained.load(folders.FIXTURES / "vit", **options)  # noqa: E731
    model, report = load(num_classes=5, seed=3)
    assert model(images(24)).shape == (2, 5)
    assert {entry.path for entry in report.initialised} == {"head/linear/kernel", "head/linear/bias"}
    assert {entry.name for entry in report.ignored} == {"classifier.weight", "classifier.bias"}
    assert "3 classes, 5 are wanted" in report.table()
    folders.assert_same(model, load(num_classes=5, seed=3)[0])
    other = folders.leaves(load(num_classes=5, seed=4)[0])
    differs = [path for path, leaf in folders.leaves(model).items() if not np.array_equal(leaf, other[path])]
    assert differs == ["head/linear/kernel"]
    assert report.identity != load()[1].identity  # the head was not used
    assert report.identity == load(num_classes=7)[1].identity


def test_the_head_stays_while_the_classes_do() -> None:
    folder = folders.FIXTURES / "vit"
    assert not pretrained.load(folder, num_classes=3)[1].initialised
    assert not pretrained.load(folder, classes=("cat", "dog", "owl"), num_classes=3)[1].initialised
    model, report = pretrained.load(folder, classes=("cat", "dog", "emu"))
    assert "classes are others: cat, dog, owl" in report.initialised[0].why
    assert model.spec.config["id2label"] == {"0": "cat", "1": "dog", "2": "emu"}
    with pytest.raises(PretrainedError, match="num_classes=2, but classes has 3"):
        pretrained.load(folder, classes=("cat", "dog", "emu"), num_classes=2)
    with pytest.raises(PretrainedError, match="one class at least"):
        pretrained.load(folder, num_classes=0)


@pytest.mark.parametrize("name", ["vit-model", "resnet-model", "dinov2-model", "convnext-model"])
def test_a_base_model_gets_a_head_when_classes_are_given(name: str) -> None:
    _, report = pretrained.load(folders.FIXTURES / name, num_classes=2)
    assert {entry.why for entry in report.initialised} == {"the checkpoint has no head"}
    with pytest.raises(PretrainedError, match=r"missing array 'classifier(?s:.*)give\s+num_classes"):
        pretrained.load(folders.FIXTURES / name)


def test_another_image_size_resizes_the_positions() -> None:
    model, report = pretrained.load(folders.FIXTURES / "vit", image_size=48)
    assert model(images(48)).shape == (2, 3)
    assert model.spec.preprocess.size == (48, 48)
    assert model.spec.config["image_size"] == 48
    assert report.identity == pretrained.load(folders.FIXTURES / "vit")[1].identity


def test_a_dinov2_is_made_for_the_pictures_that_its_preprocessor_makes(tmp_path: Path) -> None:
    """Not for those of its positions, which are interpolated."""
    folder = folders.copy("dinov2", tmp_path / "copy")
    folders.edit(folder / "preprocessor_config.json", size={"height": 40, "width": 40})
    model, _ = pretrained.load(folder)
    reference = np.load(folders.FIXTURES / "dinov2" / "reference.npz")
    assert model.spec.config["image_size"] == 40
    np.testing.assert_allclose(model(reference["large/images"]), reference["large/logits"], atol=1e-5)
    again, _ = pretrained.load(pretrained.export(model, tmp_path / "out", classes=("a", "b", "c")))
    folders.assert_same(model, again)


@pytest.mark.parametrize("name", SMALL)
def test_a_gray_stem_computes_what_the_colour_stem_would(name: str) -> None:
    """Exactly with equal channels; with ImageNet's, the padded border of a ResNet apart."""
    size = {"vit": 24, "resnet-basic": 64}[name]
    gray = images(size, 1)
    for mean, std in [((0.5,) * 3, (0.25,) * 3), ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]:
        preprocess = Preprocess(size=(size, size), mean=mean, std=std)
        options = dict(preprocess=preprocess, channels=1)
        one, report = pretrained.load(folders.FIXTURES / name, gray="sum", **options)
        three, _ = pretrained.load(folders.FIXTURES / name, gray="repeat", **options)
        assert (one.spec.channels, three.spec.channels) == (1, 3)
        assert one.spec.config["num_channels"] == 1
        assert "gray" in report.table()

        def normalised(model) -> np.ndarray:
            facts = model.spec.preprocess
            return (gray - np.float32(facts.mean)) / np.float32(facts.std)

        a = np.asarray(one.stem(normalised(one))["x"])
        b = np.asarray(three.stem(normalised(three))["x"])
        if name == "resnet-basic" and len(set(mean)) > 1:
            a, b = a[:, 2:-2, 2:-2], b[:, 2:-2, 2:-2]
        assert np.abs(a - b).max() <= 1e-5 * np.abs(b).max()


def test_channels_that_cannot_be_had() -> None:
    folder = folders.FIXTURES / "vit"
    with pytest.raises(PretrainedError, match="gray='average' must be one of 'repeat', 'sum'"):
        pretrained.load(folder, gray="average")
    with pytest.raises(PretrainedError, match="of 3 channels, not 4"):
        pretrained.load(folder, channels=4)


def test_everything_wrong_with_the_arrays_is_one_error(tmp_path: Path) -> None:
    folder = folders.copy("vit", tmp_path / "copy")
    arrays = folders.arrays_of("vit")
    del arrays["vit.layernorm.weight"], arrays["vit.encoder.layer.1.output.dense.bias"]
    arrays["vit.surprise"] = np.zeros((2, 2), np.float32)
    arrays["vit.embeddings.cls_token"] = np.zeros((1, 1, 5), np.float32)
    with pytest.raises(PretrainedError) as error:
        pretrained.load(folders.rewrite(folder, arrays))
    text = str(error.value)
    assert "(4 problems)" in text
    assert str(folder) in text
    for part in ("layernorm.weight", "encoder.layer.1.output.dense.bias", "vit.surprise"):
        assert part in text
    assert "(1, 1, 5)" in text
    assert "What to do" in text


def test_a_head_that_the_config_misjudges_is_an_error(tmp_path: Path) -> None:
    folder = folders.copy("vit", tmp_path / "copy")
    folders.edit(folder / "config.json", id2label={"0": "a", "1": "b"}, label2id=None)
    with pytest.raises(PretrainedError, match=r"classifier\.weight"):
        pretrained.load(folder)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (dict(model_type="vitt"), "'vitt' is unknown.*'vit'"),
        (dict(model_type=None), "no 'model_type'"),
        (dict(model_type=None, architecture="resnet50", pretrained_cfg={}), "timm's layout.*resnet50"),
        (dict(hidden_size=17), "(?s)copy.*hidden_size=17"),
        (dict(id2label={"0": "a", "2": "b"}), "without a gap"),
    ],
)
def test_configs_that_cannot_be_built(keys: dict, message: str, tmp_path: Path) -> None:
    folder = folders.copy("vit", tmp_path / "copy")
    folders.edit(folder / "config.json", **keys)
    with pytest.raises(PretrainedError, match=message):
        pretrained.load(folder)


def test_the_report_accounts_for_everything() -> None:
    model, report = pretrained.load(folders.FIXTURES / "resnet-basic", num_classes=2)
    arrays = folders.arrays_of("resnet-basic")
    paths = [entry.path for entry in (*report.loaded, *report.initialised)]
    names = [name for entry in report.loaded for name in entry.names]
    names += [entry.name for entry in report.ignored]
    assert sorted(paths) == sorted(folders.leaves(model))
    assert sorted(names) == sorted(arrays)
    assert report.loaded_paths == set(paths) - {"head/linear/kernel", "head/linear/bias"}
    text = report.table()
    assert report.identity in text
    assert "resnet.embedder.embedder.convolution.weight" in text
    assert "num_batches_tracked" in text
    assert max(map(len, text.splitlines())) < 200


def test_identity_is_of_the_weights_used(tmp_path: Path) -> None:
    folder = folders.copy("resnet-basic", tmp_path / "copy")
    arrays = folders.arrays_of("resnet-basic")
    _, first = pretrained.load(folder)
    arrays["resnet.embedder.embedder.normalization.num_batches_tracked"] += 1  # ignored
    assert pretrained.load(folders.rewrite(folder, arrays))[1].identity == first.identity
    arrays["resnet.embedder.embedder.convolution.weight"][0, 0, 0, 0] += 1e-3
    assert pretrained.load(folders.rewrite(folder, arrays))[1].identity != first.identity


def test_scratch_is_a_function_of_the_seed() -> None:
    arch = json.loads((folders.FIXTURES / "vit" / "config.json").read_text())
    model, report = pretrained.scratch(arch, num_classes=2, seed=1, dropout=0.1)
    folders.assert_same(model, pretrained.scratch(arch, num_classes=2, seed=1)[0])
    other = folders.leaves(pretrained.scratch(arch, num_classes=2, seed=2)[0])
    assert not np.array_equal(folders.leaves(model)["stem/patch/kernel"], other["stem/patch/kernel"])
    assert model(images(24)).shape == (2, 2)
    assert {entry.path for entry in report.initialised} == set(folders.leaves(model))
    assert not report.loaded_paths
    assert {entry.why for entry in report.initialised} == {"from scratch"}


def test_scratch_for_gray_pictures_and_another_size() -> None:
    arch = json.loads((folders.FIXTURES / "vit" / "config.json").read_text())
    model, _ = pretrained.scratch(arch, num_classes=2, channels=1, image_size=16)
    assert model(images(16, 1)).shape == (2, 2)
    assert len(model.spec.preprocess.mean) == 1
    with pytest.raises(PretrainedError, match=r"(?s)model\.arch.*hidden_size"):
        pretrained.scratch({**arch, "hidden_size": 17}, num_classes=2)
    with pytest.raises(PretrainedError, match="model_type"):
        pretrained.scratch({"layer_type": "basic"}, num_classes=2)
    with pytest.raises(PretrainedError, match="neither weights nor an architecture"):
        pretrained.scratch({}, num_classes=2)


def test_inspect_reads_all_but_the_weights(tmp_path: Path) -> None:
    folder = folders.copy("vit", tmp_path / "copy")
    facts = pretrained.inspect(folder)
    assert facts.folder == folder
    assert facts.channels == 3
    assert facts.preprocess == pretrained.load(folder)[0].spec.preprocess
    folders.edit(folder / "config.json", image_size=16)  # what the positions are for comes first
    assert pretrained.inspect(folder).preprocess.size == (16, 16)
    facts = pretrained.inspect("", arch={"model_type": "resnet", "num_channels": 1})
    assert (facts.folder, facts.channels, len(facts.preprocess.mean)) == (None, 1, 1)


def test_the_preprocessing_may_be_replaced() -> None:
    given = dataclasses.replace(Preprocess(), mean=(0.1,), std=(0.2,), size=(24, 24))
    model, _ = pretrained.load(folders.FIXTURES / "vit", preprocess=given)
    assert model.spec.preprocess.mean == (0.1, 0.1, 0.1)


def test_load_pretrained_is_the_notebook_call() -> None:
    model, report = pretrained.load_pretrained(str(folders.FIXTURES / "vit"), 2)
    assert jnp.asarray(model(images(24))).shape == (2, 2)
    assert len(report.initialised) == 2


def test_the_real_vit_agrees_with_torch(shared: Path) -> None:
    folder = shared / "models" / "vit-tiny-patch16-224"
    model, report = pretrained.load(folder)
    reference = np.load(folder / "reference.npz")
    facts = model.spec.preprocess
    x = (reference["images_uint8"].astype(np.float32) / 255 - np.float32(facts.mean)) / np.float32(facts.std)
    logits = np.asarray(jax.jit(lambda x: model(x))(x))
    assert np.abs(logits - reference["logits"]).max() <= 1e-4 * np.abs(reference["logits"]).max()
    assert len(report.loaded) == 200


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    folder, arrays = folders.copy("vit", tmp_path / "m"), folders.arrays_of("vit")
    name = next(name for name in arrays if name.endswith("layernorm_before.weight"))
    arrays[name] = arrays[name] * np.nan
    folders.rewrite(folder, arrays)
    with pytest.raises(PretrainedError, match=rf"NaN or infinity:\n  - {name}\n"):
        pretrained.load(folder)


def test_a_colour_kernel_is_not_summed_unasked(tmp_path: Path) -> None:
    folder = folders.copy("resnet-basic", tmp_path / "m")
    folders.edit(folder / "config.json", num_channels=1)
    with pytest.raises(PretrainedError, match="takes 3 channels, num_channels says 1"):
        pretrained.load(folder)
    folders.edit(folder / "config.json", num_channels="three")
    with pytest.raises(PretrainedError, match=r"config\.json: num_channels='three' is no number of channels"):
        pretrained.load(folder)


def test_a_size_that_patches_do_not_cover_is_refused() -> None:
    with pytest.raises(PretrainedError, match=r"is no multiple of patch_size=.*; choose "):
        pretrained.load(folders.FIXTURES / "vit", image_size=35)


def test_a_pointer_in_the_place_of_weights_is_told(tmp_path: Path) -> None:
    folder = folders.copy("vit", tmp_path / "m")
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(PretrainedError, match=r"pointer of git-lfs .* git lfs pull"):
        pretrained.load(folder)
