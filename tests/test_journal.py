"""metrics.jsonl says everything once, however often a run was interrupted."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tl_jax.journal import Journal
from tl_jax.workdir import Workdir


@pytest.fixture
def journal(tmp_path):
    journal = Journal(Workdir(tmp_path))
    yield journal
    journal.close()


def lines(journal: Journal) -> list[dict]:
    return [json.loads(line) for line in journal.workdir.metrics.read_text().splitlines()]


def test_what_will_be_done_again_is_dropped(journal):
    before = [
        {"step": 1, "loss": 3.0},
        {"step": 2, "loss": 2.0},
        {"step": 2, "val/nll": 1.0},
        {"step": 3, "loss": 1.0},
    ]
    journal.workdir.metrics.write_text(
        "".join(json.dumps(line) + "\n" for line in before) + '{"step": 4, "lo'
    )
    journal.open(step=2, measured=2)
    assert lines(journal) == before[:3]
    journal.record(3, {"loss": 1.0})
    assert lines(journal) == before


def test_a_measurement_that_no_snapshot_knows_is_made_again(journal):
    """Saved at step 2 by a signal during validation, and killed after the next attempt at it."""
    journal.workdir.metrics.write_text('{"step": 2, "loss": 2.0}\n{"step": 2, "val/nll": 1.0}\n')
    journal.open(step=2, measured=0)
    journal.record(2, {"val/nll": 1.0})
    assert lines(journal) == [{"step": 2, "loss": 2.0}, {"step": 2, "val/nll": 1.0}]


def test_a_full_disk_leaves_the_old_lines(journal, monkeypatch):
    text = '{"step": 1, "loss": 2.0}\n{"step": 9, "loss": 1.0}\n'
    journal.workdir.metrics.write_text(text)

    def full(number):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        journal.open(step=1, measured=0)
    assert journal.workdir.metrics.read_text() == text


def test_text_is_said_as_it_is(journal, capsys):
    journal.say("class :heart: [bold]b[/bold]")
    assert capsys.readouterr().out == "class :heart: [bold]b[/bold]\n"
    assert journal.workdir.log.read_text().endswith(" class :heart: [bold]b[/bold]\n")


OPENS = """
import sys
from tl_jax.journal import Journal
from tl_jax.workdir import Workdir
journal = Journal(Workdir(sys.argv[1]))
journal.open(step=0, measured=0)
journal.record(1, {"loss": 1.0})
journal.close()
assert "tensorboardX" in sys.modules and "torch" not in sys.modules
"""


def test_tensorboard_is_opened_without_pytorch(tmp_path):
    """Not even where it is installed, since importing it takes seconds."""
    subprocess.run([sys.executable, "-c", OPENS, str(tmp_path)], check=True)
    assert len(list(tmp_path.glob("tensorboard/events.*"))) == 1


def test_what_is_not_finite_is_null(journal):
    journal.open(step=0, measured=0)
    journal.record(1, {"loss": 1.0, "update_ratio/head": float("inf"), "stage": "a"})
    assert lines(journal) == [{"step": 1, "loss": 1.0, "update_ratio/head": None, "stage": "a"}]
