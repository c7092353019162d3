"""oneDNN's paths: see `onednn_checks`, which needs a process of one device."""

import os
import subprocess
import sys

import jax.numpy as jnp
import pytest

from tl_jax.backbones import onednn

_ONE_DEVICE = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", onednn.SWITCH)}


def _python(*arguments):
    return subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:tl_jax", *arguments],
        env={**_ONE_DEVICE, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def _available():
    code = "from tl_jax.backbones import onednn; print(onednn.available())"
    return _python("-c", code).stdout.strip() == "True"


@pytest.fixture(scope="module")
def available():
    if not _available():
        pytest.skip("this processor, system or jaxlib is not among those where oneDNN is used")


@pytest.mark.slow
def test_values_and_gradients_are_those_of_xla(available):
    found = _python("-m", "tests.backbones.onednn_checks")
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.count("same: ") == 42
    assert found.stdout.count("same count: ") == 2
    assert found.stdout.endswith("done\n")


def test_several_devices_are_left_to_xla():
    assert not onednn.available()


def test_the_switch_and_other_types_leave_it_to_xla(monkeypatch):
    monkeypatch.setattr("jax.device_count", lambda: 1)
    if not onednn.available():
        pytest.skip("this processor, system or jaxlib is not among those where oneDNN is used")
    assert onednn.available(jnp.zeros(1, jnp.float32))
    assert not onednn.available(jnp.zeros(1, jnp.bfloat16))
    monkeypatch.setenv(onednn.SWITCH, "0")
    assert not onednn.available()
