"""The device mesh: batches are cut along it, everything else is copied to every device."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

DATA = "data"


def make_mesh(devices: int, rows: int) -> Mesh:
    """A mesh of ``devices`` devices along the batch; 0 takes as many as divide ``rows`` evenly.

    ``rows`` is the number of pictures in a (micro-)batch. Raises ValueError where the devices are not
    there or do not divide the batch.
    """
    available = jax.devices()
    if devices == 0:
        devices = max(d for d in range(1, len(available) + 1) if rows % d == 0)
    if devices > len(available):
        raise ValueError(f"mesh.data={devices}, but there are {len(available)} devices; set it to 0 for all")
    if rows % devices:
        raise ValueError(
            f"mesh.data={devices} does not divide a batch of {rows} pictures: choose batch_size (divided by "
            "accumulate) as a multiple of the devices"
        )
    return Mesh(np.asarray(available[:devices]), (DATA,))


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def batched(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec(DATA))


def replicate(tree: Any, mesh: Mesh) -> Any:
    """The arrays on every device of the mesh. They may share memory with the originals: what a step
    overwrites in place must be copied first."""
    return jax.tree.map(lambda leaf: jax.device_put(np.asarray(leaf), replicated(mesh)), tree)
