"""The CSV source: what a manifest may look like, and each thing that can be wrong with one."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from tests.data.sources.settings import config, pictures
from tl_jax.data.sources import read
from tl_jax.data.sources.errors import SourceError
from tl_jax.data.table import BadImageError


def manifest(folder, text: str, encoding: str = "utf-8", name: str = "list.csv", **changes):
    (folder / name).write_bytes(text.encode(encoding))
    return config(source="csv", manifest=str(folder / name), **changes)


def fails(settings) -> str:
    with pytest.raises(SourceError) as caught:
        read(settings)
    return str(caught.value)


@pytest.fixture
def root(tmp_path):
    return pictures(tmp_path, "a.png", "b.png", "deep/c.png", "d.png")


TEXT = "path,label,patient,part,site\na.png,x,p1,train,Köln\nb.png,y,p2,Train,\ndeep/c.png,x,p1,valid,Rom\n"
COLUMNS = dict(columns=dict(group="patient", split="part"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_encodings_delimiters_and_line_ends(root, encoding, delimiter, newline):
    text = TEXT.replace(",", delimiter).replace("\n", newline)
    table = read(manifest(root, text, encoding, **COLUMNS))
    assert table.ids.tolist() == ["a.png", "b.png", "deep/c.png"]
    assert table.labels.tolist() == ["x", "y", "x"]
    assert table.groups.tolist() == ["p1", "p2", "p1"]
    assert table.splits.tolist() == ["train", "train", "val"]
    assert {name: values.tolist() for name, values in table.columns.items()} == {"site": ["Köln", "", "Rom"]}
    assert table.grouped
    assert table.notes == ()
    assert table.read(2, None).shape == (6, 5, 1)
    assert len({table.stamp(i) for i in range(3)}) == 3


def test_delimiter_is_the_one_that_finds_the_columns(root):
    text = "path;label;a,b,c,d,e\na.png;x;1,2\nb.png;y;3\n"
    table = read(manifest(root, text))
    assert table.labels.tolist() == ["x", "y"]
    assert table.columns["a,b,c,d,e"].tolist() == ["1,2", "3"]


def test_split_names_are_normalised(root):
    names = ["training", "DEV", "validation", "testing"]
    rows = "".join(
        f"{path},x,{name}\n"
        for path, name in zip(["a.png", "b.png", "deep/c.png", "d.png"], names, strict=True)
    )
    table = read(manifest(root, "path,label,s\n" + rows, columns=dict(split="s")))
    assert table.splits.tolist() == ["train", "val", "val", "test"]


def test_quotes_blank_lines_spaces_and_backslashes(root):
    text = 'path , label,"note, long"\n\n"a.png",x,"one\ntwo"\n,,\ndeep\\c.png, y ,"say ""hm"""\n'
    table = read(manifest(root, text))
    assert table.ids.tolist() == ["a.png", "deep/c.png"]
    assert table.labels.tolist() == ["x", "y"]
    assert table.columns["note, long"].tolist()[1] == 'say "hm"'


def test_paths_below_root_absolute_and_manifest_below_root(root, tmp_path):
    elsewhere = tmp_path / "lists"
    elsewhere.mkdir()
    text = f"path,label\na.png,x\n{root}/b.png,y\n./deep/../d.png,y\n"
    table = read(manifest(elsewhere, text, root=str(root)))
    assert table.ids.tolist() == ["a.png", "b.png", "d.png"]
    (root / "list.csv").write_text("path,label\na.png,x\nb.png,y\n")
    assert len(read(config(root, source="csv", manifest="list.csv"))) == 2


def test_group_expression_on_ids(root):
    table = read(manifest(root, "path,label\na.png,x\nb.png,y\ndeep/c.png,x\n", group=r"^(\w)\.png"))
    assert table.groups.tolist() == ["a", "b", "c"]
    assert "both data.columns.group='patient' and data.group=" in fails(
        manifest(root, TEXT, group="x", **COLUMNS)
    )


def test_group_expression_passes_over_class_and_split_folders(tmp_path):
    names = [f"train/NORMAL{i}/{name}.png" for i, name in ((1, "p7"), (2, "x"), (2, "p8"))]
    pictures(tmp_path, *names)
    rows = "".join(f"{name},{name.split('/')[1]}\n" for name in names)
    table = read(manifest(tmp_path, "path,label\n" + rows, group=r"\d"))
    assert table.groups.tolist() == ["7", "train/NORMAL2/x.png", "8"]


def test_missing_columns_name_the_nearest(root):
    message = fails(manifest(root, "Path,labels,site,site\na.png,x,1,2\n", columns=dict(split="fold")))
    assert (
        "data.columns.path='path' is no column; there are Path, labels, site, site; did you mean 'Path'?"
        in message
    )
    assert "data.columns.label='label' is no column" in message
    assert "did you mean 'labels'?" in message
    assert "data.columns.split='fold' is no column" in message
    assert "column 'site' occurs twice" in message


def test_every_problem_of_the_rows_is_listed_at_once(root):
    rows = [f"gone{i}.png,x,train" for i in range(13)]
    rows += [
        "a.png,,train",
        ",x,train",
        "b.png,x,trian",
        "d.png,y",
        "deep/c.png,x,train",
        "deep/c.png,z,train",
    ]
    message = fails(manifest(root, "path,label,s\n" + "\n".join(rows) + "\n", columns=dict(split="s")))
    assert f"no such file below {root}: gone0.png (line 2), gone1.png" in message
    assert "gone9.png (line 11) and 3 more" in message
    assert "empty 'label': line 15" in message
    assert "empty 'path': line 16" in message
    assert "unknown split: 'trian' (line 17); did you mean 'train'?" in message
    assert "cells, not 3: line 18 (2)" in message
    assert "two rows that differ for one picture: deep/c.png (lines 19, 20)" in message


def test_missing_pictures_may_be_skipped(root):
    """They stay in the table, to be found missing, counted and named when they are read."""
    text = "path,label\na.png,x\ngone.png,y\n"
    assert read(manifest(root, text, on_bad_image="skip")).ids.tolist() == ["a.png", "gone.png"]
    with pytest.raises(BadImageError, match="no such file"):
        read(manifest(root, text, on_bad_image="skip")).read(1, None)


def test_an_unclosed_quote_in_the_header(root):
    assert "line 1: " in fails(manifest(root, 'path,"label\n' + "a.png,x\n" * 20_000))


@pytest.mark.parametrize(("fold", "training"), [("0/2", True), ("", False)])
def test_splits_that_nobody_looks_at_may_be_named_in_part(root, fold, training):
    text = "path,label,s\na.png,x,train\nb.png,y,\n"
    settings = manifest(root, text, columns=dict(split="s"), fold=fold)
    assert len(read(settings, training=training)) == 2


def test_missing_ending_is_told(root):
    assert "[a.png is there: the ending is missing]" in fails(manifest(root, "path,label\na,x\nb.png,y\n"))


def test_repeated_rows_count_once(root):
    table = read(manifest(root, "path,label\na.png,x\nb.png,y\na.png,x\n"))
    assert table.ids.tolist() == ["a.png", "b.png"]
    assert "1 repeated row counted once: line 4" in table.notes[0]


def test_splits_must_be_given_for_all_rows_or_none(root):
    text = "path,label,s\na.png,x,train\nb.png,x,\nd.png,y,train\n"
    assert "empty 's' while other rows have a split: line 3" in fails(
        manifest(root, text, columns=dict(split="s"))
    )
    table = read(manifest(root, text.replace("train", ""), columns=dict(split="s")))
    assert set(table.splits) == {""}


def test_empty_groups(root):
    text = "path,label,g\na.png,x,p\nb.png,x,p\nd.png,y,\n"
    table = read(manifest(root, text, columns=dict(group="g")))
    assert table.groups.tolist() == ["p", "p", "d.png"]
    assert "1 row without 'g', each a group of its own: line 4" in table.notes[0]
    assert "empty 'g' in 3 rows" in fails(manifest(root, text.replace(",p", ","), columns=dict(group="g")))


def test_label_unseen_in_train(root):
    text = "path,label,s\na.png,x,train\nb.png,y,test\n"
    settings = manifest(root, text, columns=dict(split="s"))
    assert "label 'y' is in test (1 picture) but never in train" in fails(settings)
    assert len(read(settings, training=False)) == 2


def test_missing_manifest(root):
    assert "data.manifest is empty" in fails(config(root, source="csv"))
    (root / "labels.csv").write_text("path,label\n")
    message = fails(config(source="csv", manifest=str(root / "label.csv")))
    assert "did you mean 'labels.csv'?" in message
    assert "is a folder, not a CSV file" in fails(config(source="csv", manifest=str(root)))
    assert "it has a header but no rows" in fails(config(source="csv", manifest=str(root / "labels.csv")))
    assert "data.root='nowhere' is not there" in fails(
        config("nowhere", source="csv", manifest=str(root / "labels.csv"))
    )


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is empty"),
        (b" \n \n", "is empty"),
        (b"PK\x03\x04rest", "is a spreadsheet or an archive; save it as CSV"),
        ("path,label\na.png,x\nb.png,Köln\n".encode("latin-1"), "line 3: byte 0xf6 is not UTF-8"),
        (b"path,label\na.png," + b"x" * 200_000 + b"\n", "line 2: field larger"),
    ],
)
def test_files_that_are_no_manifest(root, data, why):
    (root / "list.csv").write_bytes(data)
    assert why in fails(config(source="csv", manifest=str(root / "list.csv")))


def test_real_xrays_through_a_manifest(shared, tmp_path):
    folder = read(config(shared / "data/chest_xray", group=r"person\d+|IM-\d+"))
    with open(tmp_path / "list.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "finding", "who", "part"])
        writer.writerows(zip(folder.ids, folder.labels, folder.groups, folder.splits, strict=True))
    columns = dict(path="file", label="finding", group="who", split="part")
    settings = config(shared / "data/chest_xray", source="csv", columns=columns)
    settings.manifest = str(tmp_path / "list.csv")
    table = read(settings)
    for name in ("ids", "labels", "groups", "splits"):
        assert np.array_equal(getattr(table, name), getattr(folder, name))
    assert np.array_equal(table.read(7, None), folder.read(7, None))
    assert table.stamp(7) == folder.stamp(7)
