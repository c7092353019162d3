"""What a run gets of the machines of a Ray cluster, and what its process begins with."""

from __future__ import annotations

import pytest

from tl_jax.lab import ray_cluster


def node(**has: float) -> dict:
    return {"NodeManagerHostname": "one", "NodeManagerAddress": "10.0.0.1", "Resources": has}


@pytest.mark.parametrize(
    ("nodes", "wanted", "found"),
    [
        ([node(CPU=16.0), node(CPU=8.0)], {}, {"CPU": 8}),
        ([node(CPU=16.0), node(CPU=8.0), node()], dict(cpus=3), {"CPU": 3}),
        ([node(CPU=64.0), node(CPU=16.0, GPU=4.0)], dict(gpus=1), {"CPU": 4, "GPU": 1}),
        ([node(CPU=16.0, GPU=4.0)], dict(gpus=2, cpus=1), {"CPU": 1, "GPU": 2}),
        ([node(CPU=2.0, GPU=8.0, memory=9.0)], dict(gpus=1, memory=5), {"CPU": 1, "GPU": 1, "memory": 5}),
    ],
)
def test_what_a_run_gets(nodes, wanted, found):
    assert ray_cluster.share(nodes, ray_cluster.Resources(**wanted)) == found


def test_a_cluster_that_is_too_small_is_refused():
    with pytest.raises(ValueError, match=r"no machine .*\(CPUs 1, GPUs 1\):\n  one \(10.0.0.1\): CPUs 8$"):
        ray_cluster.share([node(CPU=8.0)], ray_cluster.Resources(gpus=1))


def test_the_environment_of_a_worker(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--a")
    monkeypatch.setenv("JAX_PLATFORMS", "tpu")
    monkeypatch.setenv("GLIBC_TUNABLES", "b")
    given = {"XLA_FLAGS": "--a", "GLIBC_TUNABLES": "b", "JAX_PLATFORMS": "cpu", "PJRT_NPROC": "3"}
    found = ray_cluster.environment({"CPU": 3})
    assert {name: found[name] for name in given} == given
    assert "JAX_PLATFORMS" not in ray_cluster.environment({"CPU": 3, "GPU": 1})
