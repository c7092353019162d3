"""The command line that experiments have in common, and how they end.

python -m experiments.NAME --config=FILE[:ARGUMENT] [--config.KEY=VALUE …] [--seeds=5] [--workdir=FOLDER]
    [--engine=local|ray] [--address=…] [--cpus=…] [--gpus=0] [--memory=…]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags as absl_flags

from tl_jax import flags
from tl_jax.completion import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tl_jax.lab.grid import Run
    from tl_jax.lab.ledger import Outcome
    from tl_jax.lab.records import Record
    from tl_jax.lab.summary import Summary


def parse(
    argv: list[str], define: flags.Define, *, suffix: str, seeds: int = 5, tasks: bool = False
) -> flags.Parsed:
    """As `tl_jax.flags.parse`, with the flags of every experiment besides those that ``define`` adds.
    ``tasks``: the config may have several. Raises `ConfigError` where it may not."""

    def both(values: absl_flags.FlagValues) -> None:
        absl_flags.DEFINE_integer(
            "seeds", seeds, "runs of each variation; seeds count up from the config's", 1, flag_values=values
        )
        absl_flags.DEFINE_bool(
            "dry_run", False, "print the grid and its cost; train nothing", flag_values=values
        )
        absl_flags.DEFINE_bool(
            "together", True, "train heads of one grid by one program where that can be", flag_values=values
        )
        _define_engine(values)
        define(values)

    parsed = flags.parse(argv, define=both, suffix=suffix)
    if parsed.config.tasks and not tasks:
        text = "are several; of experiments only experiments.sharing compares what they share"
        raise ConfigError([Problem("tasks", text)], f"--config={parsed.name}")
    if parsed.flags.engine == "local":
        idle = [f"--{name}" for name in _RAY if parsed.flags[name].present]
        if idle:
            text = "says nothing to --engine=local; add --engine=ray"
            raise ConfigError([Problem(name, text) for name in idle], "the command line")
    return parsed


_RAY = ("address", "cpus", "gpus", "memory")


def _define_engine(values: absl_flags.FlagValues) -> None:
    absl_flags.DEFINE_enum(
        "engine",
        "local",
        ["local", "ray"],
        "local: one run after the other, in this process; ray: on the machines of a Ray cluster",
        flag_values=values,
    )
    absl_flags.DEFINE_string(
        "address",
        "",
        "ray: auto, HOST:PORT or ray://HOST:PORT of a cluster (default: one is started on this machine)",
        flag_values=values,
    )
    absl_flags.DEFINE_integer(
        "cpus",
        None,
        "ray: processors of a run (default: so many that the smallest machine has one run at a time)",
        1,
        flag_values=values,
    )
    absl_flags.DEFINE_integer("gpus", 0, "ray: GPUs of a run", 0, flag_values=values)
    absl_flags.DEFINE_integer(
        "memory", None, "ray: bytes that a run needs (default: not stated)", 1, flag_values=values
    )


def seeds(parsed: flags.Parsed) -> range:
    first = parsed.config.seed
    return range(first, first + parsed.flags.seeds)


def execute(grid: Sequence[Run], parsed: flags.Parsed) -> Outcome | None:
    """Runs the grid, or prints what it would cost where ``--dry_run`` asks for that: then it is None. Raises
    as the engine's ``execute``, and ValueError where stages do not fit a network."""
    from tl_jax import compilation
    from tl_jax.lab import estimate, network, runner

    compilation.use_cache(parsed.config.compilation_cache)
    network.refuse_misfits(grid)
    if parsed.flags.dry_run:
        with compilation.shared():
            print(estimate.table(grid))
        return None
    root, given = Path(parsed.workdir), parsed.flags
    if given.engine == "local":
        return runner.execute(grid, root, together=given.together)

    from tl_jax.lab import ray_cluster, ray_engine

    resources = ray_cluster.Resources(given.cpus, given.gpus, given.memory or 0)
    return ray_engine.execute(grid, root, address=given.address, resources=resources)


def tell(parsed: flags.Parsed, found: Summary, records: Sequence[Record] = ()) -> None:
    """Writes what was found into the workdir, and prints it. ``records``: of the runs that it rests on."""
    from tl_jax.lab import summary

    print(summary.write(Path(parsed.workdir), found, records=records))


def numbers(flag: str, texts: Sequence[str]) -> list[float]:
    """What a flag lists. Raises `ConfigError` for what is no number."""
    try:
        return [float(text) for text in texts]
    except ValueError as error:
        raise ConfigError([Problem(flag, str(error))], "the command line") from None


def another(argv: list[str], path: str, define: flags.Define) -> flags.Parsed:
    """The same command line with another ``--config``: the flags that set single keys apply to both."""
    _, rest, _ = flags.config_path(argv[1:])
    return parse([argv[0], f"--config={path}", *rest], define, suffix="")


def end(outcome: Outcome) -> int:
    """Lists the runs that failed; the exit code."""
    for name, why in outcome.failed.items():
        print(f"{name} failed: {why}", file=sys.stderr)
    if outcome.failed:
        total = len(outcome.failed) + len(outcome.records)
        print(
            f"{len(outcome.failed)} of {total} runs failed; the same command tries them again",
            file=sys.stderr,
        )
    return 1 if outcome.failed else 0
