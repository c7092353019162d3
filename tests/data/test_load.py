"""From a config to splits: leaks, faults and limits are found and said; the real X-rays load."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.data.sources.settings import config as settings
from tests.data.sources.settings import picture
from tests.data.tables import colour, config, gray, table
from tl_jax.data import decode, examples
from tl_jax.data.load import Data, load, load_labelled
from tl_jax.data.sources.errors import SourceError
from tl_jax.data.table import Table

N = 60
LABELS = ["a", "b"] * (N // 2)
GIVEN = ["train"] * 40 + ["val"] * 10 + ["test"] * 10


def read(rows: Table, *, image_size=4, channels=3, resample="bilinear", augmented=False, say=None, **changes):
    more = {"say": say} if say else {}
    return load(
        config(rows, **changes),
        image_size=image_size,
        channels=channels,
        resample=resample,
        augmented=augmented,
        **more,
    )


def where(data: Data) -> dict[str, str]:
    return {i: name for name in ("train", "val", "test") for i in getattr(data, name).ids.tolist()}


def text(error: pytest.ExceptionInfo) -> str:
    return str(error.value)


def test_splits_hold_what_the_table_says():
    groups = [f"g{i // 2}" for i in range(N)]
    site = np.array([f"s{i % 3}" for i in range(N)])
    data = read(table(LABELS, groups=groups, splits=GIVEN, columns={"site": site}, notes=("a line",)))
    assert data.classes == ("a", "b")
    assert (len(data.train), len(data.val), len(data.test)) == (40, 10, 10)
    assert data.val.ids.tolist() == [f"p{i:03}" for i in range(40, 50)]
    assert data.val.groups.tolist() == groups[40:50]
    assert data.val.columns["site"].tolist() == site[40:50].tolist()
    assert data.val.labels.tolist() == [0, 1] * 5
    assert data.val.labels.dtype == np.int32
    assert np.array_equal(data.val.images[3], decode.resize(gray(43), 4))
    assert data.notes[0] == "a line"
    assert any("no group is in two splits; groups: train 20, val 5, test 5" in line for line in data.notes)
    assert [line.split() for line in data.notes[-4:]] == [
        ["train", "val", "test"],
        ["a", "20", "5", "5"],
        ["b", "20", "5", "5"],
        ["all", "40", "10", "10"],
    ]


def test_training_pictures_are_on_the_canvas():
    data = read(table(LABELS), image_size=14, augmented=True)
    assert data.train.images.shape[1:] == (16, 16, 1)
    assert data.val.images.shape[1:] == data.test.images.shape[1:] == (14, 14, 1)
    row = int(data.train.ids[0][1:])
    assert np.array_equal(data.train.images[0], decode.resize(gray(row), 16))
    assert read(table(LABELS), image_size=14, augmented=True, canvas=20).train.images.shape[1] == 20
    assert read(table(LABELS), image_size=14, canvas=20).train.images.shape[1] == 14


def test_the_canvas_changes_no_picture_that_is_measured():
    plain, moved = (read(table(LABELS), image_size=14, augmented=augmented) for augmented in (False, True))
    assert plain.at_least == moved.at_least == 28
    assert np.array_equal(plain.val.images, moved.val.images)


def test_an_unfit_canvas_is_refused_or_told():
    with pytest.raises(SourceError, match=r"data\.canvas=8 is below the 14 pixels"):
        read(table(LABELS), image_size=14, augmented=True, canvas=8)
    assert "without antialiasing" in read(table(LABELS), image_size=4, augmented=True, canvas=8).notes[0]


def test_channels_are_those_of_the_pictures():
    colours = [colour(i) for i in range(N)]
    assert read(table(LABELS)).channels == 1
    assert read(table(LABELS, pictures=colours)).channels == 3
    one = read(table(LABELS, pictures=colours), channels=1)
    assert one.channels == one.test.images.shape[-1] == 1


def test_pictures_beyond_the_host_budget_stay_on_disk(tmp_path):
    small, large = (read(table(LABELS), cache=str(tmp_path), host_budget=b) for b in (100, 10**6))
    assert type(large.train.images) is np.ndarray
    for name in ("train", "val", "test"):
        mapped = getattr(small, name).images
        assert isinstance(mapped, examples.Rows)
        assert isinstance(mapped.array, np.memmap)
        assert np.array_equal(mapped[:], getattr(large, name).images)
    assert small.fingerprint == large.fingerprint


def test_classes_limit_and_order():
    labels = ["c", "a", "b"] * 20
    data = read(table(labels), classes=("b", "a"))
    assert data.classes == ("b", "a")
    assert len(where(data)) == 40
    rows = [int(i[1:]) for i in data.train.ids]
    assert data.train.labels.tolist() == [("b", "a").index(labels[row]) for row in rows]
    assert all(
        np.array_equal(image, decode.resize(gray(row), 4))
        for image, row in zip(data.train.images, rows, strict=True)
    )
    assert "data.classes leaves out 20 pictures" in data.notes


@pytest.mark.parametrize(
    ("classes", "told"),
    [(("a", "bb"), "did you mean 'b'"), (("a", "b", "a"), "twice"), (("a",), "one class only")],
)
def test_classes_that_make_no_sense(classes, told):
    with pytest.raises(SourceError, match=told):
        read(table(LABELS), classes=classes)


def test_a_fraction_trains_on_less_and_measures_the_same():
    whole, part = read(table(LABELS)), read(table(LABELS), train_fraction=0.25)
    assert set(part.train.ids) < set(whole.train.ids)
    assert len(part.train) == pytest.approx(len(whole.train) / 4, abs=2)
    for name in ("val", "test"):
        assert np.array_equal(getattr(part, name).ids, getattr(whole, name).ids)
    assert any("train_fraction=0.25" in line for line in part.notes)
    assert part.fingerprint != whole.fingerprint


def test_a_share_of_its_own_seed_moves_no_picture_that_is_measured():
    one, other, same = (read(table(LABELS), train_fraction=0.25, train_seed=seed) for seed in (1, 2, 0))
    assert set(one.train.ids) != set(other.train.ids)
    for name in ("val", "test"):
        assert np.array_equal(getattr(one, name).ids, getattr(other, name).ids)
    assert np.array_equal(same.train.ids, read(table(LABELS), train_fraction=0.25).train.ids)


def test_labels_that_train_lacks_are_errors_before_anything_is_decoded():
    labels = ["a", "b"] * 20 + ["a", "c"] * 5 + ["a", "d"] * 5
    rows = table(labels, splits=GIVEN)
    with pytest.raises(SourceError) as error:
        read(rows)
    assert "class 'c' has no picture in train" in text(error)
    assert "class 'd' has no picture in train" in text(error)
    assert rows.read.__self__.rows_read == []


def test_all_faults_of_a_users_table_at_once():
    rows = table(LABELS)
    broken = dataclasses.replace(
        rows, ids=np.array(["same"] * N), splits=np.array(["training"] * N, dtype=str), notes=()
    )
    with pytest.raises(SourceError) as error:
        read(broken)
    assert "ids are not unique: same" in text(error)
    assert "splits are called training" in text(error)
    with pytest.raises(SourceError) as error:
        read(dataclasses.replace(rows, labels=np.arange(N), groups=rows.groups[:5]))
    assert "labels holds int64" in text(error)
    assert "groups is not an array of 60 entries" in text(error)


def test_an_empty_table_is_an_error():
    with pytest.raises(SourceError, match="no picture"):
        read(table([]))


def test_bad_pictures_and_shared_ones_in_one_message():
    pictures = [gray(i) for i in range(N)]
    pictures[3] = pictures[42] = None
    pictures[55] = gray(0)
    rows = table(LABELS, splits=GIVEN, pictures=pictures)
    with pytest.raises(SourceError) as error:
        read(rows)
    assert "2 pictures cannot be used:" in text(error)
    for told in (
        "picture 3: broken",
        "picture 42: broken",
        "on_bad_image=skip",
        "p000 (train) = p055 (test)",
    ):
        assert told in text(error)


def test_bad_pictures_are_skipped_counted_and_listed():
    pictures = [gray(i) for i in range(N)]
    pictures[3] = pictures[42] = None
    data = read(table(LABELS, splits=GIVEN, pictures=pictures), on_bad_image="skip")
    assert len(data.train) == 39
    assert len(data.val) == 9
    assert np.array_equal(data.val.images[2], decode.resize(gray(43), 4))
    start = data.notes.index("skipped 2 pictures that cannot be used:")
    assert data.notes[start + 1 : start + 3] == ("  picture 3: broken", "  picture 42: broken")


def test_a_bad_picture_moves_no_other():
    pictures = [gray(i) for i in range(N)]
    whole = where(read(table(LABELS, pictures=pictures)))
    pictures[7] = None
    rest = where(read(table(LABELS, pictures=pictures), on_bad_image="skip"))
    assert rest == {i: name for i, name in whole.items() if i != "p007"}


@pytest.mark.parametrize("policy", ["skip", "error"])
def test_nothing_but_bad_pictures_is_an_error(policy):
    with pytest.raises(SourceError, match="picture 0: broken"):
        read(table(LABELS, pictures=[None] * N), on_bad_image=policy)


def test_a_class_that_only_had_bad_pictures_is_an_error():
    pictures = [gray(i) if i % 2 else None for i in range(N)]
    with pytest.raises(SourceError, match="class 'a' has no picture in train"):
        read(table(LABELS, pictures=pictures), on_bad_image="skip")


def twins() -> Table:
    """p000 of train is p055 of test, and p002 is p004, both of train."""
    pictures = [gray(i) for i in range(N)]
    pictures[55], pictures[4] = gray(0), gray(2)
    return table(LABELS, splits=GIVEN, pictures=pictures)


def test_pictures_shared_by_given_splits_are_an_error_that_names_them():
    with pytest.raises(SourceError) as error:
        read(twins())
    for told in ("1 picture in more than one", "p000 (train) = p055 (test)", "drop_from_train", "resplit"):
        assert told in text(error)
    assert "p002" not in text(error)


def test_pictures_shared_by_given_splits_are_dropped_from_train():
    data = read(twins(), on_group_overlap="drop_from_train")
    assert "p000" not in where(data)
    assert len(data.test) == 10
    assert len(data.train) == 39
    assert any("p000 = p055" in line for line in data.notes)


def test_pictures_shared_by_given_splits_are_cut_anew_together():
    found = where(read(twins(), on_group_overlap="resplit"))
    assert found["p000"] == found["p055"]
    assert found["p002"] == found["p004"]
    assert len(found) == N


def test_a_picture_twice_in_train_is_nothing_to_stop_for():
    pictures = [gray(i) for i in range(N)]
    pictures[4] = gray(2)
    data = read(table(LABELS, splits=GIVEN, pictures=pictures))
    assert len(data.train) == 40


def test_copies_stay_together_where_validation_is_cut_from_train():
    """The cut is ours, so no given splits are to blame, and copies must not be torn apart."""
    pictures = [gray(i % 20) for i in range(40)] + [gray(i) for i in range(40, N)]
    splits = ["train"] * 50 + ["test"] * 10
    data = read(table(LABELS, splits=splits, pictures=pictures))
    found = where(data)
    assert all(found[f"p{i:03}"] == found[f"p{i + 20:03}"] for i in range(20))
    assert len(data.val) > 0


def test_copies_stay_together_in_our_own_splits_and_folds():
    pictures = [gray(i % 50) for i in range(N)]  # p050 = p000 and so on
    tested = []
    for fold in ("", "0/3", "1/3", "2/3"):
        found = where(read(table(LABELS, pictures=pictures), fold=fold))
        assert len(found) == N
        assert all(found[f"p{i:03}"] == found[f"p{i + 50:03}"] for i in range(10))
        if fold:
            tested += [i for i, name in found.items() if name == "test"]
    assert sorted(tested) == [f"p{i:03}" for i in range(N)]


def test_blank_pictures_are_not_the_same_picture():
    pictures = [gray(i) for i in range(N)]
    pictures[0] = pictures[55] = np.full((8, 8, 1), 7, np.uint8)
    data = read(table(LABELS, splits=GIVEN, pictures=pictures))
    assert len(where(data)) == N


def test_a_class_that_is_not_measured_is_told():
    labels = [*LABELS[:50], *["a"] * 10]
    assert read(table(labels, splits=GIVEN)).notes[-1].startswith("test has no picture of b: ")


def test_a_picture_with_two_labels_is_told():
    pictures = [gray(i) for i in range(N)]
    pictures[5] = gray(2)
    data = read(table(LABELS, pictures=pictures))
    assert "1 picture with more than one label: p002 (a) = p005 (b)" in data.notes


def test_of_many_classes_only_a_summary_is_printed():
    labels = [f"c{i % 40:02}" for i in range(400)]
    data = read(table(labels))
    assert data.notes[-2].split() == ["each", "of", "40", "classes", "7…7", "1…2", "1…2"]
    assert len(data.notes) < 10


def test_the_fingerprint_follows_content_and_not_the_order_of_rows():
    def turned(rows: Table, order: np.ndarray) -> Table:
        columns = {key: getattr(rows, key)[order] for key in ("ids", "labels", "groups", "splits")}
        return dataclasses.replace(
            rows,
            **columns,
            read=lambda i, at_least: rows.read(int(order[i]), at_least),
            stamp=lambda i: rows.stamp(int(order[i])),
        )

    rows = table(LABELS)
    print_ = read(rows).fingerprint
    assert read(turned(rows, np.arange(N)[::-1])).fingerprint == print_
    assert read(table(LABELS, groups=["g"] * 2 + [f"g{i}" for i in range(2, N)])).fingerprint != print_
    assert read(table(["b", "a", *LABELS[2:]])).fingerprint != print_
    assert read(table(LABELS, pictures=[gray(99), *map(gray, range(1, N))])).fingerprint != print_
    for change in (dict(split_seed=1), dict(classes=("b", "a")), dict(fit="pad"), dict(image_size=5)):
        assert read(rows, **change).fingerprint != print_


def test_labelled_pictures_for_a_finished_run(tmp_path):
    pictures = [gray(i) for i in range(N)]
    pictures[1] = None
    labels = ["b", "a"] * (N // 2)
    options = dict(classes=("a", "b", "c"), image_size=4, channels=3, resample="bilinear", at_least=8)
    for budget in (10**6, 10):
        rows = table(labels, pictures=pictures)
        settings_ = config(rows, on_bad_image="skip", host_budget=budget, cache=str(tmp_path))
        split, notes = load_labelled(settings_, **options)
        assert split.ids.tolist() == [f"p{i:03}" for i in range(N) if i != 1]
        assert split.labels[:3].tolist() == [1, 1, 0]
        assert np.array_equal(split.images[1], decode.resize(gray(2), 4))
        assert notes[0] == "skipped 1 picture that cannot be used:"
    with pytest.raises(SourceError, match="picture 1: broken"):
        load_labelled(config(rows), **options)
    with pytest.raises(SourceError, match=r"labels b are not among.*a, c"):
        load_labelled(config(rows), **(options | dict(classes=("a", "c"))))


def test_a_folder_loads(tmp_path):
    for label in ("a", "b"):
        for i in range(10):
            picture(tmp_path / label / f"{i}.png", seed=100 * (label == "b") + i, shape=(9, 7))
    lines: list[str] = []
    data = load(
        settings(tmp_path, cache=str(tmp_path / "cache")),
        image_size=4,
        channels=3,
        resample="bilinear",
        augmented=False,
        say=lines.append,
    )
    assert len(where(data)) == 20
    assert data.at_least == 8
    assert lines[-1].startswith("decoded 20 pictures in ")


def test_real_x_rays_of_known_patients_load(shared):
    data = load(
        settings(shared / "data" / "chest_xray", group=r"person\d+|IM-\d+", cache=""),
        image_size=32,
        channels=3,
        resample="bilinear",
        augmented=True,
    )
    assert (len(data.train), len(data.val), len(data.test)) == (600, 120, 240)
    assert data.classes == ("NORMAL", "PNEUMONIA")
    assert data.channels == 1
    assert data.train.images.shape == (600, 37, 37, 1)
    assert data.test.images.shape == (240, 32, 32, 1)
    assert np.bincount(data.test.labels).tolist() == [62, 178]
    assert not set(data.train.groups) & set(data.test.groups)
    assert [line.split() for line in data.notes[-3:]] == [
        ["NORMAL", "156", "31", "62"],
        ["PNEUMONIA", "444", "89", "178"],
        ["all", "600", "120", "240"],
    ]


def test_copies_are_one_group_for_the_intervals_too():
    """Resampling counts a picture that is there twice as one, as the notes say."""
    pictures = [gray(i % 50) for i in range(N)]
    data = read(table(LABELS, pictures=pictures))
    group = {
        name: group
        for split in (data.train, data.val, data.test)
        for name, group in zip(split.ids.tolist(), split.groups.tolist(), strict=True)
    }
    assert all(group[f"p{i:03}"] == group[f"p{i + 50:03}"] for i in range(10))
    assert len(set(group.values())) == 50
