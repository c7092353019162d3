"""The persistent cache of compiled programs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import sys
from tl_jax.compilation import use_cache
use_cache(sys.argv[1])
import jax
jax.jit(lambda x: x + 1)(1)
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
