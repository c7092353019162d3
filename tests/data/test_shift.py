"""Another distribution from the same pictures: which pictures, what is told, and that no key forgets it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.data.tables import colour, config, gray, table
from tl_jax.config import complete
from tl_jax.data import examples, store
from tl_jax.data.load import load, load_labelled
from tl_jax.data.shift import Shift
from tl_jax.data.sources.errors import SourceError

LABELS = ["a", "b", "c"] * 20
NOISE = dict(corruption="noise", severity=2)


def read(*, rows=None, augmented=False, size=8, **changes):
    rows = rows or table(LABELS)
    return load(
        config(rows, **changes), image_size=size, channels=3, resample="bilinear", augmented=augmented
    )


def test_every_split_is_corrupted_and_no_picture_moves():
    plain, noisy = read(), read(shift=NOISE)
    shift = Shift("noise", 2)
    for name in ("train", "val", "test"):
        before, after = getattr(plain, name), getattr(noisy, name)
        assert before.ids.tolist() == after.ids.tolist()
        assert before.labels.tolist() == after.labels.tolist()
        expected = [shift.corrupted(*one) for one in zip(before.images, before.ids, strict=True)]
        assert np.array_equal(after.images, expected)
        assert (after.images != before.images).mean() > 0.5
    assert "pictures are corrupted: noise, severity 2" in noisy.notes
    assert noisy.caveat == "pictures are corrupted: noise, severity 2"
    assert plain.caveat == ""


def test_training_pictures_are_corrupted_on_their_canvas():
    plain, noisy = (read(size=14, augmented=True, shift=shift) for shift in ({}, NOISE))
    assert noisy.train.images.shape[1] == 16
    assert np.array_equal(
        noisy.train.images[3], Shift("noise", 2).corrupted(plain.train.images[3], plain.train.ids[3])
    )


def test_what_is_random_is_a_function_of_seed_and_id():
    picture = gray(0, 16)
    one = Shift("noise", 1).corrupted(picture, "x")
    assert one.dtype == np.uint8
    assert one.shape == picture.shape
    assert np.array_equal(one, Shift("noise", 1).corrupted(picture, "x"))
    others = [Shift("noise", 1).corrupted(picture, "y"), Shift("noise", 1, seed=1).corrupted(picture, "x")]
    moved = [other.astype(int) - picture for other in (one, *others)]
    for at, other in enumerate(moved):
        for second in moved[at + 1 :]:
            assert abs(np.corrcoef(other.ravel(), second.ravel())[0, 1]) < 0.3


def test_colour_and_gray_keep_their_channels():
    assert read(shift=NOISE).channels == 1
    coloured = table(LABELS, pictures=[colour(i) for i in range(60)])
    assert read(rows=coloured, shift=NOISE).test.images.shape[-1] == 3


def test_the_fingerprint_knows_all_of_it():
    shifts = [
        {},
        NOISE,
        NOISE | dict(severity=3),
        NOISE | dict(seed=1),
        dict(corruption="noise+blur", severity=2),
        dict(corruption="blur+noise", severity=2),
        dict(labels="flip"),
    ]
    found = [read(shift=shift).fingerprint for shift in shifts]
    assert len(set(found)) == len(found)
    idle = dict(severity=5, seed=4)
    assert read(shift=idle).fingerprint == found[0], "without a corruption these do nothing"


def test_what_is_kept_on_disk_is_found_by_it(tmp_path):
    first = read(shift=NOISE, cache=str(tmp_path))
    plain = read(cache=str(tmp_path))
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 2
    assert (plain.val.images != first.val.images).any()
    again = table(LABELS)
    kept = read(rows=again, shift=NOISE, cache=str(tmp_path))
    assert again.read.__self__.rows_read == [], "read from the cache"
    assert np.array_equal(kept.val.images, first.val.images)
    assert kept.fingerprint == first.fingerprint


def test_pictures_that_stay_on_disk(tmp_path):
    small, large = (read(shift=NOISE, cache=str(tmp_path), host_budget=n) for n in (100, 10**6))
    assert isinstance(small.train.images, examples.Rows)
    assert np.array_equal(small.train.images[:], large.train.images)


def test_keys_of_pictures_as_they_are_stay_what_they_were(tmp_path, monkeypatch):
    keys = []
    monkeypatch.setattr(store, "_key", lambda table, facts, workers: keys.append(facts) or "key")
    read(cache=str(tmp_path))
    assert keys == [[8, 16, 100_000_000, "squash", "bilinear", False]]


def test_meanings_move_and_names_stay():
    plain, moved = read(), read(shift=dict(labels="flip"))
    assert moved.classes == plain.classes == ("a", "b", "c")
    for name in ("train", "val", "test"):
        before, after = getattr(plain, name), getattr(moved, name)
        assert before.ids.tolist() == after.ids.tolist(), "splits are cut by what pictures show"
        assert after.labels.tolist() == ((before.labels + 1) % 3).tolist()
        assert np.array_equal(before.images, after.images)
    assert (
        moved.caveat
        == "labels are shifted: what is a is called b, what is b is called c, what is c is called a"
    )


def test_two_classes_change_places():
    rows = table(["ill", "well"] * 30)
    moved = read(rows=rows, shift=dict(labels="flip"), train_fraction=0.5)
    number = {name: i for i, name in enumerate(rows.ids)}
    shown = [rows.labels[number[name]] for name in moved.train.ids]
    assert [moved.classes[label] for label in moved.train.labels] == [
        {"ill": "well", "well": "ill"}[label] for label in shown
    ]


def test_data_to_be_measured_are_shifted_alike():
    rows = table(LABELS)
    how: dict[str, Any] = dict(
        classes=("a", "b", "c"), image_size=8, channels=3, resample="bilinear", at_least=16
    )
    plain, _ = load_labelled(config(rows), **how)
    both = NOISE | dict(labels="flip")
    found, notes = load_labelled(config(rows, shift=both), **how)
    assert found.labels.tolist() == ((plain.labels + 1) % 3).tolist()
    test = read(shift=both).test
    rows_of_test = [found.ids.tolist().index(name) for name in test.ids]
    assert np.array_equal(found.images[rows_of_test], test.images)
    assert "pictures are corrupted: noise, severity 2" in notes


def test_what_there_is_not():
    with pytest.raises(
        SourceError, match=r"data\.shift: there is no corruption 'fogg'; severity is 0.*noise, blur"
    ):
        read(shift=dict(corruption="fogg+noise", severity=0))
    wrong = {
        "data": dict(root="x", shift=dict(corruption="nois", severity=6, labels="flipp")),
        "model": dict(pretrained="embedded"),
        "stages": [dict(train="head")],
    }
    with pytest.raises(ValueError) as caught:
        complete(wrong)
    for part in ("did you mean 'noise'", "1 ≤ value ≤ 5", "did you mean 'flip'"):
        assert part in str(caught.value)
