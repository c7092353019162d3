"""The plan is printed with what it costs, and nothing is trained."""

from __future__ import annotations

import re

from tests.commands import pictures
from tl_jax import summary


def test_the_head_alone_costs_less_than_all(photographs, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = pictures.config(photographs)
    # Large enough that gigaflops have digits.
    config["model"] = dict(arch={**pictures.ARCH, "embedding_size": 32, "hidden_sizes": [32, 64]})
    config["data"]["image_size"] = 64
    file = pictures.write_config(tmp_path / "c.py", config)
    assert summary.main(["", f"--config={file}"]) == 0
    told = capsys.readouterr().out
    costs = re.findall(r"forward (\S+) GFLOP, backward and update (\S+) GFLOP", told)
    head, everything = ([float(number) for number in pair] for pair in costs)
    assert head[0] == everything[0] > 0
    assert head[1] < 0.5 * everything[1]
    assert "frozen prefix: the stem and blocks 0-1" in told
    assert {path.name for path in tmp_path.iterdir()} == {"c.py"}


def test_a_prefix_that_is_kept_is_counted_once(photographs, tmp_path, capsys):
    config = pictures.config(photographs, augment={})
    file = pictures.write_config(tmp_path / "c.py", config)
    assert summary.main(["", f"--config={file}"]) == 0
    told = capsys.readouterr().out
    forward, once = re.findall(r"forward (\S+) GFLOP.*frozen prefix, once, (\S+) GFLOP", told)[0]
    assert float(forward) < 0.01 * float(once)
    assert told.count("frozen prefix, once") == 1, "the second stage trains all"
