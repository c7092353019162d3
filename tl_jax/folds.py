"""``python -m tl_jax.folds --config=FILE[:ARGUMENT] --folds=5 [--config.KEY=VALUE …] [--workdir=FOLDER]``

Cross-validation: trains once for each fold, in FOLDER/fold-0 and so on, then measures the test predictions
of all folds together; every picture is in the test split of one fold. Without --workdir FOLDER is
runs/NAME-folds. The same command again skips what is finished and goes on where it stopped. If a fold fails
the others still run; the exit code is 1 then.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags as absl_flags

from tl_jax import command, flags
from tl_jax.completion import ConfigError, Problem

if TYPE_CHECKING:
    from ml_collections import ConfigDict


def _define(values: absl_flags.FlagValues) -> None:
    absl_flags.DEFINE_integer("folds", 5, "how many", 2, flag_values=values)


def main(argv: list[str]) -> int:
    parsed = flags.parse(argv, define=_define, suffix="-folds")
    result = run_folds(parsed.config, parsed.workdir, parsed.flags.folds)
    return 1 if result["failed"] else 0


def run_folds(config: ConfigDict, workdir: str | Path, folds: int) -> dict[str, Any]:
    """Runs every fold of a completed config and pools their test predictions.

    Returns what also lies in ``workdir/result.json``: ``test``, the measures of all test pictures together;
    ``over_folds``, mean and standard deviation of each measure over folds; ``each``, the folds; and
    ``failed``, those that did not end, with why. Raises `ConfigError` if the config names a fold,
    `WorkdirError` where the folder belongs to another config, RuntimeError if no fold could be run.
    """
    from tl_jax import pooled
    from tl_jax.runs import refuse_others
    from tl_jax.workdir import Workdir, WorkdirError, write_json, write_text

    if config.data.fold:
        text = f"found {config.data.fold!r}; this command runs all folds: leave it empty"
        raise ConfigError([Problem("data.fold", text)])
    root = Workdir(workdir)
    with root.locked():
        if root.config.exists():
            raise WorkdirError(f"{root.root} holds a single run; choose another --workdir for its folds")
        names = {number: f"{number}/{folds}" for number in range(folds)}
        for number, name in names.items():
            refuse_others(pooled.folder(root.root, number), _own(config, name))
        # One of before, perhaps of fewer folds, must not stand beside those that are running now.
        root.result.unlink(missing_ok=True)
        failed = _train(config, root.root, names)
        done = [
            pooled.read_fold(name, pooled.folder(root.root, number))
            for number, name in names.items()
            if name not in failed
        ]
        for name, why in failed.items():
            print(f"fold {name} failed: {why}", file=sys.stderr)
        if not done:
            raise RuntimeError("not one fold could be run; see above")
        over = pooled.spread_over_folds(done)
        result = {
            "folds": folds,
            "test": pooled.measure(done, settings=config.evaluation),
            "over_folds": over,
            "each": [_fold(fold) for fold in done],
            "failed": failed,
            "classes": done[0].result["classes"],
            "seconds": {key: sum(fold.result["seconds"][key] for fold in done) for key in ("total", "train")},
            "steps": sum(fold.result["steps"] for fold in done),
        }
        write_text(root.predictions("test"), pooled.predictions(done))
        write_json(root.result, result)
    print(pooled.table(done, over))
    print(f"test pictures of {len(done)} folds together, each once, each by its own fold's decision:")
    print(done[0].task.table(result["test"]))
    if failed:
        print(f"{len(failed)} of {folds} folds failed, so these are not all pictures: {', '.join(failed)}")
    print(f"result: {root.result}")
    return result


def _train(config: ConfigDict, root: Path, names: dict[int, str]) -> dict[str, str]:
    """Runs every fold; those that failed, with why."""
    from tl_jax import pooled
    from tl_jax.runs import run
    from tl_jax.workdir import WorkdirError

    failed = {}
    for number, name in names.items():
        print(f"fold {name}")
        own = pooled.folder(root, number)
        try:
            run(_own(config, name), own.root)
        except WorkdirError:
            raise  # the folder is another's: nothing that leaving this fold out would mend
        except command.EXPECTED as error:
            if number == 0 and not own.plan.exists():
                raise  # it did not get as far as a plan, and no other fold would
            failed[name] = str(error)
            print(f"fold {name} failed: {error}", file=sys.stderr)
    return failed


def _own(config: ConfigDict, name: str) -> ConfigDict:
    """The config of one fold, ``"i/k"``."""
    own = config.copy_and_resolve_references()
    own.data.fold = name
    return own


def _fold(fold: Any) -> dict[str, Any]:
    """What result.json says about one fold."""
    from tl_jax import pooled

    result = fold.result
    return {
        "fold": fold.name,
        "n": len(fold.ids),
        "test": pooled.values(fold),
        **{key: result[key] for key in ("decision", "best", "steps", "seconds", "data")},
    }


if __name__ == "__main__":
    command.run(main)
