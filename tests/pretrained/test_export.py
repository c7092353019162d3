"""Folders that `export` writes: read back bit for bit, whole or not at all, and as torch reads them."""

from __future__ import annotations

import dataclasses
import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from flax import nnx

from tests.pretrained import folders
from tl_jax import pretrained
from tl_jax.backbones.anatomy import Preprocess, merge, split
from tl_jax.pretrained import PretrainedError

exporting = importlib.import_module("tl_jax.pretrained.export")  # the package has a function of that name

FAMILIES = (
    *("vit", "deit", "deit-teacher", "resnet-basic", "resnet-bottleneck-odd", "vit-odd"),
    *("dinov2", "dinov2-odd", "dinov2-registers", "convnext", "convnext-odd"),
)
UNREAD = ("num_batches_tracked", "mask_token")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_round_trip_keeps_every_bit(name: str, tmp_path: Path) -> None:
    model, first = pretrained.load(folders.FIXTURES / name)
    classes = list(model.spec.config["id2label"].values())
    folder = pretrained.export(model, tmp_path / "out", classes=classes)
    again, second = pretrained.load(folder)
    folders.assert_same(model, again)
    assert again.spec.preprocess == model.spec.preprocess
    if name != "deit-teacher":  # two heads become their mean, and are written as two equal ones
        assert second.identity == first.identity
        theirs, ours = folders.arrays_of(name), folders.load_file(folder / "model.safetensors")
        assert set(theirs) == set(ours)
        assert all(np.array_equal(ours[key], theirs[key]) for key in ours if not key.endswith(UNREAD))


def test_what_the_files_say(tmp_path: Path) -> None:
    model, _ = pretrained.load(folders.FIXTURES / "vit", num_classes=2, image_size=48, channels=1, gray="sum")
    folder = pretrained.export(model, tmp_path / "out", classes=("NORMAL", "PNEUMONIA"))
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "vit"
    assert config["architectures"] == ["ViTForImageClassification"]
    assert config["id2label"] == {"0": "NORMAL", "1": "PNEUMONIA"}
    assert config["label2id"] == {"NORMAL": 0, "PNEUMONIA": 1}
    assert (config["image_size"], config["num_channels"], config["dtype"]) == (48, 1, "float32")
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]
    again, report = pretrained.load(folder, classes=("NORMAL", "PNEUMONIA"))
    folders.assert_same(model, again)
    assert not report.initialised
    assert (again.spec.channels, len(again.spec.preprocess.mean)) == (1, 1)


def test_scratch_models_are_exported_too(tmp_path: Path) -> None:
    arch = {"model_type": "vit", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    arch |= {"intermediate_size": 24, "patch_size": 8}
    model, _ = pretrained.scratch(arch, num_classes=3, image_size=24)
    folder = pretrained.export(model, tmp_path / "out", classes=("a", "b", "c"))
    folders.assert_same(model, pretrained.load(folder)[0])


def test_chains_of_transfer(tmp_path: Path) -> None:
    model, _ = pretrained.load(folders.FIXTURES / "resnet-basic", classes=("x", "y"))
    pretrained.export(model, tmp_path / "first" / "model", classes=("x", "y"))
    second, report = pretrained.load(tmp_path / "first", classes=("p", "q", "r"))
    assert len(report.initialised) == 2
    pretrained.export(second, tmp_path / "second" / "model", classes=("p", "q", "r"))
    third, report = pretrained.load(tmp_path / "second", classes=("p", "q", "r"))
    assert not report.initialised
    folders.assert_same(second, third)


def test_an_earlier_export_is_replaced_and_other_files_stay(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    for name in ("vit", "resnet-basic"):
        model, _ = pretrained.load(folders.FIXTURES / name)
        pretrained.export(model, folder, classes=("cat", "dog", "owl"))
        (folder / "README.md").write_text("mine")
    folders.assert_same(model, pretrained.load(folder)[0])
    assert (folder / "README.md").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_failure_or_a_kill_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = pretrained.load(folders.FIXTURES / "vit")
    classes = ("cat", "dog", "owl")
    with monkeypatch.context() as patched:
        patched.setattr(exporting, "_write_json", full_disk)  # after the weights were written
        with pytest.raises(OSError, match="disk full"):
            pretrained.export(model, tmp_path / "out", classes=classes)
    assert not list(tmp_path.iterdir())
    (tmp_path / ".out.partial").mkdir()  # as a killed process leaves it
    (tmp_path / ".out.partial" / "model.safetensors").write_bytes(b"half")
    pretrained.export(model, tmp_path / "out", classes=classes)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def full_disk(path: Path, value: object) -> None:
    raise OSError("disk full")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_halves_the_file_and_rounds(dtype: str, tmp_path: Path) -> None:
    model, _ = pretrained.load(folders.FIXTURES / "vit")
    whole, half = (
        pretrained.export(model, tmp_path / name, classes=("a", "b", "c"), dtype=name)
        for name in ("float32", dtype)
    )
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (whole, half)]
    assert sizes[1] < 0.65 * sizes[0]
    again, _ = pretrained.load(half)
    for path, leaf in split(model)[1].items():
        np.testing.assert_array_equal(split(again)[1][path], leaf.astype(dtype).astype(np.float32))
    with pytest.raises(PretrainedError, match="dtype='int8' is none of float32, float16, bfloat16"):
        pretrained.export(model, tmp_path / "out", classes=("a", "b", "c"), dtype="int8")


def test_what_is_not_written(tmp_path: Path) -> None:
    model, _ = pretrained.load(folders.FIXTURES / "vit")
    with pytest.raises(PretrainedError, match=r"2 class names for a head of 3 outputs"):
        pretrained.export(model, tmp_path / "out", classes=("a", "b"))
    graph, params, stats = split(model)
    params["neck/norm/bias"] = params["neck/norm/bias"] * np.nan
    with pytest.raises(PretrainedError, match=r"NaN or infinity.*layernorm\.bias"):
        pretrained.export(merge(graph, params, stats), tmp_path / "out", classes=("a", "b", "c"))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_torch_transformers_loads_it_without_a_missing_or_unexpected_key(name: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra 'reference'")
    transformers = pytest.importorskip("transformers")
    model, _ = pretrained.load(folders.FIXTURES / name, num_classes=2, seed=1)
    size = model.spec.config.get("image_size", 48)
    leaves = {path: leaf + 0.01 for path, leaf in split(model)[1].items()}  # as after training
    model = merge(split(model)[0], leaves, split(model)[2])
    folder = pretrained.export(model, tmp_path / "out", classes=("no", "yes"))
    architecture = json.loads((folder / "config.json").read_text())["architectures"][0]
    reference, info = getattr(transformers, architecture).from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), info
    assert reference.config.id2label == {0: "no", 1: "yes"}
    assert reference.dtype == torch.float32
    height, width = (size, size) if isinstance(size, int) else size
    images = np.random.default_rng(0).normal(size=(2, height, width, model.spec.channels)).astype(np.float32)
    with torch.no_grad():
        wanted = reference.eval()(torch.from_numpy(images.transpose(0, 3, 1, 2))).logits.numpy()
    logits = np.asarray(model(images))
    assert np.abs(logits - wanted).max() <= 1e-4 * np.abs(wanted).max()


@pytest.mark.slow
def test_the_real_vit_survives_the_journey(shared: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra 'reference'")
    transformers = pytest.importorskip("transformers")
    model, _ = pretrained.load(shared / "models" / "vit-tiny-patch16-224")
    classes = list(model.spec.config["id2label"].values())
    folder = pretrained.export(model, tmp_path / "out", classes=classes)
    reference, info = transformers.AutoModelForImageClassification.from_pretrained(
        folder, output_loading_info=True
    )
    assert not any(info.values()), info
    images = np.random.default_rng(0).normal(size=(2, 224, 224, 3)).astype(np.float32)
    with torch.no_grad():
        wanted = reference.eval()(torch.from_numpy(images.transpose(0, 3, 1, 2))).logits.numpy()
    logits = np.asarray(nnx.jit(lambda model, x: model(x))(model, images))
    assert np.abs(logits - wanted).max() <= 1e-4 * np.abs(wanted).max()


def test_preprocessing_survives(tmp_path: Path) -> None:
    for given in (
        Preprocess(size=(24, 24), crop=0.875, resample="bicubic", mean=(0.1, 0.2, 0.3)),
        Preprocess(size=(24, 24), crop=1.0, resample="lanczos"),
    ):
        model, _ = pretrained.load(folders.FIXTURES / "vit", preprocess=given)
        folder = pretrained.export(model, tmp_path / "out", classes=("a", "b", "c"))
        assert dataclasses.asdict(pretrained.inspect(folder).preprocess) == dataclasses.asdict(given)
