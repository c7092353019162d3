"""What a fraction of the labels holds is what runs train on."""

from __future__ import annotations

import numpy as np
import pytest

from tests import tiny
from tl_jax.config import complete
from tl_jax.job import prepare
from tl_jax.lab import shares
from tl_jax.lab.grid import patched


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return complete(tiny.config(tiny.make_folder(tmp_path_factory.mktemp("p"), train=60)))


@pytest.fixture(scope="module")
def train(config):
    return shares.training(config)


@pytest.mark.parametrize(("fraction", "seed"), [(0.2, 3), (1.0, 0)])
def test_it_is_what_a_run_trains_on(config, train, fraction, seed):
    part = patched(config, {"data.train_fraction": fraction, "data.train_seed": seed})
    found = prepare(part, lambda line: None).data.train
    labels = np.array(train.classes)[found.labels]
    rows = shares.kept(train, fraction, seed)
    assert sorted(found.groups.tolist()) == sorted(train.groups[rows].tolist())
    assert sorted(labels.tolist()) == sorted(train.labels[rows].tolist())


def test_fractions_that_are_the_same_pictures_are_refused(train):
    assert list(shares.problems(train, [0.2, 1.0], range(2))) == []
    found = list(shares.problems(train, [0.01, 0.02, 0.2, 1.0], range(2)))
    assert [path for path, _ in found] == ["--fractions"]
    assert "found 0.01, which keeps the same 4 of 60 pictures as 0.02" in found[0].text


def test_the_table_says_what_is_below_one_group(train):
    told = shares.table(train, [0.01, 0.5], range(2))
    assert told.plain()[0] == {"fraction": 0.01, "pictures": 4.0, "a": 2.0, "b": 2.0}
    assert list(told.notes) == ["0.01 of the groups is less than one of a, b: one is kept all the same"]
