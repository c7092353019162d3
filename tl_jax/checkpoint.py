"""Checkpoints, kept by orbax behind five functions.

A folder of checkpoints holds numbered ones; each is a tree of arrays and a JSON record, written aside
and renamed, so that a killed write leaves nothing behind that could be read. Arrays are always
restored into a stated target: a checkpoint of another structure is an error, not a partial load. Several
processes call each function together, and each reads and writes what lies on its own devices.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tl_jax import processes

Tree = Any


def save(folder: Path, number: int, arrays: Tree, record: dict[str, Any]) -> None:
    """Writes one checkpoint and returns when it is on disk. An older one of this number is deleted first."""
    import orbax.checkpoint as ocp

    with _manager(folder, sweep=True) as manager:
        if number in manager.all_steps():
            manager.delete(number)
        manager.save(
            number,
            args=ocp.args.Composite(arrays=ocp.args.StandardSave(arrays), record=ocp.args.JsonSave(record)),
        )
        manager.wait_until_finished()


def latest(folder: Path) -> int | None:
    """The number of the newest complete checkpoint, or None where there is none."""
    if not _is_there(folder):
        return None
    with _manager(folder) as manager:
        return manager.latest_step()


def record(folder: Path, number: int) -> dict[str, Any]:
    """The JSON record of a checkpoint: read first, it says which arrays to expect. Raises FileNotFoundError
    where there is none of this number."""
    import orbax.checkpoint as ocp

    with _manager(folder) as manager:
        return manager.restore(number, args=ocp.args.Composite(record=ocp.args.JsonRestore())).record


def restore(folder: Path, number: int, target: Tree) -> Tree:
    """The arrays of a checkpoint. ``target``: the same tree of arrays or `jax.ShapeDtypeStruct`, whose
    shapes, dtypes and shardings the result has. Raises ValueError where the trees or shapes differ,
    FileNotFoundError where there is no such checkpoint."""
    import orbax.checkpoint as ocp

    with _manager(folder) as manager:
        args = ocp.args.Composite(arrays=ocp.args.StandardRestore(target))
        return manager.restore(number, args=args).arrays


def prune(folder: Path, keep: int | None) -> None:
    """Deletes every checkpoint but one."""
    if not _is_there(folder):
        return
    with _manager(folder) as manager:
        for number in manager.all_steps():
            if number != keep:
                manager.delete(number)


def _is_there(folder: Path) -> bool:
    # Asked of one process, since another may be about to make the folder.
    return processes.from_first(folder.is_dir)


@contextmanager
def _manager(folder: Path, *, sweep: bool = False) -> Iterator[Any]:
    """``sweep``: removes what killed writes have left. Orbax does so in a thread for which only its ``save``
    waits: one left behind by a reader would remove what the next ``save`` is writing."""
    import orbax.checkpoint as ocp

    options = ocp.CheckpointManagerOptions(
        enable_async_checkpointing=False, cleanup_tmp_directories=sweep, create=True
    )
    with ocp.CheckpointManager(folder.resolve(), options=options) as manager:
        processes.meet()  # all have seen what is there before one changes it
        yield manager
