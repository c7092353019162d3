"""What is said of kept blocks, on runs made by hand."""

from __future__ import annotations

import pytest

from tests.lab.test_compare import LABELS, SETTINGS, fold, noisy
from tl_jax.lab import kept_blocks
from tl_jax.lab.chosen import Chosen
from tl_jax.lab.compare import Comparison
from tl_jax.lab.kept_blocks import FROZEN, NOTHING, TUNED

RECORD = {"trained": 7, "flops": None, "seconds": {"train": 2.0}}
PUBLISHED = {
    (-1, NOTHING): 1.0,
    **{(cut, FROZEN): 0.5 + cut for cut in (0, 2, 4)},
    **{(cut, TUNED): 0.5 for cut in (0, 2, 4)},
}
"""Noise of the logits: frozen, the network becomes worse with depth, tuned it does not."""


def made(levels=PUBLISHED):
    folds = {
        kept_blocks.name(key): [fold(noisy(LABELS, level, seed), LABELS) for seed in range(3)]
        for key, level in levels.items()
    }
    arms = {key: Chosen(1e-3, [RECORD] * 3, 0.9, 1, False) for key in levels}
    return kept_blocks.compare(arms, Comparison(folds, SETTINGS), "auroc", ["keep-01-frozen-lr-0.001"])


def test_the_published_direction():
    found = made()
    trend = found.trends[FROZEN]
    values = [found.arm((cut, FROZEN)).value for cut in (0, 2, 4)]
    assert trend.value == pytest.approx((values[2] - values[0]) / 4), "the slope through three points"
    assert trend.high < 0
    told = kept_blocks.verdict(found)
    assert told.startswith("Frozen, the network gets worse with every block more: AUROC -0.")
    assert "With first 4 kept, fine-tuning recovers it: AUROC +0." in told
    assert told.endswith("recover with fine-tuning) came out.")
    assert found.recovery[0].value == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({(4, TUNED): 4.5}, ("gets worse", "no difference that can be told", "came out in part.")),
        ({(cut, FROZEN): 0.5 for cut in (0, 2, 4)}, ("no sure trend", "no difference", "did not come out.")),
        (
            {(0, FROZEN): 4.5, (4, FROZEN): 0.5, (4, TUNED): 4.5},
            ("gets better", "hurts", "did not come out."),
        ),
    ],
)
def test_other_directions_are_said_too(change, words):
    told = kept_blocks.verdict(made(PUBLISHED | change))
    assert all(word in told for word in words), told


def test_one_cut_says_nothing_of_depth():
    found = made({key: PUBLISHED[key] for key in ((0, FROZEN), (0, TUNED))})
    assert kept_blocks.verdict(found).startswith("Nothing can be said about depth")


def test_tables_and_picture(tmp_path):
    found = made()
    first, second = kept_blocks.summary(found).tables
    rows = first.plain()
    assert [row["kept"] for row in rows] == [NOTHING, "stem", "first 2", "first 4"]
    assert rows[0]["frozen"] is None
    frozen, tuned = (rows[3][how]["value"] for how in ("frozen", "fine_tuned"))
    assert rows[3]["difference"]["value"] == pytest.approx(tuned - frozen)
    assert [(row["kept"], row["how"]) for row in second.plain()][1:3] == [("stem", FROZEN), ("stem", TUNED)]
    assert "left out, as runs are missing: keep-01-frozen-lr-0.001" in first.text()
    kept_blocks.summary(found).draw(tmp_path / "t.png")
    assert (tmp_path / "t.png").stat().st_size > 20_000
