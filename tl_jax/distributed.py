"""Start-up of one job on several hosts: JAX's processes find each other before anything else happens.

It is asked for, never guessed: a batch system's variables are there for single processes, too.

    srun python -m tl_jax.main --config=… --distributed
    python -m tl_jax.main --config=… --coordinator=HOST:PORT --processes=2 --process_id=0
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from absl import flags

from tl_jax.completion import ConfigError, Problem
from tl_jax.interrupt import Interrupted

_LEAVE_TIMEOUT = 30
"""Seconds that a process that is done waits for the others, which are done too unless one has failed."""


def define(values: flags.FlagValues) -> None:
    """The flags of a command that several processes may run together."""
    flags.DEFINE_bool(
        "distributed",
        False,
        "one of several processes, as SLURM, Kubernetes, a TPU pod or Open MPI tells JAX",
        flag_values=values,
    )
    flags.DEFINE_string(
        "coordinator", "", "HOST:PORT of process 0, where nothing tells JAX", flag_values=values
    )
    flags.DEFINE_integer("processes", 0, "with --coordinator: how many there are", flag_values=values)
    flags.DEFINE_integer("process_id", -1, "with --coordinator: which this is, from 0", flag_values=values)
    flags.DEFINE_integer(
        "start_timeout", 300, "seconds to wait for the other processes", 1, flag_values=values
    )


@contextmanager
def joined(options: Any) -> Iterator[None]:
    """Joins the other processes if the flags say that there are some.

    ``options``: values of the flags that `define` adds. Must come before JAX is used. Raises `ConfigError`
    for flags that do not fit together, RuntimeError where the processes cannot join; where the others do not
    come in time, the process says so and ends.
    """
    problems = list(_problems(options))
    if problems:
        raise ConfigError(problems, "the command line")
    if not (options.distributed or options.coordinator):
        yield
        return
    import jax

    # It would take over SIGTERM, which tl_jax.interrupt handles.
    jax.config.update("jax_enable_preemption_service", False)
    _start(options)
    try:
        yield
    except Interrupted:  # else JAX does it when the process ends, after what was wrong has been said
        jax.distributed.shutdown()
        raise


def _problems(options: Any) -> Iterator[Problem]:
    explicit = {
        "--coordinator": options.coordinator != "",
        "--processes": options.processes != 0,
        "--process_id": options.process_id != -1,
    }
    if any(explicit.values()):
        for name, given in explicit.items():
            if not given:
                yield Problem(name, f"is missing; {', '.join(explicit)} go together")
    if options.coordinator and not re.fullmatch(r".+:\d{1,5}", options.coordinator):
        text = f"found {options.coordinator!r}; allowed: HOST:PORT, such as node1:9876"
        yield Problem("--coordinator", text)
    if options.processes < 0:
        yield Problem("--processes", f"found {options.processes}; allowed: 1 ≤ value")
    elif all(explicit.values()) and not 0 <= options.process_id < options.processes:
        text = f"found {options.process_id}; allowed: 0…{options.processes - 1}, as --processes says"
        yield Problem("--process_id", text)


def _start(options: Any) -> None:
    import jax

    named = dict(
        coordinator_address=options.coordinator,
        num_processes=options.processes,
        process_id=options.process_id,
        # Every device this process sees is its own, whatever the batch system says.
        cluster_detection_method="deactivate",
    )
    # JAX's own time-out ends the process without a word that a user could read.
    late = threading.Timer(options.start_timeout, _give_up, [options])
    late.daemon = True
    late.start()
    try:
        jax.distributed.initialize(
            **(named if options.coordinator else {}),
            initialization_timeout=options.start_timeout + 60,
            shutdown_timeout_seconds=_LEAVE_TIMEOUT,
        )
    except ValueError as error:
        raise RuntimeError(
            "--distributed: JAX finds no SLURM step, Kubernetes job, TPU pod or Open MPI around this process "
            f"({error}). Start it through one of them, or name --coordinator, --processes and --process_id"
        ) from error
    except RuntimeError as error:
        raise RuntimeError(f"the processes cannot join each other: {error}") from error
    finally:
        late.cancel()


def _give_up(options: Any) -> None:
    where = f"--coordinator={options.coordinator}" if options.coordinator else "the coordinator JAX has found"
    print(
        f"error: not all processes have met within {options.start_timeout} seconds. Were all of them "
        f"started? Is {where} the host of process 0, with a port that is free there and that the other "
        "hosts can reach? --start_timeout lets them wait longer",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)
