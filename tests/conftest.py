"""Shared by all tests: eight fake CPU devices, no user caches, and the optional real data."""

from __future__ import annotations

import gc
import os
from importlib.metadata import version
from pathlib import Path

# Hundreds of small programs are compiled here and hardly run: compiling fast matters, not running fast.
_QUICK = (
    "--xla_backend_optimization_level=0",
    "--xla_cpu_parallel_codegen_split_count=1",  # each worker has one processor
    "--xla_cpu_prefer_vector_width=128",
)
FLAGS = " ".join(("--xla_force_host_platform_device_count=8", *_QUICK))
if version("jaxlib").startswith("0.10."):  # later ones do not know this flag, and end the process
    FLAGS += " --xla_cpu_use_fusion_emitters=false"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")  # nobody looks at the programs
gc.set_threshold(100_000, 50, 1_000)  # a traced program is many objects, and they live on

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_threefry_partitionable", True)

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps every test out of the user's cache folders."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data and weights that may lie beside a checkout; the test skips where they are absent."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the real data and weights in {SHARED}, which is not there")
    return SHARED
