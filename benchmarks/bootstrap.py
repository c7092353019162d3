"""How long do honest intervals take? All measures in every replicate, against a loop over scikit-learn.

    python -m benchmarks.bootstrap

Both draw the same number of patients with replacement and measure every replicate. The loop computes
seven measures (AUROC, average precision, accuracy, sensitivity, PPV, F1, Brier score); tl_jax more than
thirty. The loop takes a fiftieth of the replicates and is multiplied by fifty.
"""

from __future__ import annotations

import warnings

import numpy as np

from benchmarks import pairs
from tl_jax import config as configs
from tl_jax.evaluation import fit_decision, measure

EXAMPLES, PATIENTS, REPLICATES, SHARE = 10_000, 4_000, 1_000, 50


def main(argv: list[str]) -> int:
    if argv:
        raise SystemExit(f"takes no arguments, found {' '.join(argv)}")
    from sklearn import metrics

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, EXAMPLES)
    groups = rng.integers(0, PATIENTS, EXAMPLES)
    logits = np.stack([np.zeros(EXAMPLES), rng.normal(labels * 2.0 - 1.0, 1.5)], 1)
    classes = ("no", "yes")
    settings = configs.complete(
        dict(model=dict(pretrained="x"), data=dict(root="x"), stages=[dict(train="head")])
    ).evaluation
    decision = fit_decision(logits, labels, classes=classes, settings=settings)
    rows_of = [np.flatnonzero(groups == group) for group in range(PATIENTS)]
    probability = 1 / (1 + np.exp(-logits[:, 1]))

    def ours() -> object:
        return measure(logits, labels, groups, classes=classes, decision=decision, settings=settings)

    def loop() -> object:
        draw = np.random.default_rng(0)
        found = []
        for _ in range(REPLICATES // SHARE):
            rows = np.concatenate([rows_of[g] for g in draw.integers(0, PATIENTS, PATIENTS)])
            y, p = labels[rows], probability[rows]
            called = (p > 0.5).astype(int)
            found.append(
                [
                    metrics.roc_auc_score(y, p),
                    metrics.average_precision_score(y, p),
                    metrics.accuracy_score(y, called),
                    metrics.recall_score(y, called),
                    metrics.precision_score(y, called),
                    metrics.f1_score(y, called),
                    metrics.brier_score_loss(y, p),
                ]
            )
        return found

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = pairs.seconds({"tl_jax": ours, "loop": loop}, rounds=3)
    whole = found["loop"] * SHARE
    print(f"{EXAMPLES:,} examples of {PATIENTS:,} patients, {REPLICATES:,} replicates, median of 3")
    print(f"  tl_jax, all measures        {found['tl_jax']:8.2f} s")
    print(f"  loop, seven measures        {whole:8.2f} s")
    print(f"  ratio                       {whole / found['tl_jax']:8.1f} ×")
    return 0


if __name__ == "__main__":
    pairs.run(main)
