"""Which part of a network should learn a shifted target? Only one block group trains, on each kind of target.

    python -m experiments.surgical --config=FILE[:ARGUMENT] [--config.KEY=VALUE …] [--seeds=3]
        [--targets=clean,corrupted,flipped] [--corruption=contrast+noise] [--severity=3] [--fraction=0.2]
        [--groups=first,middle,last,head] [--lrs=1e-4,1e-3] [--duration="10 epochs"] [--measure=auroc]
        [--workdir=FOLDER] [--dry_run]

As in Lee et al., "Surgical Fine-Tuning Improves Adaptation to Distribution Shifts" (2022). The config is
trained as it is, the source. Then, for each target, the source's network learns from a share of the training
patients, with nothing frozen (all) or with everything but one group frozen: the first third of the blocks
with the stem, the middle third, the last third with the neck, or the head. The targets are the pictures as
they are, corrupted ones (docs/data.md), and ones whose labels have changed places. They are trained like the
last stage of the config, without its rules and its layer decay. Where there are several rates, each group
takes the one that validation prefers (``select.metric``), so the test numbers are honest.

FOLDER gets surgical.txt, surgical.csv, surgical.json and surgical.png.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags as absl_flags

from tl_jax import command, schema
from tl_jax.completion import ConfigError, Problem, plain_copy
from tl_jax.lab import command as lab

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ml_collections import ConfigDict

    from tl_jax import flags
    from tl_jax.lab.grid import Run, Variation

TARGETS = ("clean", "corrupted", "flipped")
GROUPS = ("first", "middle", "last", "head")


def define(values: absl_flags.FlagValues) -> None:
    absl_flags.DEFINE_list("targets", list(TARGETS), "what is learned", flag_values=values)
    absl_flags.DEFINE_string("corruption", "contrast+noise", "of the corrupted target", flag_values=values)
    absl_flags.DEFINE_integer("severity", 3, "of the corruption, 1 to 5", flag_values=values)
    absl_flags.DEFINE_float("fraction", 0.2, "share of the training patients", flag_values=values)
    absl_flags.DEFINE_list("groups", list(GROUPS), "what trains alone, besides all", flag_values=values)
    absl_flags.DEFINE_list("lrs", [], "validation chooses (default: the last stage's)", flag_values=values)
    absl_flags.DEFINE_string("duration", "", "of a target (default: the last stage's)", flag_values=values)
    absl_flags.DEFINE_string(
        "measure", "", "what groups are judged by (default: auroc, or accuracy)", flag_values=values
    )


def main(argv: list[str]) -> int:
    parsed = lab.parse(argv, define, suffix="-surgical", seeds=3)
    refuse(parsed)

    from tl_jax.lab import network, surgical, surgical_tables
    from tl_jax.lab.grid import Variation, grid
    from tl_jax.lab.runner import Outcome

    config, seeds, root = parsed.config, lab.seeds(parsed), Path(parsed.workdir)
    variations = targets(parsed, network.blocks(config))
    sources = grid(config, [Variation("source", {})], seeds)
    planned = grid(config, variations, seeds)
    if parsed.flags.dry_run:
        lab.execute([*sources, *planned], parsed)
        return 0
    network.refuse_misfits(planned)
    first = lab.execute(sources, parsed)
    assert first is not None
    trained = [record["seed"] for record in first.records]
    second = lab.execute(from_sources(config, variations, trained, root), parsed)
    assert second is not None
    outcome = Outcome([*first.records, *second.records], first.failed | second.failed)
    if not outcome.failed:
        found = surgical.summarise(root, first.records, second.records, config, parsed.flags.measure)
        lab.tell(parsed, surgical_tables.told(found), outcome.records)
    return lab.end(outcome)


def refuse(parsed: flags.Parsed) -> None:
    """Raises `ConfigError` with every flag that cannot be meant."""
    given, problems = parsed.flags, []
    for key in ("corruption", "severity"):
        text = schema.CHECKS[f"data.shift.{key}"].problem(given[key].value)
        text = "is empty" if key == "corruption" and not given.corruption else text
        problems += [Problem(f"--{key}", text)] if text else []
    if not 0 < given.fraction <= 1:
        problems.append(Problem("--fraction", f"found {given.fraction:g}; allowed: 0 < value ≤ 1"))
    for flag, names, there in (("--targets", given.targets, TARGETS), ("--groups", given.groups, GROUPS)):
        wrong = [name for name in names if name not in there]
        if wrong or not names:
            text = f"found {', '.join(wrong) or 'none'}; there are {', '.join(there)}"
            problems.append(Problem(flag, text))
    shift = parsed.config.data.shift
    if shift.corruption or shift.labels:
        text = "the source learns from pictures as they are; --corruption says how a target is shifted"
        problems.append(Problem("data.shift", text))
    if problems:
        raise ConfigError(problems, "the command line")


def targets(parsed: flags.Parsed, blocks: int) -> list[Variation]:
    """Every target with every group and rate, from the config's own weights."""
    from tl_jax.lab.grid import Variation

    given, config = parsed.flags, parsed.config
    last = plain_copy(config.stages[-1])
    rates = lab.numbers("--lrs", given.lrs) or [last["lr"]]
    paths = {**groups(blocks), "all": ""}
    chosen = [name for name in paths if name in (*given.groups, "all")]
    common = {"data.train_fraction": given.fraction * config.data.train_fraction}
    found = []
    for target in dict.fromkeys(given.targets):
        name, shift = shifted(target, given.corruption, given.severity)
        for group in chosen:
            for lr in sorted({float(f"{rate:.3g}") for rate in rates}):
                stage = {**last, "lr": lr, "train": "all", "rules": alone(paths[group])}
                stage |= {"layer_decay": 1.0, "restore_best": False}
                stage |= {"duration": given.duration} if given.duration else {}
                facts = {"target": name, "kind": target, "group": group, "lr": lr}
                patch = {**common, **shift, "stages": [stage]}
                found.append(Variation(f"{name}-{group}-lr-{lr:g}", patch, facts))
    return found


def shifted(target: str, corruption: str, severity: int) -> tuple[str, dict[str, Any]]:
    """How a target is called, and the keys that make it."""
    if target == "corrupted":
        keys = {"data.shift.corruption": corruption, "data.shift.severity": severity}
        return f"{corruption}-{severity}", keys
    return target, {"data.shift.labels": "flip"} if target == "flipped" else {}


def groups(blocks: int) -> Mapping[str, str]:
    """Group → what its parameters' paths match. Raises `ConfigError` where thirds of the blocks are none."""
    if blocks < 3:
        text = f"the network has {blocks} blocks; its first, middle and last third need three"
        raise ConfigError([Problem("--config", text)], "the command line")
    ends = [-(-blocks * k // 3) for k in range(4)]
    thirds = ["|".join(map(str, range(a, b))) for a, b in pairwise(ends)]
    return {
        "first": f"(stem|blocks/({thirds[0]}))/.*",
        "middle": f"blocks/({thirds[1]})/.*",
        "last": f"(neck|blocks/({thirds[2]}))/.*",
        "head": "head/.*",
    }


def alone(path: str) -> list[dict[str, Any]]:
    """Rules under which nothing but these paths trains; none for all."""
    return [dict(path=path, train=True), dict(path=".*", train=False)] if path else []


def from_sources(
    config: ConfigDict, variations: Sequence[Variation], seeds: Sequence[int], root: Path
) -> list[Run]:
    """The variations, each seed from the network of the source with that seed."""
    from tl_jax.lab.grid import Variation, grid

    runs: list[Run] = []
    for seed in seeds:
        weights = {"model.pretrained": str((root / "source" / f"seed-{seed}").resolve())}
        own = [Variation(one.name, {**one.patch, **weights}, one.facts) for one in variations]
        runs += grid(config, own, [seed])
    return runs


if __name__ == "__main__":
    command.run(main)
