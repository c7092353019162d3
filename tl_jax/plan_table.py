"""The FreezePlan as tables, one a stage: what is trained, how fast, and what that costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import jax

from tl_jax import freeze, optim, sharding
from tl_jax.backbones.anatomy import part_of
from tl_jax.freeze import FROZEN, FreezePlan
from tl_jax.job import Job, Outline
from tl_jax.multitask.union import plain
from tl_jax.prefix import Cut
from tl_jax.programs import Cost
from tl_jax.report.table import Column, Table, Value

COLUMNS = (
    Column("group"),
    Column("parts"),
    Column("parameters"),
    Column("lr", form=".3g"),
    Column("decay", form="g"),
    Column("batch_norm", "BatchNorm"),
    Column("optimiser_mb", "optimiser, MB", form=".3g"),
)
"""``optimiser_mb``: of its state. A row for what is frozen, then one a trained group, from the stem up."""


def render(job: Job, cuts: Sequence[Cut], costs: Sequence[Cost] | None = None) -> str:
    """The devices, and the plan of every stage as text, and what is kept of its prefix; with ``costs``, FLOPs
    too."""
    lines = [sharding.describe(job.base_params, job.mesh), ""]
    for number, (plan, table) in enumerate(zip(job.plans, tables(job.outline, job.durations), strict=True)):
        lines.append(table.text())
        kept = f"; {cuts[number].why}" if plan.prefix >= 0 else ""
        lines.append(f"  {below(plan, len(job.model.blocks))}{kept}")
        if costs:
            lines.append(f"  {_cost(costs[number])}")
        lines.append("")
    return "\n".join(lines).rstrip()


def tables(outline: Outline, steps: Sequence[int]) -> list[Table]:
    """The plan of every stage; ``steps``: how many each takes."""
    every = freeze.count(outline.params)
    found = []
    for number, (plan, stage) in enumerate(zip(outline.plans, outline.config.stages, strict=True)):
        trained = freeze.count(plan.partition(outline.params)[0])
        title = (
            f"stage {number + 1} {stage.name!r}: train={stage.train!r}, {stage.optimizer}, {stage.duration} "
            f"= {steps[number]} steps, {stage.schedule} from lr {stage.lr:g}; "
            f"{trained:,} of {every:,} parameters train ({trained / every:.2%})"
        )
        found.append(Table(COLUMNS, _rows(outline, plan, number), title))
    return found


def below(plan: FreezePlan, blocks: int) -> str:
    """Where the frozen prefix ends, in words."""
    if plan.prefix < 0:
        return f"frozen prefix: none, {plan.lowest} moves"
    more = "" if plan.prefix == 0 else f" and blocks 0-{plan.prefix - 1}"
    return f"frozen prefix: the stem{more}, {plan.prefix} of {blocks} blocks"


def _rows(outline: Outline, plan: FreezePlan, number: int) -> list[tuple[Value, ...]]:
    stage, params = outline.config.stages[number], outline.params
    trained, frozen = plan.partition(params)
    moments = optim.moments(jax.eval_shape(optim.build(stage, plan).init, trained))
    rows = []
    if frozen:
        modes = _modes(plan, {part_of(plain(path)) for path in frozen} - plan.live)
        rows.append((FROZEN, _parts(frozen), freeze.count(frozen), None, None, modes, None))
    for group in plan.groups:
        own = {path: leaf for path, leaf in params.items() if plan.labels[path] == group.name}
        rows.append(
            (
                group.name,
                _parts(own),
                freeze.count(own),
                stage.lr * group.lr_scale,
                group.weight_decay if plan.decayed & own.keys() else None,
                _modes(plan, {part_of(plain(path)) for path in own}),
                optim.nbytes({path: moments[path] for path in own if path in moments}) / 1e6,
            )
        )
    return rows


def _parts(paths: Iterable[str]) -> str:
    """ "stem, blocks 0-7, neck": the parts the paths lie in."""
    found = {part_of(plain(path)) for path in paths}
    numbers = sorted(int(part.partition("/")[2]) for part in found if part.startswith("blocks/"))
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    blocks = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
    named = [("stem", "stem"), ("blocks", f"blocks {blocks}"), ("neck", "neck"), ("head", "head")]
    named.append(("balance", "what weighs the losses"))
    return ", ".join(text for part, text in named if part in found or (part == "blocks" and blocks))


def _modes(plan: FreezePlan, inside: set[str]) -> str | None:
    modes = {mode for layer, mode in plan.batch_norm.items() if part_of(plain(layer)) in inside}
    return "/".join(sorted(modes)) or None


def _bytes(number: int) -> str:
    return f"{number / 1e6:.2f} MB" if number >= 10_000 else f"{number} B"


def _cost(cost: Cost) -> str:
    once = f"; frozen prefix, once, {cost.once / 1e9:.3g} GFLOP" if cost.once else ""
    return (
        f"per picture: forward {cost.forward / 1e9:.3g} GFLOP, backward and update "
        f"{cost.backward / 1e9:.3g} GFLOP{once}; optimiser state {_bytes(cost.optimiser_bytes)}"
    )
