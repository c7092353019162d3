"""Splits: by group, pure in the rows' names and the seed, and each policy for given splits that overlap."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.data.sources.settings import config as settings
from tl_jax.data import splits
from tl_jax.data.sources.errors import SourceError


@st.composite
def patients(draw, least: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Groups and labels, several rows a group, labels at times mixed within one."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=least, max_size=40))
    groups = [f"g{i}" for i, size in enumerate(sizes) for _ in range(size)]
    labels = [f"c{(int(g[1:]) + draw(st.integers(0, 1)) * (k % 5 == 0)) % 3}" for k, g in enumerate(groups)]
    return np.array(groups), np.array(labels)


def blank(groups: np.ndarray) -> np.ndarray:
    return np.full(len(groups), "", dtype="U5")


def whole(groups: np.ndarray, where: np.ndarray) -> bool:
    """Whether every group lies in one split."""
    pairs = {(g, w) for g, w in zip(groups.tolist(), where.tolist(), strict=True) if w}
    return len(pairs) == len({g for g, _ in pairs})


@given(rows=patients(), seed=st.integers(0, 99), shuffle=st.randoms(use_true_random=False))
def test_cuts_do_not_depend_on_the_order_of_rows(rows, seed, shuffle):
    groups, labels = rows
    order = list(range(len(groups)))
    shuffle.shuffle(order)
    config = settings(split_seed=seed)
    where, _ = splits.assign(groups, labels, blank(groups), config)
    again, _ = splits.assign(groups[order], labels[order], blank(groups), config)
    assert np.array_equal(again, where[order])
    assert whole(groups, where)
    assert set(where) <= {"train", "val", "test"}


def test_the_seed_moves_groups():
    groups = np.array([f"g{i}" for i in range(60)])
    labels = np.array(["a", "b"] * 30)
    one, two = (splits.assign(groups, labels, blank(groups), settings(split_seed=s))[0] for s in (0, 1))
    assert not np.array_equal(one, two)


def test_each_class_is_shared_alike():
    groups = np.array([f"g{i}" for i in range(1000)])
    labels = np.array(["rare" if i % 10 == 0 else "common" for i in range(1000)])
    where, _ = splits.assign(groups, labels, blank(groups), settings())
    for label, number in (("rare", 100), ("common", 900)):
        counts = Counter(where[labels == label].tolist())
        assert counts["train"] == pytest.approx(0.7 * number, abs=1)
        assert counts["val"] == pytest.approx(0.15 * number, abs=1)


@pytest.mark.parametrize("seed", range(5))
def test_a_class_of_three_groups_is_in_every_split(seed):
    groups = np.array([f"g{i}" for i in range(103)])
    labels = np.array(["common"] * 100 + ["rare"] * 3)
    where, _ = splits.assign(groups, labels, blank(groups), settings(split_seed=seed))
    assert sorted(where[100:].tolist()) == ["test", "train", "val"]


def test_patients_with_many_pictures_are_not_kept_for_training():
    # 30 patients of 20 pictures among 300 of one: 70 % of both kinds should train. Over 20 seeds the share
    # of the large ones has a standard deviation below √(0.7 · 0.3 / 600) = 0.02.
    groups = np.repeat([f"g{i}" for i in range(330)], [20] * 30 + [1] * 300)
    labels = np.full(len(groups), "c")
    cuts = [splits.cut(groups, labels, (0.7, 0.15, 0.15), seed) for seed in range(20)]
    assert 0.6 < np.mean([(parts[: 30 * 20 : 20] == 0).mean() for parts in cuts]) < 0.8


@pytest.mark.parametrize("seed", range(5))
def test_a_group_of_several_labels_is_cut_whole_and_counts_for_all_of_them(seed):
    # Every patient has a common picture; every fourth has a rare one too.
    groups = np.array([f"g{i}" for i in range(200)] + [f"g{i}" for i in range(0, 200, 4)])
    labels = np.array(["common"] * 200 + ["rare"] * 50)
    parts = splits.cut(groups, labels, (0.6, 0.2, 0.2), seed)
    assert whole(groups, parts.astype(str))
    for label in ("common", "rare"):
        shares = np.bincount(parts[labels == label], minlength=3) / (labels == label).sum()
        np.testing.assert_allclose(shares, [0.6, 0.2, 0.2], atol=0.05)


@given(rows=patients(least=10), seed=st.integers(0, 9))
def test_fractions_nest_and_hold_each_class(rows, seed):
    groups, labels = rows
    kept = [splits.few(groups, labels, f, seed) for f in (0.01, 0.1, 0.5, 0.9, 1.0)]
    for smaller, larger in pairwise(kept):
        assert (larger | ~smaller).all()
    assert kept[-1].all()
    assert set(labels[kept[0]].tolist()) == set(labels.tolist())
    assert all(whole(groups, part.astype(str)) for part in kept)


@pytest.mark.parametrize("share", [0.05, 0.25, 0.5])
def test_a_fraction_is_one_of_the_groups_of_every_class(share):
    groups = np.array([f"g{i // (1 + i % 3)}" for i in range(1200)])
    labels = np.array([f"c{int(g[1:]) % 3}" for g in groups.tolist()])
    kept = splits.few(groups, labels, share, 0)
    for label in ("c0", "c1", "c2"):
        there = {*groups[labels == label].tolist()}
        assert len(there & {*groups[kept].tolist()}) / len(there) == pytest.approx(share, abs=0.01)


def test_a_fraction_does_not_follow_the_order_of_the_cut():
    # Drawn in the same order as the splits, small shares would always be the groups dealt out first.
    groups = np.array([f"g{i}" for i in range(200)])
    labels = np.array(["a", "b"] * 100)
    first = splits.cut(groups, labels, (0.5, 0.5), 0) == 0
    kept = splits.few(groups, labels, 0.2, 0)
    assert 8 < (kept & first).sum() < 32


@given(rows=patients(least=6), folds=st.integers(2, 6))
def test_folds_test_every_row_once(rows, folds):
    groups, labels = rows
    assume(len(set(groups.tolist())) >= folds)
    tests, vals = [], []
    for i in range(folds):
        where, _ = splits.assign(groups, labels, blank(groups), settings(fold=f"{i}/{folds}"))
        assert whole(groups, where)
        tests.append(where == "test")
        vals.append(where == "val")
    assert (np.sum(tests, axis=0) == 1).all()


@pytest.mark.parametrize("folds", [2, 5, 10])
def test_folds_are_of_one_size(folds):
    groups = np.array([f"g{i // (1 + i % 3)}" for i in range(600)])
    labels = np.array([f"c{int(g[1:]) % 2}" for g in groups.tolist()])
    for i in range(folds):
        where, _ = splits.assign(groups, labels, blank(groups), settings(fold=f"{i}/{folds}"))
        assert (where == "test").mean() == pytest.approx(1 / folds, abs=0.01)
        assert (where == "val").sum() / (where != "test").sum() == pytest.approx(0.15, abs=0.01)


def test_no_fold_is_empty_where_all_classes_are_small():
    groups = np.array([f"g{i}" for i in range(30)])
    labels = np.array([f"c{i // 3}" for i in range(30)])
    for i in range(5):
        where, _ = splits.assign(groups, labels, blank(groups), settings(fold=f"{i}/5"))
        assert (where == "test").sum() == 6


def test_validation_of_a_fold_is_not_the_next_test():
    groups = np.array([f"g{i}" for i in range(100)])
    labels = np.array(["a", "b"] * 50)
    cut = [
        splits.assign(groups, labels, blank(groups), settings(fold=f"{i}/5", fractions={"val": 0.25}))[0]
        for i in range(5)
    ]
    for i in range(5):
        shared = (cut[i] == "val") & (cut[(i + 1) % 5] == "test")
        assert 0 < shared.sum() < (cut[i] == "val").sum()


@pytest.mark.parametrize("fold", ["5/5", "a/b", "1", "-1/3", "0/1"])
def test_a_malformed_fold_is_refused(fold):
    groups = np.array(["a", "b", "c"])
    with pytest.raises(SourceError, match="fold"):
        splits.assign(groups, groups, blank(groups), settings(fold=fold))


def test_more_folds_than_groups_is_refused():
    groups = np.array(["a", "a", "b", "b"])
    with pytest.raises(SourceError, match="only 2 groups"):
        splits.assign(groups, groups, blank(groups), settings(fold="0/3"))


def test_a_fold_sets_given_splits_aside():
    groups = np.array([f"g{i}" for i in range(20)])
    given_ = np.array(["train"] * 10 + ["test"] * 10)
    where, notes = splits.assign(groups, np.array(["a", "b"] * 10), given_, settings(fold="0/4"))
    assert "set aside" in notes[0]
    assert set(where[:10].tolist()) != {"train"}


def given_splits() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Patient 1 is in train and test, patient 2 in train and val, patient 3 in val and test."""
    rows = [("1", "train"), ("1", "test"), ("2", "train"), ("2", "val"), ("3", "val"), ("3", "test")]
    rows += [(f"t{i}", "train") for i in range(20)] + [(f"v{i}", "val") for i in range(4)]
    rows += [(f"e{i}", "test") for i in range(4)]
    groups, where = (np.array(column) for column in zip(*rows, strict=True))
    return groups, np.array(["a", "b"] * (len(rows) // 2)), where


def test_overlap_is_an_error_that_names_groups_and_choices():
    groups, labels, where = given_splits()
    with pytest.raises(SourceError) as error:
        splits.assign(groups, labels, where, settings(min_val=1))
    for word in ("3 groups", "1 (train, test), 2 (train, val), 3 (val, test)", "drop_from_train", "resplit"):
        assert word in str(error.value)


def test_overlap_dropped_leaves_test_whole():
    groups, labels, where = given_splits()
    how = settings(on_group_overlap="drop_from_train", min_val=1)
    kept, notes = splits.assign(groups, labels, where, how)
    assert kept[:6].tolist() == ["", "test", "", "val", "", "test"]
    assert np.array_equal(kept[6:], where[6:])
    assert "2 pictures from train and 1 picture from val dropped" in notes[0]


def test_overlap_cut_anew():
    groups, labels, where = given_splits()
    anew, notes = splits.assign(groups, labels, where, settings(on_group_overlap="resplit"))
    assert whole(groups, anew)
    assert (anew != "").all()
    assert np.array_equal(anew, splits.assign(groups, labels, blank(groups), settings())[0])
    assert "cut anew" in notes[0]


def test_a_small_validation_split_is_cut_again_from_train():
    groups = np.array([f"g{i}" for i in range(400)])
    labels = np.array(["a", "b"] * 200)
    where = np.array(["train"] * 300 + ["val"] * 16 + ["test"] * 84)
    kept, notes = splits.assign(groups, labels, where, settings())
    assert np.array_equal(kept == "test", where == "test")
    assert (kept == "val").sum() == pytest.approx(0.15 * 316, abs=2)
    assert "only 16 pictures" in notes[0]
    untouched, notes = splits.assign(groups, labels, where, settings(min_val=16))
    assert np.array_equal(untouched, where)
    assert notes == []


def test_a_small_validation_split_that_shares_groups_with_train_is_no_error():
    groups = np.array([f"g{i}" for i in range(400)] + [f"g{i}" for i in range(16)] + ["e"] * 20)
    where = np.array(["train"] * 400 + ["val"] * 16 + ["test"] * 20)
    kept, notes = splits.assign(groups, np.array(["a", "b"] * 218), where, settings())
    assert whole(groups, kept)
    assert (kept != "").all()
    assert len(notes) == 1


def test_a_validation_split_made_small_by_dropping_is_cut_again():
    groups = np.array([f"g{i}" for i in range(300)] + [f"v{i}" for i in range(60)] + ["e"] * 20)
    groups[300:320] = "e"
    where = np.array(["train"] * 300 + ["val"] * 60 + ["test"] * 20)
    how = settings(on_group_overlap="drop_from_train")
    kept, notes = splits.assign(groups, np.array(["a", "b"] * 190), where, how)
    assert whole(groups, kept)
    assert (kept[300:320] == "").all()
    assert (kept == "val").sum() >= 50
    assert "20 pictures from val dropped" in notes[0]
    assert "given val split" in notes[1]


def test_both_absent_splits_are_cut_from_train_at_once():
    groups = np.array([f"g{i}" for i in range(200)])
    kept, notes = splits.assign(groups, np.array(["a", "b"] * 100), np.full(200, "train"), settings())
    assert Counter(kept.tolist()) == {"train": 140, "val": 30, "test": 30}
    assert len(notes) == 2


def test_a_validation_split_cut_again_is_no_smaller_than_before():
    groups = np.array([f"g{i}" for i in range(110)])
    where = np.array(["train"] * 60 + ["val"] * 40 + ["test"] * 10)
    kept, _ = splits.assign(groups, np.array(["a", "b"] * 55), where, settings())
    assert (kept == "val").sum() == 40


@pytest.mark.parametrize("absent", ["val", "test"])
def test_an_absent_split_is_cut_from_train(absent):
    groups = np.array([f"g{i // 2}" for i in range(400)])
    where = np.array(["train"] * 300 + [{"val": "test", "test": "val"}[absent]] * 100)
    kept, notes = splits.assign(groups, np.array(["a", "b"] * 200), where, settings())
    assert (kept[:300] == absent).sum() == pytest.approx(45, abs=3)
    assert np.array_equal(kept[300:], where[300:])
    assert whole(groups, kept)
    assert f"given {absent} split is absent" in notes[0]


def test_splits_in_some_rows_only_are_refused():
    groups = np.array(["a", "b", "c"])
    with pytest.raises(SourceError, match="1 picture of 3 have no split"):
        splits.assign(groups, groups, np.array(["train", "", "test"]), settings())


def test_merged_groups_follow_chains():
    groups = np.array(["d", "c", "b", "a", "e"])
    merged = splits.merge_groups(groups, [[0, 1], [1, 2], [2, 3]])
    assert merged.tolist() == ["a", "a", "a", "a", "e"]
    assert np.array_equal(splits.merge_groups(groups, []), groups)


@given(rows=patients(), pairs=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200)), max_size=8))
def test_merged_groups_keep_rows_and_old_groups_together(rows, pairs):
    groups, _ = rows
    together = [[a % len(groups), b % len(groups)] for a, b in pairs]
    merged = splits.merge_groups(groups, together)
    assert all(merged[a] == merged[b] for a, b in together)
    for name in set(groups.tolist()):
        assert len(set(merged[groups == name].tolist())) == 1


def test_check_counts_groups_and_finds_a_leak():
    groups, where = np.array(["a", "a", "b", "c"]), np.array(["train", "train", "val", "test"])
    assert splits.check(groups, where, grouped=True).endswith("groups: train 1, val 1, test 1")
    assert "set data.group" in splits.check(groups, where, grouped=False)
    with pytest.raises(AssertionError, match="a"):
        splits.check(groups, np.array(["train", "test", "val", "test"]), grouped=True)
