"""The device mesh, and what lies where on it.

The mesh has two axes, ``data`` and ``fsdp``. The rows of a batch are divided over both. Large weights, with
their gradients, moments and averages, are cut over ``fsdp`` and copied along ``data``; the compiler gathers a
weight where a layer needs it. All else is on every device. The mesh may span several processes: each then
hands over the rows of its own devices, and a whole array reaches the host by `fetch`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

DATA, FSDP = "data", "fsdp"

SMALL = 2**12
"""Leaves with fewer entries are copied: gathering one takes longer than its memory is worth."""


def make_mesh(data: int, fsdp: int, rows: int) -> Mesh:
    """A mesh of ``data`` × ``fsdp`` devices, the same number from each process, those of a process side by
    side; ``data=0`` takes as many as divide ``rows`` evenly.

    ``rows`` is the number of pictures in a (micro-)batch. Raises ValueError, with every problem, where the
    devices are not there or do not divide the batch.
    """
    devices, processes = jax.devices(), jax.process_count()
    if data == 0:
        fitting = range(fsdp, len(devices) + 1, fsdp)
        data = max((n for n in fitting if rows % n == 0 == n % processes), default=fsdp) // fsdp
    size, problems = data * fsdp, []
    called = f"mesh.data={data}" if fsdp == 1 else f"mesh.data={data} × mesh.fsdp={fsdp} = {size}"
    if size > len(devices):
        problems.append(
            f"{called} devices are asked for, but there are {len(devices)}; set mesh.data=0 for all"
        )
    if rows % size:
        problems.append(
            f"{called} does not divide a batch of {rows} pictures: choose batch_size (divided by accumulate) "
            "as a multiple of the devices"
        )
    each = size // processes
    own = [[device for device in devices if device.process_index == i] for i in range(processes)]
    if size % processes or (size <= len(devices) and min(map(len, own)) < each):
        counts = ", ".join(str(len(some)) for some in own)
        problems.append(
            f"{called} devices cannot be taken from {processes} processes in equal parts; they have {counts}"
        )
    if problems:
        raise ValueError("\n".join(problems))
    chosen = [device for some in own for device in some[:each]]
    return Mesh(np.asarray(chosen).reshape(data, fsdp), (DATA, FSDP))


def replicated(mesh: Mesh) -> NamedSharding:
    """Whole on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batched(mesh: Mesh) -> NamedSharding:
    """The first axis divided over all devices."""
    return NamedSharding(mesh, PartitionSpec(mesh.axis_names))


def layout(leaf: Any, mesh: Mesh) -> NamedSharding:
    """Where a leaf with this ``shape`` lies: cut over ``fsdp`` along its longest axis that this divides; on
    every device if there is none, or if it is `SMALL`."""
    parts, shape = mesh.shape[FSDP], leaf.shape
    axes = [axis for axis, length in enumerate(shape) if length % parts == 0]
    if parts == 1 or not axes or math.prod(shape) < SMALL:
        return replicated(mesh)
    longest = max(axes, key=lambda axis: shape[axis])
    return NamedSharding(mesh, PartitionSpec(*[None] * longest, FSDP))


def layouts(tree: Any, mesh: Mesh) -> Any:
    """`layout` for each leaf of a tree."""
    return jax.tree.map(lambda leaf: layout(leaf, mesh), tree)


def outline(tree: Any, mesh: Mesh) -> Any:
    """Shapes and dtypes of a tree, and where `place` would put its leaves."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=layout(leaf, mesh)), tree
    )


def refuse_idle(leaves: Mapping[str, Any], mesh: Mesh) -> None:
    """Raises ValueError where ``fsdp`` cuts not one of the leaves, so that it would be of no use."""
    parts = mesh.shape[FSDP]
    if parts > 1 and all(layout(leaf, mesh).is_fully_replicated for leaf in leaves.values()):
        raise ValueError(
            f"mesh.fsdp={parts} cuts nothing: it divides no axis of a weight with {SMALL:,} or more numbers. "
            "Choose a power of two, or 1 for none, and let mesh.data take the devices"
        )


def place(tree: Any, mesh: Mesh) -> Any:
    """Host arrays, the same in every process, on the mesh as `layout` says. They may share memory with the
    originals: what a step overwrites in place must be copied first."""
    return jax.tree.map(lambda leaf: put(np.asarray(leaf), layout(leaf, mesh)), tree)


def replicate(tree: Any, mesh: Mesh) -> Any:
    """Like `place`, but whole on every device."""
    return jax.tree.map(lambda leaf: put(np.asarray(leaf), replicated(mesh)), tree)


def put(leaf: np.ndarray, where: NamedSharding) -> jax.Array:
    """A host array, the same in every process, laid out over their devices."""
    return jax.make_array_from_callback(leaf.shape, where, lambda index: leaf[index])


def own_rows(rows: int, where: NamedSharding) -> slice:
    """Which of a batch's ``rows`` are on the devices of this process."""
    indices = where.addressable_devices_indices_map((rows,)).values()
    places = [index[0].indices(rows) for index in indices if index is not None]
    return slice(min(start for start, _, _ in places), max(stop for _, stop, _ in places))


def put_rows(own: np.ndarray, where: NamedSharding) -> jax.Array:
    """A batch from each process's `own_rows` of it."""
    return jax.make_array_from_process_local_data(where, own)


def fetch(tree: Any) -> Any:
    """Arrays of the mesh, whole, in the memory of every host. All processes must ask for them."""
    return jax.tree.map(_fetch, tree)


def _fetch(array: jax.Array) -> np.ndarray:
    if array.is_fully_addressable or array.is_fully_replicated:
        return np.asarray(array)
    return multihost_utils.process_allgather(array, tiled=True)


def nbytes(leaves: Mapping[str, Any], mesh: Mesh) -> int:
    """Bytes of what each device holds of the leaves."""
    shapes = (layout(leaf, mesh).shard_shape(leaf.shape) for leaf in leaves.values())
    sizes = (leaf.dtype.itemsize for leaf in leaves.values())
    return sum(math.prod(shape) * size for shape, size in zip(shapes, sizes, strict=True))


def describe(leaves: Mapping[str, Any], mesh: Mesh) -> str:
    """The mesh and what each device holds of the weights, in words."""
    whole, part = sum(leaf.nbytes for leaf in leaves.values()), nbytes(leaves, mesh)
    kind = mesh.devices.flat[0].platform
    processes = jax.process_count()
    of = f" of {processes} processes" if processes > 1 else ""
    axes = " × ".join(f"{name} {size}" for name, size in mesh.shape.items())
    devices = f"mesh: {mesh.size} {kind} device{'s' if mesh.size > 1 else ''}{of}, {axes}"
    held = f"{part / 1e6:.2f}" + (f" of {whole / 1e6:.2f}" if part < whole else "")
    return f"{devices}; {'each' if mesh.size > 1 else 'it'} holds {held} MB of parameters"
