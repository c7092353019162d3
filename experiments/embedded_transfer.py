"""Does the embedded network help? Pretrained against random weights on few simulated radiographs.

    python -m experiments.embedded_transfer --seeds=5 --steps=100 --workdir=runs/embedded_transfer

Both arms are the same network, trained whole for the same steps on the same labelled pictures; each may
choose its learning rate by validation AUROC, over the same list. The labelled pictures are those of some
patients, drawn anew for every seed, about 200 in all. Finished runs are not repeated.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from absl import flags as absl_flags

LABELLED = 200
LEARNING_RATES = (3e-4, 1e-3, 3e-3)


def variation(arm: str, lr: float, seed: int, fraction: float, steps: int) -> Any:
    """The config of one run: ``arm`` is "pretrained" or "scratch"."""
    from configs import xray
    from tl_jax import pretrained

    c = xray.get_config()
    c.seed = seed
    # The labelled pictures vary with the seed, the patients of val and test never do.
    c.data.train_fraction, c.data.split_seed = fraction, seed
    facts = pretrained.inspect("embedded")
    if arm == "scratch":
        arch = {k: v for k, v in facts.config.items() if k not in ("id2label", "label2id")}
        c.model = dict(pretrained="", arch=arch)
        c.preprocess = dict(mean=facts.preprocess.mean, std=facts.preprocess.std)
    whole = f"{steps} steps"
    c.stages = [dict(name="all", train="all", duration=whole, lr=lr, warmup="5%", weight_decay=0.02)]
    c.select = dict(metric="auroc", every=f"{max(1, steps // 6)} steps")
    c.checkpoint = dict(every=whole)
    c.evaluation = dict(bootstrap=0)
    return c


def main(argv: list[str]) -> int:
    values = absl_flags.FlagValues()
    absl_flags.DEFINE_integer("seeds", 5, "runs of each arm", 2, flag_values=values)
    absl_flags.DEFINE_integer("steps", 100, "steps of each run", 6, flag_values=values)
    absl_flags.DEFINE_string("workdir", "runs/embedded_transfer", "where runs go", flag_values=values)
    values(argv)

    import numpy as np
    from scipy import stats

    from configs import xray
    from tl_jax import config as configs
    from tl_jax.data import sources
    from tl_jax.runs import run

    root = Path(values.workdir)
    table = sources.read(configs.complete(xray.get_config()).data)
    fraction = LABELLED / int((table.splits == "train").sum())
    aurocs: dict[str, list[float]] = {"pretrained": [], "scratch": []}
    for seed in range(values.seeds):
        for arm, found in aurocs.items():
            results = [
                run(variation(arm, lr, seed, fraction, values.steps), root / f"{arm}-{lr:g}-{seed}")
                for lr in LEARNING_RATES
            ]
            best = max(results, key=lambda result: result["val"]["auroc"]["value"])
            found.append(best["test"]["auroc"]["value"])
    gain = np.subtract(aurocs["pretrained"], aurocs["scratch"])
    half = stats.t.ppf(0.975, len(gain) - 1) * gain.std(ddof=1) / np.sqrt(len(gain))
    mean, low, high = (float(value) for value in (gain.mean(), gain.mean() - half, gain.mean() + half))
    summary = {
        **{arm: {"mean": float(np.mean(found)), "runs": found} for arm, found in aurocs.items()},
        "gain": {"mean": mean, "low": low, "high": high},
    }
    (root / "summary.json").write_text(json.dumps(summary, indent=1))
    print(f"test AUROC, {LABELLED} labelled pictures, {values.steps} steps, {values.seeds} seeds")
    for arm, found in aurocs.items():
        print(f"  {arm:<11} {np.mean(found):.3f}   {'  '.join(f'{value:.3f}' for value in found)}")
    print(f"  gain        {mean:.3f}   95 % paired interval {low:.3f} to {high:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
