"""The range test of a config's last stage, with the run's own compiled step and batches, and its summary."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from tl_jax import prefix, runs
from tl_jax.compilation import use_cache
from tl_jax.interrupt import listening
from tl_jax.job import prepare
from tl_jax.journal import Journal
from tl_jax.lab import pictures
from tl_jax.lab.range_test import FELL, SMOOTHING, Curve, Floats, suggestions, sweep
from tl_jax.lab.summary import Summary
from tl_jax.report.table import Column, Table
from tl_jax.train import Trainer
from tl_jax.workdir import Workdir

ALIKE = 3.0
"""Rates within this factor of each other are about the same."""


def run(config: ConfigDict, workdir: Path, tried: Floats, *, quiet: bool = False) -> Curve:
    """The range test of the last stage of a completed config, with the rates ``tried``.

    Stages before it are trained as the config says and kept in ``workdir``, from where an interrupted one
    goes on, and from where the next test begins at once. The test itself changes nothing there. Layers keep
    their rates' proportions; weight decay, clipping, dropout and batches are those that the stage would have.

    Raises `tl_jax.workdir.WorkdirError` where ``workdir`` holds another config, FloatingPointError where the
    loss is not finite from the start.
    """
    with ExitStack() as opened:
        stop, folder = opened.enter_context(listening()), Workdir(workdir)
        runs.claim(folder, config, opened)
        journal = opened.enter_context(closing(Journal(folder, quiet=quiet)))
        use_cache(config.compilation_cache)
        job = prepare(config, journal.say)
        cuts = prefix.cuts(job)
        runs.describe(job, cuts, folder, journal)
        trainer, number = Trainer(job, cuts, folder, journal, stop), len(job.plans) - 1
        stepper = trainer.begin(number, trainer.reach(number))
        opened.callback(trainer.supply.close)
        state, first = trainer.state, trainer.progress.step
        scales = np.array([group.lr_scale for group in job.plans[number].groups])

        def step(i: int, rate: float) -> float:
            nonlocal state
            at, batch = first + i, trainer.supply.batch(first + i)
            if not stepper.knows(batch):
                stepper.compile(state, trainer.fixed, batch, at)
            hyper = replace(stepper.hyper(at), lr=(rate * scales).astype(np.float32))
            state, metrics = stepper(state, trainer.fixed, batch, at, hyper)
            return float(metrics["loss"])

        journal.say(f"range test: {len(tried)} steps, rates from {tried[0]:g} to {tried[-1]:g}")
        return sweep(step, tried)


def told(curve: Curve, config: ConfigDict) -> Summary:
    """The test for people."""
    found, stage = suggestions(curve), config.stages[-1]
    near = {rule: curve.smoothed[np.argmin(abs(curve.rates - rate))] for rule, rate in found.items()}
    rows = [[rule, rate, float(near[rule])] for rule, rate in found.items()]
    columns = [Column("rule"), Column("lr", "learning rate", ".2g"), Column("loss", "loss there")]
    notes = [
        f"{len(curve.rates)} steps, rates from {curve.rates[0]:.2g} to {curve.rates[-1]:.2g}; losses of "
        f"single batches, averaged with {SMOOTHING:g} for what was before"
    ]
    facts = {
        "suggestions": found,
        "own": stage.lr,
        "diverged": curve.diverged,
        "curve": {name: getattr(curve, name).tolist() for name in ("rates", "losses", "smoothed")},
    }
    return Summary(
        name="find",
        title="Between which learning rates does this stage learn?",
        verdict=verdict(curve, found, stage.lr),
        tables=[Table(columns, rows, notes=notes)],
        facts=facts,
        draw=partial(draw, curve, found, stage.lr),
    )


def verdict(curve: Curve, found: Mapping[str, float], own: float) -> str:
    """Which rate to take, and how it relates to the config's ``own``."""
    last = f"{curve.rates[-1]:.2g}"
    if not found and curve.diverged is None:
        return (
            f"No rate up to {last} made the loss fall by {FELL:.0%}, and none made it diverge: try higher "
            "ones (--find_to) or more steps (--find_steps)."
        )
    if not found:
        return (
            f"The loss diverges at {curve.diverged:.2g} and does not fall by {FELL:.0%} before: try more "
            "steps (--find_steps), which give lower rates time to learn."
        )
    rate = found["valley"]
    others = ", ".join(f"{rule} says {value:.2g}" for rule, value in found.items() if rule != "valley")
    parts = [f"Take lr={rate:.2g}, the middle of the longest fall of the loss ({others})."]
    apart = max(own, rate) / min(own, rate)
    if apart <= ALIKE:
        parts.append(f"The config's own, {own:g}, is about that.")
    else:
        parts.append(
            f"The config's own, {own:g}, is {apart:.0f} times {'lower' if own < rate else 'higher'}."
        )
    if curve.diverged is None:
        parts.append(f"Up to {last} nothing diverged: the upper end is not known (--find_to).")
    elif own >= curve.diverged:
        parts.append(f"The loss diverges at {curve.diverged:.2g}: the config's own is too high.")
    else:
        parts.append(f"The loss diverges at {curve.diverged:.2g}.")
    parts.append(
        "It is of one stage's first steps: a grid (--lrs) around it says what validation makes of it."
    )
    return " ".join(parts)


def draw(curve: Curve, found: Mapping[str, float], own: float, path: Path) -> None:
    """Loss against rate: single batches pale, their average dark; what is suggested, and the config's own."""
    with pictures.figure(path) as axes:
        axes.plot(curve.rates, curve.losses, ".", color=pictures.PALE, markersize=4, label="a batch")
        axes.plot(curve.rates, curve.smoothed, color=pictures.DARK, label="average")
        for rule, rate in found.items():
            height = np.interp(np.log(rate), np.log(curve.rates), curve.smoothed)
            style = "none" if rule != "valley" else "full"
            axes.plot(rate, height, "o", color=pictures.MARK, fillstyle=style, markersize=8)
            axes.annotate(rule, (rate, height), xytext=(6, 6), textcoords="offset points", fontsize=8)
        axes.axvline(own, color=pictures.DARK, linewidth=0.8, linestyle=":", label="the config's own")
        axes.set_xscale("log")
        low, high = curve.losses.min(), curve.smoothed[0]
        room = max(high - low, 0.1 * high)
        axes.set_ylim(low - 0.1 * room, high + room)  # what diverges would flatten all else
        axes.set_xlabel("learning rate")
        axes.set_ylabel("training loss")
        axes.legend(frameon=False)
