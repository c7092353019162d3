"""The persistent cache of compiled programs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CODE = """
import sys
from tl_jax.compilation import use_cache
use_cache(sys.argv[1])
import jax
jax.jit(lambda x: x + 1)(1)
"""


def test_even_a_small_program_is_kept(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", CODE, str(tmp_path / "programs")], check=True)
    assert list((tmp_path / "programs").glob("*-cache"))
