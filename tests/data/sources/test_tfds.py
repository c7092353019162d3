"""The TFDS source on a small data set prepared here, with and without TensorFlow forbidden."""

from __future__ import annotations

import importlib
import os
import pickle
import shutil
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.data.sources.settings import config
from tl_jax.data.sources import read, tfds
from tl_jax.data.sources.errors import SourceError
from tl_jax.data.sources.records import to_picture
from tl_jax.data.table import BadImageError

ROOT = Path(__file__).resolve().parents[3]
SIZES = {"train": 12, "val": 4, "test": 5}
FEATURES = dict(image="image", label="label", group="patient", id="file_name")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    from tests.data.sources import tiny_xray  # noqa: F401  importing makes the data set known

    root = tmp_path_factory.mktemp("tfds")
    read(config(root, source="tfds", name="tiny_xray"))
    return root


def settings(prepared, **changes):
    return config(prepared, source="tfds", name="tiny_xray", **changes)


def fails(of) -> str:
    with pytest.raises(SourceError) as caught:
        read(of)
    return str(caught.value)


@pytest.mark.parametrize("file", ["Train/cat/one.txt", "cat/one.jpeg", "one.png"])
def test_nothing_is_prepared_beside_somebodys_own_pictures(tmp_path, file):
    """Who forgets data.source would train on other pictures and not see it."""
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).touch()
    assert "to read the pictures set data.source='folder'" in fails(
        config(tmp_path, source="tfds", name="chest_phantom")
    )
    assert len(list(tmp_path.iterdir())) == 1


def original(name: str) -> np.ndarray:
    from tests.data.sources.tiny_xray import pixels

    split, _, number = name.removesuffix(".png").split("_")
    return pixels(split, int(number))


def test_rows_of_all_splits(prepared):
    table = read(settings(prepared, features=FEATURES))
    assert {name: int((table.splits == name).sum()) for name in SIZES} == SIZES
    for i, name in enumerate(table.ids):
        number = int(name.removesuffix(".png").split("_")[2])
        assert table.labels[i] == ("normal", "pneumonia")[number % 2]
        assert table.groups[i] == f"{name.split('_')[0]}-p{number // 2}"
        assert table.columns["number"][i] == str(number % 3)
        assert table.columns["sex"][i] == "fm"[number % 2]
    assert set(table.columns) == {"number", "sex"}
    assert table.grouped
    assert any("splits not read: extra" in note for note in table.notes)
    assert any("split testing has no labels (3 pictures): not read" in note for note in table.notes)


def test_pictures_are_those_that_went_in(prepared):
    table = read(settings(prepared, features=FEATURES))
    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(lambda i: table.read(i, None), range(len(table))))
    for name, image in zip(table.ids, images, strict=True):
        assert np.array_equal(image[..., 0], original(name))
    again = pickle.loads(pickle.dumps(table))
    assert np.array_equal(again.read(3, None), images[3])


def test_arrays_instead_of_encoded_pictures(prepared):
    table = read(settings(prepared, features=dict(FEATURES, image="raw")))
    for i in (0, 7, 20):
        assert np.array_equal(table.read(i, None)[..., 0], original(table.ids[i]))


def test_ids_without_an_id_feature(prepared):
    table = read(settings(prepared))
    assert table.ids[0] == "train/0"
    assert len(set(table.ids)) == 21
    assert not table.grouped
    assert table.groups.tolist() == table.ids.tolist()
    assert len({table.stamp(i) for i in range(21)}) == 21
    assert table.stamp(4) == read(settings(prepared)).stamp(4)


def test_group_expression_on_ids_and_integer_labels(prepared):
    table = read(settings(prepared, features=dict(label="number", id="file_name"), group=r"^[a-z]+_p\d+"))
    assert set(table.labels) == {"0", "1", "2"}
    assert "validation_p1" in table.groups


def test_every_wrong_feature_is_named(prepared):
    wrong = dict(image="images", label="labels", group="patient_id", id="")
    message = fails(settings(prepared, features=wrong))
    for wrong, near in (("images", "image"), ("labels", "label"), ("patient_id", "patient")):
        assert (
            f"={wrong!r} is no feature; there are image, raw, label" in message.replace("file_name, ", "")
            or wrong
        )
        assert f"did you mean {near!r}?" in message
    message = fails(settings(prepared, features=dict(label="raw", group="patient"), group="x"))
    assert "data.features.label='raw' holds" in message
    assert "both data.features.group and data.group name groups" in message
    assert "data.features.id='sex' is not unique" in fails(settings(prepared, features=dict(id="sex")))


def test_unknown_names(prepared):
    message = fails(config(prepared, source="tfds", name="tiny_xrays"))
    assert "did you mean 'tiny_xray'?" in message
    assert "data.name is empty" in fails(config(prepared, source="tfds"))
    assert "9.9.9" in fails(config(prepared, source="tfds", name="tiny_xray:9.9.9"))


def test_another_format_is_explained(prepared, tmp_path):
    shutil.copytree(prepared / "tiny_xray", tmp_path / "tiny_xray")
    info = next(tmp_path.rglob("dataset_info.json"))
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    for path in tmp_path.rglob("*.array_record*"):
        path.rename(str(path).replace("array_record", "tfrecord"))
    message = fails(config(tmp_path, source="tfds", name="tiny_xray"))
    assert "is not in ArrayRecord format" in message


SCRIPT = """
    import sys
    for name in ("tensorflow", "torch"):
        {block}
    from absl import logging
    from tests.data.sources.settings import config
    from tl_jax.data.sources import read, tfds
    from tl_jax.data.sources.quiet import quiet
    with quiet():
        import tests.data.sources.tiny_xray
    verbosity = logging.get_verbosity()
    for _ in range(2):
        table = read(config({root!r}, source="tfds", name="tiny_xray"))
        print(len(table), *table.read(20, None).shape)
    assert logging.get_verbosity() == verbosity
    assert sys.modules.get("tensorflow") is None and sys.modules.get("torch") is None
    print("tensorflow" in sys.modules)
"""


@pytest.mark.parametrize("block", ["sys.modules[name] = None", "pass"])
def test_tensorflow_is_not_needed_and_noise_is_silenced(tmp_path, block):
    """Preparing and reading, in a process of its own; what it prints is all there is to see."""
    script = textwrap.dedent(SCRIPT.format(block=block, root=str(tmp_path)))
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=env, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[-4:] == ["21 8 9 1", "21 8 9 1", str(block != "pass"), ""]
    assert f"tiny_xray is being prepared, which may download it, once, into {tmp_path}" in done.stderr
    assert "OpenCV" not in done.stderr
    assert "WARNING" not in done.stderr


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([[0, 255]], np.uint8), [[[0], [255]]]),
        (np.array([[0, 128, 129, 65535]], np.uint16), [[[0], [0], [1], [255]]]),
        (np.array([[0, 0.5, 1]], np.float32), [[[0], [128], [255]]]),
        (np.array([[False, True]]), [[[0], [255]]]),
        (np.array([[3, 200]], np.int64), [[[3], [200]]]),
        (np.array([[[10, 20, 30]]], np.uint8), [[[10, 20, 30]]]),
        (np.array([[[10, 20, 30, 255], [10, 20, 30, 0]]], np.uint8), [[[10, 20, 30], [0, 0, 0]]]),
    ],
)
def test_arrays_as_pictures(array, expected):
    image = to_picture(array, 100, "x")
    assert image.dtype == np.uint8
    assert image.tolist() == expected


@pytest.mark.parametrize(
    ("array", "why"),
    [
        (np.zeros((2, 2, 2)), r"seven: shape \(2, 2, 2\) is no picture"),
        (np.zeros((0, 5)), "is no picture"),
        (np.array([[0.0, 255.0]]), r"float64 values 0…255 have no known range; 0…1 is expected"),
        (np.array([[0.0, np.nan]]), "have no known range"),
        (np.array([[-1, 5]]), r"values -1…5 have no known range; 0…255"),
        (np.zeros((11, 10), np.uint8), r"10 × 11 = 110 pixels are more than data\.max_pixels=100"),
    ],
)
def test_arrays_that_are_no_pictures(array, why):
    with pytest.raises(BadImageError, match=why):
        to_picture(array, 100, "seven")


def test_own_data_sets_are_found_and_kept_in_the_users_cache(monkeypatch, capsys):
    monkeypatch.setitem(tfds.BUILDERS, "tiny_xray", "tests.data.sources.tiny_xray:TinyXray")
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    cache = Path(os.environ["XDG_CACHE_HOME"])
    shutil.rmtree(cache / "tl_jax/tfds", ignore_errors=True)
    assert len(read(config(source="tfds", name="tiny_xray"))) == 21
    assert (cache / "tl_jax/tfds/tiny_xray/1.0.0/dataset_info.json").is_file()
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("tiny_xray is being simulated, once, into ")
    read(config(source="tfds", name="tiny_xray"))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", tfds.BUILDERS)
def test_own_data_sets_are_named_as_tfds_names_them(name):
    module, _, builder = tfds.BUILDERS[name].partition(":")
    assert getattr(importlib.import_module(module), builder).name == name
