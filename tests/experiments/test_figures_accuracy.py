"""The embedded weights are those that the page speaks of."""

from __future__ import annotations

import pytest

from experiments import figures_accuracy
from tl_jax.data import figures


@pytest.mark.slow
def test_the_embedded_network_knows_its_own_task() -> None:
    pictures = figures_accuracy.held_out(100)
    found, n = figures_accuracy.decide(pictures), len(figures.FIGURES)
    assert (found // n == pictures.labels // n).mean() > 0.65, "0.811 of all"
    assert (found % n == pictures.labels % n).mean() > 0.3, "0.456 of all"
