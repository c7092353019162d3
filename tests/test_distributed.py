"""The flags by which processes find each other, before any is looked for."""

from __future__ import annotations

import jax
import pytest
from absl import flags

from tl_jax import distributed
from tl_jax.completion import ConfigError


def options(*arguments: str) -> flags.FlagValues:
    values = flags.FlagValues()
    distributed.define(values)
    values(["program", *arguments])
    return values


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--coordinator=a:1"], ["--processes: is missing", "--process_id: is missing"]),
        (["--process_id=0"], ["--coordinator: is missing", "--processes: is missing"]),
        (["--coordinator=a", "--processes=2", "--process_id=0"], ["--coordinator: found 'a'"]),
        (["--coordinator=a:1", "--processes=2", "--process_id=2"], ["--process_id: found 2; allowed: 0…1"]),
        (["--coordinator=a:1", "--processes=2", "--process_id=-3"], ["--process_id: found -3"]),
        (["--coordinator=a:1", "--processes=-2", "--process_id=0"], ["--processes: found -2"]),
    ],
)
def test_flags_that_do_not_fit_together_are_told_at_once(arguments, words):
    with pytest.raises(ConfigError) as caught, distributed.joined(options(*arguments)):
        raise AssertionError("it went on")
    assert len(caught.value.problems) == len(words)
    assert all(text in str(caught.value) for text in words)


def test_nobody_is_looked_for_unasked(monkeypatch):
    """A batch system's variables are there for a job with a single task, too."""
    for name, value in dict(JOB_ID=7, STEP_NODELIST="a", NTASKS=2, PROCID=0, LOCALID=0).items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    with distributed.joined(options()):
        assert not jax.distributed.is_initialized()


def test_asked_in_vain_it_says_what_can_be_done(monkeypatch):
    monkeypatch.setattr(jax.distributed, "initialize", _undetected)
    with (
        pytest.raises(RuntimeError, match=r"JAX finds no SLURM step.*name --coordinator"),
        distributed.joined(options("--distributed")),
    ):
        raise AssertionError("it went on")


def _undetected(**named):
    assert "coordinator_address" not in named
    raise ValueError("coordinator_address should be defined.")
