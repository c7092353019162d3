"""How transferable are the features of the first k blocks? Kept and frozen or fine-tuned, for every k.

    python -m experiments.transferability --config=FILE[:ARGUMENT] [--config.KEY=VALUE …] [--seeds=3]
        [--cuts=0,4,8,12] [--lrs=1e-4,1e-3] [--budget="300 steps"] [--measure=auroc] [--workdir=FOLDER]
        [--dry_run]

After Yosinski et al. 2014. A cut of k keeps the stem and the first k blocks of the pretrained weights;
everything above is drawn anew and trains, and what is kept either stays frozen or trains too. One network
keeps nothing. Every run is the last stage of the config, as long as all of its stages, at one rate for all
blocks; of several --lrs validation chooses. More cuts and seeds can be added to a folder.

FOLDER gets transferability.txt, transferability.json, transferability.png, and the tables as CSV.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags as absl_flags

from tl_jax import command, duration
from tl_jax.completion import ConfigError, Problem
from tl_jax.lab import command as lab

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ml_collections import ConfigDict

    from tl_jax.backbones.anatomy import Backbone
    from tl_jax.lab.arms import Budget
    from tl_jax.lab.grid import Variation

LINE = "the command line"


def define(values: absl_flags.FlagValues) -> None:
    absl_flags.DEFINE_list("cuts", [], "numbers of kept blocks (default: all)", flag_values=values)
    absl_flags.DEFINE_list("lrs", [], "learning rates (default: that of the config)", flag_values=values)
    absl_flags.DEFINE_string(
        "budget", "", "length of every run (default: that of the config's stages)", flag_values=values
    )
    absl_flags.DEFINE_string("measure", "", "of the verdict (default: auroc)", flag_values=values)


def main(argv: list[str]) -> int:
    parsed = lab.parse(argv, define, suffix="-transferability", seeds=3)
    config, flags = parsed.config, parsed.flags

    from tl_jax.lab import arms, grid, kept_blocks, network, shares

    problems = list(_problems(config, flags))
    model = network.outline(config) if config.model.pretrained else None
    if model is not None:
        problems += _cut_problems(flags.cuts, len(model.blocks))
    if problems or model is None:
        raise ConfigError(problems, LINE)
    limit = arms.budget(config, len(shares.training(config)), flags.budget)
    cuts = sorted({int(text) for text in flags.cuts} or range(len(model.blocks) + 1))
    lrs = sorted({float(f"{float(text):.3g}") for text in flags.lrs}) or [arms.rates(config)["full"]]
    runs = grid.grid(config, variations(config, model, cuts, lrs, limit), lab.seeds(parsed))
    outcome = lab.execute(runs, parsed)
    if outcome is None:
        return 0
    root = Path(parsed.workdir)
    if outcome.records:
        found = kept_blocks.found(root, outcome.records, config, flags.measure)
        lab.tell(parsed, kept_blocks.summary(found), outcome.records)
    return lab.end(outcome)


def variations(
    config: ConfigDict, model: Backbone, cuts: Sequence[int], lrs: Sequence[float], limit: Budget
) -> list[Variation]:
    """From scratch, and each cut frozen and fine-tuned, with each rate. ``model`` may be abstract."""
    from tl_jax.lab import arms
    from tl_jax.lab.grid import Variation
    from tl_jax.lab.kept_blocks import FROZEN, NOTHING, TUNED
    from tl_jax.pretrained import renewed

    kinds: list[tuple[int, str, dict[str, Any]]] = [(-1, NOTHING, dict(train="all"))]
    for cut in cuts:
        kinds += [(cut, FROZEN, above(model, cut)), (cut, TUNED, dict(train="all"))]
    found = []
    for kept, how, trains in kinds:
        for lr in lrs:
            patch = {
                **arms.common(config, limit),
                "model.keep": renewed.NONE if kept < 0 else renewed.first(kept),
                "stages": [arms.single(config, limit, name=how, lr=lr, **trains)],
            }
            name = f"keep-{kept:02}-{how}" if kept >= 0 else NOTHING
            facts = {"kept": kept, "how": how, "lr": lr}
            found.append(Variation(f"{name}-lr-{lr:.3g}", patch, facts))
    return found


def above(model: Backbone, cut: int) -> dict[str, Any]:
    """What trains everything above a cut, and nothing below: blocks, neck and head."""
    from tl_jax.backbones.anatomy import split

    n = len(model.blocks)
    if cut < n:
        return dict(train=f"last {n - cut}")
    neck = any(path.startswith("neck/") for path in split(model)[1])
    return dict(train="head", rules=[dict(path="neck/.*")] if neck else [])


def _problems(config: ConfigDict, flags: absl_flags.FlagValues) -> Iterator[Problem]:
    if not config.model.pretrained:
        yield Problem("model.pretrained", "is empty: there are no features to transfer; name weights")
    if config.model.keep != "all":
        yield Problem("model.keep", f"found {config.model.keep!r}; --cuts sets it: leave it at 'all'")
    if flags.budget and (text := duration.check(flags.budget, percent=False)):
        yield Problem("--budget", text)
    wrong = [text for text in flags.lrs if not _is_rate(text)]
    if wrong:
        yield Problem("--lrs", f"found {', '.join(wrong)}; give rates above 0, such as 1e-4,1e-3")


def _cut_problems(texts: Sequence[str], blocks: int) -> Iterator[Problem]:
    wrong = [text for text in texts if not text.isdigit() or int(text) > blocks]
    if wrong:
        example = f"--cuts=0,{blocks // 2},{blocks}"
        text = f"the network has {blocks} blocks: give numbers from 0 to {blocks}, such as {example}"
        yield Problem("--cuts", f"found {', '.join(wrong)}; {text}")


def _is_rate(text: str) -> bool:
    try:
        return float(text) > 0
    except ValueError:
        return False


if __name__ == "__main__":
    command.run(main)
