"""A Ray cluster: joined or started, what its machines have, and whether they can take part in a grid.

Ray is imported here alone, and late: it is an extra, which most users never need.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tl_jax import compilation
from tl_jax.lab import ray_worker

Node = Mapping[str, Any]
"""A machine as ``ray.nodes()`` describes it."""

Share = Mapping[str, int]
"""What a run takes of a machine, by Ray's names: ``CPU``, ``GPU``, ``memory`` (bytes)."""

_CONTROL = "control"  # methods of this group are called while a run is under way
_STORE = 100_000_000  # bytes of the object store of a Ray started here; what runs send is small
_ANSWER = 300.0  # seconds that a machine has to answer


@dataclass(frozen=True)
class Resources:
    """Of one run. ``cpus``: processors, which are its threads; None: as `share` says. ``memory``: bytes that
    Ray sets aside; 0: not stated."""

    cpus: int | None = None
    gpus: int = 0
    memory: int = 0


@contextmanager
def joined(address: str) -> Iterator[Any]:
    """The module ``ray``, connected.

    ``address``: ``""`` starts Ray on this machine and ends it afterwards; ``"auto"``, ``HOST:PORT`` or
    ``ray://HOST:PORT`` joins a cluster. A process that is connected already stays so. Raises RuntimeError
    where Ray is not installed, ConnectionError where there is no such cluster.
    """
    # Read by Ray when it is imported: nothing is reported to its makers, and no warning about GPUs.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise RuntimeError(f"--engine=ray needs Ray ({error}): pip install 'tl_jax[ray]'") from error
    if ray.is_initialized():
        yield ray
        return
    own: dict[str, Any] = dict(
        num_cpus=compilation.threads(), include_dashboard=False, object_store_memory=_STORE
    )
    ray.init(
        address=address or "local",
        log_to_driver=False,
        logging_level=logging.ERROR,
        **({} if address else own),
    )
    try:
        yield ray
    finally:
        ray.shutdown()


class Cluster:
    """Machines that run a grid. ``share``: what each run gets; ``there``: what a machine is compared with
    (`ray_worker.here`).

    Raises ValueError where no machine has what ``wanted`` says, or where one cannot take part: with all that
    it lacks, and all that do.
    """

    def __init__(self, ray: Any, wanted: Resources, there: Mapping[str, Any]) -> None:
        self.ray, self._there = ray, there
        self.share = share(self._alive(), wanted)
        self._refuse_unfit()
        actor = ray.remote(concurrency_groups={_CONTROL: 1})(ray_worker.Worker)
        self._actor = actor.options(
            num_cpus=self.share["CPU"],
            num_gpus=self.share.get("GPU", 0),
            memory=self.share.get("memory"),
            runtime_env={"env_vars": environment(self.share)},
        )

    def room(self) -> int:
        """How many runs it has room for at a time, were nobody else there."""
        return sum(_fits(node["Resources"], self.share) for node in self._alive())

    def hire(self) -> tuple[Any, Any]:
        """A worker, and Ray's reference to what its `ray_worker.Worker.begin` will return: when there is
        room."""
        worker = self._actor.remote()
        return worker, worker.begin.remote(self.share.get("GPU", 0), self._there)

    def stop(self, worker: Any) -> Any:
        """Has the worker's run save and stop; Ray's reference to what `ray_worker.Worker.stop` returns."""
        return worker.stop.options(concurrency_group=_CONTROL).remote()

    def describe(self) -> str:
        nodes = [node for node in self._alive() if _fits(node["Resources"], self.share)]
        each = _spelled(self.share)
        return f"Ray: {self.room()} runs at a time, machines {len(nodes)}; a run has {each}"

    def _alive(self) -> list[Node]:
        return [node for node in self.ray.nodes() if node["Alive"]]

    def _refuse_unfit(self) -> None:
        """Asks every machine that could run something."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        probe, asked, lines = self.ray.remote(num_cpus=0)(ray_worker.problems), [], []
        for node in self._alive():
            if _fits(node["Resources"], self.share):
                on = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                asked.append((node, probe.options(scheduling_strategy=on).remote(**self._there)))
        for node, answer in asked:
            try:
                found = self.ray.get(answer, timeout=_ANSWER)
            except self.ray.exceptions.RayError as error:
                if node["NodeID"] not in {alive["NodeID"] for alive in self._alive()}:
                    continue  # it was dying when it was asked, and will get no runs
                found = [f"it does not answer: {str(error).strip().splitlines()[-1]}"]
            lines += [f"{_name(node)}: {line}" for line in found]
        refuse(lines)


def share(nodes: Sequence[Node], wanted: Resources) -> Share:
    """What each run gets. Where processors are not stated, as many as let the smallest machine have one run
    at a time, or one for each of its GPUs (for each ``wanted.gpus`` of them): so a run has what it would have
    without Ray, and all runs have the same number of threads.

    Raises ValueError where no machine has that much.
    """
    least = _named(wanted, wanted.cpus or 1)
    able = [node["Resources"] for node in nodes if _fits(node["Resources"], least)]
    if not able:
        has = "".join(f"\n  {_name(node)}: {_spelled(node['Resources'])}" for node in nodes)
        raise ValueError(f"no machine of the cluster has what a run is to get ({_spelled(least)}):{has}")
    runs = [int(has["GPU"]) // wanted.gpus if wanted.gpus else 1 for has in able]
    smallest = min(max(1, int(has["CPU"]) // n) for has, n in zip(able, runs, strict=True))
    return _named(wanted, wanted.cpus or smallest)


def environment(each: Share) -> dict[str, str]:
    """Variables that a worker's process begins with: its number of threads, and those of this process that
    change what JAX computes and how memory is kept. A run without GPUs is kept off them."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("JAX_", "XLA_")) or name == "GLIBC_TUNABLES"
    }
    ours.pop("JAX_PLATFORMS", None)  # of this machine, which may have no GPU
    platforms = {} if "GPU" in each else {"JAX_PLATFORMS": "cpu"}
    return {**ours, compilation.THREADS: str(each["CPU"]), **platforms}


def refuse(lines: Sequence[str]) -> None:
    """Raises ValueError where there are any."""
    if lines:
        raise ValueError("machines of the cluster cannot take part:\n  " + "\n  ".join(lines))


def _name(node: Node) -> str:
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"


def _named(wanted: Resources, cpus: int) -> Share:
    given = {"CPU": cpus, "GPU": wanted.gpus, "memory": wanted.memory}
    return {name: amount for name, amount in given.items() if amount}


def _fits(has: Mapping[str, float], each: Share) -> int:
    return min(int(has.get(name, 0) // amount) for name, amount in each.items())


def _spelled(amounts: Mapping[str, float]) -> str:
    words = {"CPU": "CPUs", "GPU": "GPUs", "memory": "bytes of memory"}
    return ", ".join(f"{text} {amounts[name]:,.0f}" for name, text in words.items() if name in amounts)
