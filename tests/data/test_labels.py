"""Findings and numbers of a table: what is missing, what is wrong, and how they are split."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.data.sources.settings import config as settings_of
from tests.data.tables import config, table
from tl_jax.data import load_by
from tl_jax.data.labels import CLASSES, FINDINGS, NUMBERS
from tl_jax.data.reading import PictureReader
from tl_jax.data.sources import csv
from tl_jax.data.sources.errors import SourceError


def filled(values: np.ndarray, names: tuple[str, ...], groups=()):
    return replace(table([""] * len(values), groups=groups), targets=values, names=names)


def findings(n: int = 60) -> np.ndarray:
    random = np.random.default_rng(0)
    values = (random.random((n, 3)) < (0.5, 0.2, 0.08)).astype(float)
    values[random.random((n, 3)) < 0.1] = np.nan
    return values


def loaded(found, labels, **changes):
    settings = config(found, **changes)
    return load_by(PictureReader(8, 1, "bilinear", augmented=False), settings, labels=labels)


def test_the_rarest_finding_is_in_every_split():
    values = findings()
    data = loaded(filled(values, ("a", "b", "c")), FINDINGS)
    assert data.classes == ("a", "b", "c")
    for split in (data.train, data.val, data.test):
        assert split.labels.dtype == np.float32
        assert (split.labels[:, 2] == 1).any()
    every = np.concatenate([split.labels for split in (data.train, data.val, data.test)])
    np.testing.assert_array_equal(np.isnan(every).sum(axis=0), np.isnan(values).sum(axis=0))
    counts = data.counts()
    assert sum(one["findings"]["a"] for one in counts.values()) == int((values[:, 0] == 1).sum())
    assert any("train with / without / missing" in line for line in data.notes)


def test_numbers_are_split_by_quarters():
    values = np.random.default_rng(0).lognormal(size=(80, 1))
    data = loaded(filled(values, ("size",)), NUMBERS)
    for split in (data.train, data.val, data.test):
        assert 0.5 < np.median(split.labels) < 2
    assert set(data.strata.tolist()) == {f"quarter {i}" for i in (1, 2, 3, 4)}


def test_a_few_labels_are_the_same_share_of_all_strata():
    values = np.arange(80.0)[:, None]
    data = loaded(filled(values, ("size",)), NUMBERS, train_fraction=0.25)
    quarters = np.unique(data.strata, return_counts=True)[1]
    assert len(quarters) == 4
    assert quarters.max() - quarters.min() <= 1


def test_what_a_reader_was_not_sure_of_is_missing():
    values = findings()
    values[:5, 0] = -1
    data = loaded(filled(values, ("a", "b", "c")), FINDINGS)
    assert "5 findings of -1 (not sure) taken as missing" in data.notes
    assert not any((split.labels == -1).any() for split in (data.train, data.val, data.test))


def test_labels_are_part_of_the_fingerprint():
    values = findings()
    before = loaded(filled(values, ("a", "b", "c")), FINDINGS).fingerprint
    other = values.copy()
    other[np.flatnonzero(values[:, 0] == 0)[0], 0] = np.nan
    assert loaded(filled(other, ("a", "b", "c")), FINDINGS).fingerprint != before


@pytest.mark.parametrize(
    ("values", "labels", "words"),
    [
        (np.full((60, 1), 0.5), FINDINGS, r"p000, 'a': 0.5.*regression"),
        (np.zeros((60, 1)), FINDINGS, "train has no picture with 'a'"),
        (np.ones((60, 1)), FINDINGS, "train has no picture without 'a'"),
        (np.ones((60, 1)), NUMBERS, "'a' has fewer than two different values in train"),
        (np.full((60, 1), np.nan), NUMBERS, "not one row has a value in a"),
        (np.zeros((60, 2)), FINDINGS, r"targets have the shape \(60, 2\), not \(rows, names\) = \(60, 1\)"),
        (np.ones((60, 1)), CLASSES, "the task learns one class an example"),
    ],
)
def test_what_cannot_be_learned_is_told(values, labels, words):
    with pytest.raises(SourceError, match=f"(?s){words}"):
        loaded(filled(values, ("a",)), labels)


def test_one_class_an_example_is_no_finding():
    with pytest.raises(SourceError, match=r"data\.columns\.labels"):
        loaded(table(["a", "b"] * 20), FINDINGS)


def manifest(folder, lines, **columns):
    file = folder / "table.csv"
    file.write_text("\n".join(lines) + "\n")
    settings = settings_of(source="csv", manifest=str(file), on_bad_image="skip")
    with settings.unlocked(), settings.ignore_type():
        for key, value in columns.items():
            settings.columns[key] = value
    return settings


def test_columns_of_a_csv_file(tmp_path):
    lines = ["path,age,weight,site", "a.png,61,,x", "b.png,7.5e1,NA,y", "c.png,30,80,z"]
    found = csv.read(manifest(tmp_path, lines, labels=("age", "weight")))
    assert found.names == ("age", "weight")
    np.testing.assert_array_equal(found.targets, [[61, np.nan], [75, np.nan], [30, 80]])
    assert list(found.columns) == ["site"]


def test_all_that_is_wrong_in_a_csv_file_is_told_at_once(tmp_path):
    lines = ["path,age,weight", "a.png,old,1", ",2,3", "c.png,inf,heavy"]
    with pytest.raises(SourceError) as caught:
        csv.read(manifest(tmp_path, lines, labels=("age", "weight")))
    for words in (
        "no number in 'age': 'old' (line 2), 'inf' (line 4)",
        "no number in 'weight'",
        "empty 'path'",
    ):
        assert words in str(caught.value)
    with pytest.raises(SourceError, match=r"data\.columns\.labels\[1\]='wieght' is no column.*'weight'"):
        csv.read(manifest(tmp_path, lines, labels=("age", "wieght")))
