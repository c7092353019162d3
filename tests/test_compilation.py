"""The persistent cache of compiled programs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import tl_jax
from tests import tiny
from tl_jax import compilation

CODE = """
import sys
from tl_jax.compilation import use_cache
use_cache(sys.argv[1])
import jax
jax.jit(lambda x: x + 1)(1)
"""

THREADS = """
from pathlib import Path
import jax
from tl_jax import compilation
jax.jit(lambda x: x @ x)(jax.numpy.ones((500, 500))).block_until_ready()
names = [file.read_text().strip() for file in Path("/proc/self/task").glob("*/comm")]
print(compilation.threads(), names.count("tf_XLAEigen"))
"""


ONEDNN = """
import sys, warnings
warnings.simplefilter("error")
from tl_jax import compilation
from tl_jax.backbones import onednn
compilation.use_cache(sys.argv[1])
import jax, jax.numpy as jnp
x = jnp.ones((64, 64))
if not onednn.available(x):
    print("not here")
    sys.exit()
lowered = jax.jit(onednn.matmul).lower(x, x)
assert float(compilation.compiled(lowered)(x, x)[0, 0]) == 64
compilation.compiled(jax.jit(lambda x: x + 2).lower(x))
"""


def test_a_program_that_calls_onednn_is_never_offered(tmp_path: Path) -> None:
    variables = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}  # one device
    command = [sys.executable, "-c", ONEDNN, str(tmp_path / "programs")]
    done = subprocess.run(command, env=variables, check=True, capture_output=True, text=True)
    if done.stdout:
        pytest.skip("oneDNN is not used on this processor, system or jaxlib")
    kept = [path.name for path in (tmp_path / "programs").glob("*-cache")]
    assert any(name.startswith("jit__lambda") for name in kept), "the next program is kept again"
    assert not any(name.startswith("jit_matmul") for name in kept)


def test_even_a_small_program_is_kept(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", CODE, str(tmp_path / "programs")], check=True)
    assert list((tmp_path / "programs").glob("*-cache"))


@pytest.mark.slow
def test_ten_learning_rates_are_compiled_once(tmp_path: Path) -> None:
    """Runs that differ by rates, decays, schedule, warm-up and seed take the same programs."""
    folder, compiled = tiny.make_folder(tmp_path / "pictures"), []
    for number in range(10):
        stage = dict(
            name="all", train="all", duration="3 steps", lr=10.0**-number, weight_decay=0.01 * (number + 1)
        )
        stage |= dict(schedule=("cosine", "constant")[number % 2], warmup=f"{number % 3} steps")
        config = tiny.config(
            folder, compilation_cache=str(tmp_path / "programs"), seed=number, stages=[stage]
        )
        before, _ = compilation.counts()
        tl_jax.run(config, tmp_path / f"run {number}")
        compiled.append(compilation.counts()[0] - before)
    assert compiled[0] > 2, "a step's two programs, and those around them"
    assert compiled[1:] == [0] * 9


def test_shared_programs_are_told_apart_by_arguments_that_they_do_not_look_at() -> None:
    def first(one: jax.Array, other: jax.Array) -> jax.Array:
        del other
        return one + 1

    with compilation.shared():
        for shape in ((2,), (3,), (2,)):
            arguments = np.zeros(4), np.zeros(shape)
            program = compilation.compiled(jax.jit(first).lower(*arguments))
            np.testing.assert_array_equal(program(*arguments), np.ones(4))


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads in /proc")
def test_xla_takes_the_threads_that_it_is_told() -> None:
    flags = "--xla_force_host_platform_device_count=1"
    environment = {**os.environ, "XLA_FLAGS": flags, compilation.THREADS: "3"}
    told = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, env=environment)
    assert told.stdout.split() == ["3", "3"], told.stderr


def test_once_makes_a_program_again_only_while_runs_share():
    made: list[str] = []

    def make() -> int:
        made.append("made")
        return len(made)

    assert [compilation.once("key", make), compilation.once("key", make)] == [1, 2]
    with compilation.shared():
        assert [compilation.once("key", make), compilation.once("key", make)] == [3, 3]
        assert compilation.once("other", make) == 4
    assert compilation.once("key", make) == 5
