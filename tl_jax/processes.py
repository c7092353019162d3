"""What the processes of one job agree on while it runs. With one process, all of it is nothing.

Every function here is a meeting: all processes must call it, in the same order.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

T = TypeVar("T")


def is_first() -> bool:
    """Whether this is the process that writes the run's files and talks."""
    return jax.process_index() == 0


def from_first(function: Callable[[], T]) -> T:
    """What ``function`` gives the first process, which alone calls it: plain data, as JSON has it. If it
    raises there, all raise."""
    if jax.process_count() == 1:
        return function()
    told, failure = {}, None
    if is_first():
        try:
            told = {"value": function()}
        except Exception as error:
            told, failure = {"error": str(error)}, error
    told = gather_values(told)[0]
    if failure is not None:
        raise failure
    if "error" in told:
        raise RuntimeError(f"process 0 says: {told['error']}")
    return told["value"]


def together(function: Callable[[], T]) -> T:
    """What ``function`` gives this process, if all get something: where one gets an OSError, all do."""
    failure, value = None, cast(T, None)
    try:
        value = function()
    except OSError as error:
        failure = error
    failures = [text for text in gather_values(failure and str(failure)) if text]
    if failure is not None:
        raise failure
    if failures:
        raise OSError(f"another process says: {failures[0]}")
    return value


def refuse(problems: Sequence[str]) -> None:
    """Raises ValueError everywhere if a process has problems, which it alone names in full."""
    troubled = [str(process) for process, some in enumerate(gather_values(list(problems))) if some]
    if problems:
        raise ValueError(f"process {jax.process_index()} cannot take part:\n  " + "\n  ".join(problems))
    if troubled:
        raise ValueError(f"process {' and '.join(troubled)} cannot take part; see what it says")


def gather_values(value: Any) -> list[Any]:
    """The plain data, as JSON has it, of all processes."""
    if jax.process_count() == 1:
        return [value]
    text = json.dumps(value).encode()
    lengths = gather(np.int32(len(text)))
    rows = gather(np.frombuffer(text.ljust(max(lengths), b" "), np.uint8))
    return [json.loads(row.tobytes()) for row in rows]


def gather(array: np.ndarray | np.generic) -> np.ndarray:
    """The arrays of all processes, of one shape and dtype, stacked along a new first axis."""
    return multihost_utils.process_allgather(np.asarray(array)[None], tiled=True)


def meet() -> None:
    """Waits until all are here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("tl_jax")


def highest() -> Callable[[int], int]:
    """A function that gives the highest number with which any process called it the time before.

    The answer is the same everywhere, and a call behind, so that nobody waits for it: devices work meanwhile.
    One process gets its own number at once.
    """
    if jax.process_count() == 1:
        return lambda number: number
    mesh = Mesh(np.asarray(jax.devices()), ("devices",))
    each, everywhere = NamedSharding(mesh, PartitionSpec("devices")), NamedSharding(mesh, PartitionSpec())
    maximum, before = jax.jit(jnp.max, out_shardings=everywhere), np.int32(0)

    def ask(number: int) -> int:
        nonlocal before
        mine = np.full(1, number, np.int32)
        asked = jax.make_array_from_callback((mesh.size,), each, lambda index: mine)
        answer, before = before, maximum(asked)
        return int(answer)

    return ask
