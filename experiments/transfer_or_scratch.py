"""Does transfer help, and how much time does it save? With pretrained weights and without, over few labels.

    python -m experiments.transfer_or_scratch --config=FILE[:ARGUMENT] [--config.KEY=VALUE …] [--seeds=3]
        [--fractions=0.01,0.05,0.25,1] [--arms=scratch,linear_probe,full,lp_ft,own] [--budget="300 steps"]
        [--lrs=1e-4,1e-3 | --lrs=scratch=1e-4/1e-3,full=1e-5] [--measure=auroc] [--workdir=FOLDER] [--dry_run]

Arms are one network: from scratch, with its weights drawn anew; its head alone; all of it; the head for half
of the budget, then all of it at a lower rate (LP-FT); and the config's own stages. Every run takes as many
steps, by default what the config's own stages take on all labels: few labels are seen more often, so that no
arm starves. --lrs gives the learning rates of an arm's last stage; of several, validation chooses.

FOLDER gets transfer.txt, transfer.json, transfer.png, and the tables transfer.csv and transfer-2.csv.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags as absl_flags

from tl_jax import command, duration
from tl_jax.completion import ConfigError, Problem
from tl_jax.lab import command as lab

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ml_collections import ConfigDict

    from tl_jax.lab.grid import Run
    from tl_jax.lab.shares import Labelled

FRACTIONS = ["0.01", "0.05", "0.25", "1"]
LINE = "the command line"


def define(values: absl_flags.FlagValues) -> None:
    absl_flags.DEFINE_list("fractions", FRACTIONS, "shares of the training groups", flag_values=values)
    absl_flags.DEFINE_list("arms", [], "default: all five", flag_values=values)
    absl_flags.DEFINE_string(
        "budget", "", "length of every run (default: that of the config's stages)", flag_values=values
    )
    absl_flags.DEFINE_list("lrs", [], "RATE for all arms, or ARM=RATE/RATE/…", flag_values=values)
    absl_flags.DEFINE_string("measure", "", "of the verdict (default: auroc)", flag_values=values)


def main(argv: list[str]) -> int:
    parsed = lab.parse(argv, define, suffix="-transfer", seeds=3)
    flags, seeds = parsed.flags, lab.seeds(parsed)

    from tl_jax.lab import shares, transfer

    problems = [*_problems(parsed.config, flags), *_rate_problems(flags.lrs)]
    if problems:
        raise ConfigError(problems, LINE)
    fractions = sorted({float(text) for text in flags.fractions})
    train = shares.training(parsed.config)
    if problems := list(shares.problems(train, fractions, seeds)):
        raise ConfigError(problems, LINE)
    runs = grid(parsed.config, train, fractions, flags.arms, flags.lrs, flags.budget, seeds)
    print(shares.table(train, fractions, seeds).text() + "\n", flush=True)
    outcome = lab.execute(runs, parsed)
    if outcome is None:
        return 0
    root = Path(parsed.workdir)
    if outcome.records:
        found = transfer.found(root, outcome.records, parsed.config, flags.measure)
        lab.tell(parsed, transfer.summary(found), outcome.records)
    return lab.end(outcome)


def grid(
    config: ConfigDict,
    train: Labelled,
    fractions: Sequence[float],
    arms: Sequence[str],
    lrs: Sequence[str],
    budget: str,
    seeds: Sequence[int],
) -> list[Run]:
    """Every arm at every fraction, with every rate and seed. Arms and rates are those of the command line.
    Raises `ConfigError` for a budget that is too short."""
    from tl_jax.lab import arms as room
    from tl_jax.lab import grid as grids
    from tl_jax.lab import shares

    limit = room.budget(config, len(train), budget)
    rates = _rates(lrs, room.rates(config))
    runs: list[Run] = []
    for fraction in fractions:
        for seed in seeds:  # a seed draws the labelled pictures, too
            pictures = int(shares.kept(train, fraction, seed).sum())
            try:
                variations = [
                    room.variation(config, arm, lr, limit, fraction=fraction, seed=seed, pictures=pictures)
                    for arm in arms or room.ARMS
                    for lr in rates[arm]
                ]
            except ValueError as error:
                raise ConfigError([Problem("--budget", str(error))], LINE) from None
            runs += grids.grid(config, variations, [seed])
    return runs


def _problems(config: ConfigDict, flags: absl_flags.FlagValues) -> Iterator[Problem]:
    from tl_jax.lab.arms import ARMS, SCRATCH

    if not config.model.pretrained:
        yield Problem("model.pretrained", "is empty: there is nothing to transfer; name weights")
    if config.model.keep != "all":
        yield Problem("model.keep", f"found {config.model.keep!r}; the arms set it: leave it at 'all'")
    if config.data.train_fraction != 1:
        text = f"found {config.data.train_fraction:g}; --fractions sets it: leave it at 1"
        yield Problem("data.train_fraction", text)
    wrong = [text for text in flags.fractions if not 0 < _number(text) <= 1]
    if wrong or not flags.fractions:
        found = ", ".join(wrong) or "none"
        yield Problem("--fractions", f"found {found}; give shares above 0 and up to 1, such as 0.01,0.25,1")
    for name in flags.arms:
        if name not in ARMS:
            near = difflib.get_close_matches(name, ARMS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            yield Problem("--arms", f"found {name!r}; there are {', '.join(ARMS)}{hint}")
    if flags.arms and (SCRATCH not in flags.arms or len(set(flags.arms)) < 2):
        yield Problem("--arms", f"give {SCRATCH}, which the others are compared with, and another one")
    if flags.budget and (text := duration.check(flags.budget, percent=False)):
        yield Problem("--budget", text)


def _rate_problems(texts: Sequence[str]) -> Iterator[Problem]:
    from tl_jax.lab.arms import ARMS

    for text in texts:
        arm, given, listed = text.rpartition("=")
        if given and arm not in ARMS:
            yield Problem("--lrs", f"found {text!r}; {arm!r} is none of {', '.join(ARMS)}")
        if any(not _number(one) > 0 for one in listed.split("/")):
            yield Problem("--lrs", f"found {text!r}; give rates above 0, such as 1e-3 or full=1e-4/1e-3")


def _rates(texts: Sequence[str], own: dict[str, float]) -> dict[str, list[float]]:
    """Arm → its learning rates, to three digits: what is given for it, else for all, else its own."""
    named: dict[str, list[float]] = {}
    for text in texts:
        arm, _, listed = text.rpartition("=")
        named.setdefault(arm, []).extend(float(one) for one in listed.split("/"))
    return {
        arm: sorted({float(f"{lr:.3g}") for lr in named.get(arm) or named.get("") or [default]})
        for arm, default in own.items()
    }


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


if __name__ == "__main__":
    command.run(main)
