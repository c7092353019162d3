"""The folder source: both layouts, and each thing that can be wrong with one."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from tests.data.sources.settings import config, picture, pictures
from tl_jax.data.sources import SOURCES, read
from tl_jax.data.sources.errors import SourceError
from tl_jax.data.table import BadImageError, Table


@pytest.mark.parametrize("val", ["val", "valid", "validation", "VAL"])
def test_split_folders_give_splits_and_labels(tmp_path, val):
    paths = ("train/a/1.png", "train/b/deep/er/2.jpg", f"{val}/a/3.PNG", f"{val}/b/4.webp", "test/a/5.bmp")
    table = read(config(pictures(tmp_path, *paths)))
    rows = {i: (label, split) for i, label, split in zip(table.ids, table.labels, table.splits, strict=True)}
    assert rows == {
        "train/a/1.png": ("a", "train"),
        "train/b/deep/er/2.jpg": ("b", "train"),
        f"{val}/a/3.PNG": ("a", "val"),
        f"{val}/b/4.webp": ("b", "val"),
        "test/a/5.bmp": ("a", "test"),
    }
    assert list(table.groups) == list(table.ids)
    assert not table.grouped
    assert table.notes == ()


def test_one_tree_leaves_splits_open(tmp_path):
    table = read(config(pictures(tmp_path, "cat/x/1.png", "dog/2.gif", "dog/3.tif")))
    assert list(table.labels) == ["cat", "dog", "dog"]
    assert set(table.splits) == {""}


def test_reads_pixels_by_row(tmp_path):
    picture(tmp_path / "a/1.png", seed=1)
    picture(tmp_path / "b/2.png", seed=2, shape=(4, 3, 3))
    table = read(config(tmp_path))
    gray = np.random.default_rng(1).integers(0, 256, (6, 5), dtype=np.uint8)
    assert np.array_equal(table.read(0, None), gray[:, :, None])
    assert table.read(1, None).shape == (4, 3, 3)


def test_reader_survives_pickling(tmp_path):
    table = read(config(pictures(tmp_path, "a/1.png", "b/2.png")))
    again = pickle.loads(pickle.dumps(table))
    assert np.array_equal(again.read(1, None), table.read(1, None))


def test_stamp_follows_the_file(tmp_path):
    table = read(config(pictures(tmp_path, "a/1.png", "b/2.png")))
    before = table.stamp(0), table.stamp(1)
    picture(tmp_path / "a/1.png", seed=9, shape=(7, 7))
    assert table.stamp(0) != before[0]
    assert table.stamp(1) == before[1]


def test_bad_picture_is_named_by_its_id(tmp_path):
    pictures(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a/1.png").write_text("no picture at all")
    with pytest.raises(BadImageError, match=r"^a/1.png: it is text"):
        read(config(tmp_path)).read(0, None)
    (tmp_path / "a/1.png").unlink()
    table = read(config(pictures(tmp_path, "a/3.png")))
    (tmp_path / "a/3.png").unlink()
    with pytest.raises(BadImageError, match=r"a/3.png: there is no such file"):
        table.read(0, None)
    assert table.stamp(0) == "absent"


def test_system_files_are_skipped_and_others_counted(tmp_path):
    pictures(tmp_path, "train/a/1.png", "train/b/2.png")
    for name in ("train/a/.DS_Store", "train/a/Thumbs.db", ".hidden/x/1.png", "train/a/._1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    pictures(tmp_path, "__MACOSX/train/a/1.png", "train/__MACOSX/1.png")
    for name in ("notes.txt", "train/a/more.txt", "train/labels.csv", "train/b/LICENSE"):
        (tmp_path / name).write_text("x")
    table = read(config(tmp_path))
    assert list(table.ids) == ["train/a/1.png", "train/b/2.png"]
    (note,) = table.notes
    assert "4 files" in note
    assert "2 .txt, 1 .csv, 1 no ending" in note


def test_pictures_outside_a_class_are_mentioned(tmp_path):
    table = read(config(pictures(tmp_path, "a/1.png", "b/2.png", "montage.png")))
    assert list(table.ids) == ["a/1.png", "b/2.png"]
    assert any("1 picture directly in" in note for note in table.notes)


def test_kaggle_pattern_names_patients(tmp_path):
    names = ("PNEUMONIA/person12_virus_1.jpeg", "PNEUMONIA/person12_bacteria_2.jpeg")
    names += ("NORMAL/NORMAL2-IM-0115-0001.jpeg", "NORMAL/IM-0115-0001.jpeg")
    table = read(config(pictures(tmp_path, *names), group=r"person\d+|IM-\d+"))
    groups = dict(zip(table.ids, table.groups, strict=True))
    assert [groups[name] for name in names] == ["person12", "person12", "IM-0115", "IM-0115"]
    assert table.grouped


def fails(settings) -> str:
    with pytest.raises(SourceError) as caught:
        read(settings)
    return str(caught.value)


def test_missing_folder_names_the_nearest(tmp_path):
    (tmp_path / "chest_xray").mkdir()
    (tmp_path / "other").mkdir()
    message = fails(config(tmp_path / "chest_xrays" / "train"))
    assert "holds chest_xray, other" in message
    assert "did you mean 'chest_xray'?" in message
    assert "data.root is empty" in fails(config(""))
    (tmp_path / "data.zip").write_bytes(b"PK")
    assert "is a file, not a folder. Unpack it" in fails(config(tmp_path / "data.zip"))


def test_empty_root_and_flat_root(tmp_path):
    assert "there is no folder in it (it is empty)" in fails(config(tmp_path))
    assert "(it holds 1.png, 2.png)" in fails(config(pictures(tmp_path, "1.png", "2.png")))


def test_every_problem_is_listed_at_once(tmp_path):
    pictures(tmp_path, "train/a/1.png", "train/b/2.png", "val/a/3.png", "val/C/4.png", "val/C/5.png")
    pictures(tmp_path, "Valid/a/1.png", "test/loose.png", "extra/6.png")
    (tmp_path / "train/empty").mkdir()
    (tmp_path / "train/texts").mkdir()
    (tmp_path / "train/texts/x.txt").write_text("x")
    message = fails(config(tmp_path))
    assert "Valid and val both mean the val split" in message
    assert "class folder train/empty holds no picture" in message
    assert "class folder train/texts holds no picture; other files there: 1 .txt" in message
    assert "test holds no class folder but 1 picture without a class" in message
    assert "layouts are mixed: extra (1 picture)" in message


def test_label_unseen_in_train(tmp_path):
    pictures(tmp_path, "train/Normal/1.png", "train/b/2.png", "val/NORMAL/3.png", "test/x/4.png")
    message = fails(config(tmp_path))
    assert "label 'NORMAL' is in val (1 picture) but never in train; did you mean 'Normal'?" in message
    assert "label 'x' is in test (1 picture) but never in train; train has Normal, b" in message
    assert len(read(config(tmp_path), training=False)) == 4
    assert len(read(config(tmp_path, fold="0/3"))) == 4
    assert len(read(config(tmp_path, classes=("b", "Normal")))) == 4


def test_root_without_train(tmp_path):
    pictures(tmp_path, "val/a/1.png", "val/b/2.png", "test/a/3.png")
    assert "no picture is for training: val has 2 pictures, test has 1 picture" in fails(config(tmp_path))
    assert len(read(config(tmp_path), training=False)) == 3


def test_only_checks_the_classes_asked_for(tmp_path):
    pictures(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "c").mkdir()
    assert "class folder c holds no picture" in fails(config(tmp_path))
    assert len(read(config(tmp_path, classes=("a", "b")))) == 2


def test_root_one_level_too_high(tmp_path):
    pictures(tmp_path, "chest_xray/train/a/1.png", "chest_xray/test/a/1.png")
    assert f"did you mean data.root='{tmp_path}/chest_xray'?" in fails(config(tmp_path))


def test_nested_copy_beside_the_splits_is_passed_over(tmp_path):
    """Kaggle's archive holds itself once more."""
    pictures(tmp_path, "train/a/1.png", "train/b/1.png", "chest_xray/train/a/1.png")
    table = read(config(tmp_path))
    assert len(table) == 2
    assert "has splits of its own and was not read" in table.notes[0]


def test_splits_below_classes(tmp_path):
    message = fails(config(pictures(tmp_path, "a/train/1.png", "b/train/1.png", "b/test/2.png")))
    assert "class b holds test, train: splits go above the classes" in message


def test_one_class_only(tmp_path):
    settings = config(pictures(tmp_path, "data/a/1.png", "data/b/2.png"))
    assert "data is the only class; it holds a, b: is it the root?" in fails(settings)
    assert set(read(settings, training=False).labels) == {"data"}


def test_links_are_followed_and_loops_found(tmp_path):
    pictures(tmp_path, "elsewhere/x/1.png", "root/b/2.png")
    os.symlink(tmp_path / "elsewhere", tmp_path / "root/a")
    assert list(read(config(tmp_path / "root")).ids) == ["a/x/1.png", "b/2.png"]
    os.symlink(tmp_path / "root/b", tmp_path / "root/b/again")
    os.symlink(tmp_path / "nowhere.png", tmp_path / "root/b/gone.png")
    os.symlink("itself.png", tmp_path / "root/b/itself.png")
    message = fails(config(tmp_path / "root"))
    assert "again is a link that leads back to a folder above it" in message
    assert "gone.png is a link to a file that is not there" in message
    assert "itself.png is a link to a file that is not there" in message


def test_names_that_cannot_be_printed(tmp_path):
    pictures(tmp_path, "a/1.png", "b/2.png")
    picture(tmp_path / "a/two\nlines.png")
    assert "has a name that cannot be printed" in fails(config(tmp_path))
    (tmp_path / "a/two\nlines.png").unlink()
    pictures(tmp_path, "a/épaule gauche.png")
    assert "a/épaule gauche.png" in read(config(tmp_path)).ids


def test_unknown_source_and_callable_source(tmp_path):
    pictures(tmp_path, "a/1.png", "b/2.png")
    message = fails(config(tmp_path, source="folders"))
    assert ", ".join(SOURCES) in message
    assert "did you mean 'folder'?" in message

    table = read(config(tmp_path))

    def mine(settings) -> Table:
        assert settings.root == str(tmp_path)
        return table

    assert read(config(tmp_path, source=mine)) is table
    assert "returned list, not a Table" in fails(config(tmp_path, source=lambda settings: []))


def test_real_chest_xrays(shared):
    """The counts that the data's own page states; patients are disjoint over the splits."""
    table = read(config(shared / "data/chest_xray", group=r"person\d+|IM-\d+"))
    stated = {"train": (156, 444, 453), "val": (31, 89, 92), "test": (62, 178, 179)}
    for split, (normal, pneumonia, patients) in stated.items():
        rows = table.splits == split
        assert (table.labels[rows] == "NORMAL").sum() == normal
        assert (table.labels[rows] == "PNEUMONIA").sum() == pneumonia
        assert len(set(table.groups[rows])) == patients
    assert table.notes == ()
    image = table.read(0, None)
    assert image.dtype == np.uint8
    assert image.shape[2] == 1
    assert min(image.shape[:2]) == 256
    assert min(table.read(0, (100, 100)).shape[:2]) == 128
