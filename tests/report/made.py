"""The evidence of a run that nobody trained: scores from a random generator, measured as a run's are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests import tiny
from tl_jax import evaluation
from tl_jax.config import complete
from tl_jax.report.evidence import Evidence, Pictures, Scores, Shown
from tl_jax.report.table import Column, Table

CONFIG = complete(tiny.config(Path("nowhere")))
SIDE = 16


def scores(labels: np.ndarray, k: int, *, sharp: float = 2.0, seed: int = 0) -> Scores:
    """Two pictures a group; the right class scores ``sharp`` higher on average."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(len(labels), k)) + sharp * np.eye(k)[labels]
    ids = np.array([f"{seed}/p{i // 2}-{i % 2}.png" for i in range(len(labels))])
    return Scores(ids, np.array([f"p{i // 2}" for i in range(len(labels))]), labels, logits)


def evidence(
    classes: Sequence[str] = ("healthy", "sick"),
    *,
    test: Sequence[int] | None = None,
    val: Sequence[int] | None = None,
    bootstrap: int = 20,
    pictures: bool = True,
    **changes: Any,
) -> Evidence:
    """``test`` and ``val``: their labels; by default all classes take turns."""
    k = len(classes)
    labels = {
        name: np.array(np.arange(60) % k if given is None else given, np.int64)
        for name, given in (("val", val), ("test", test))
    }
    found = {name: scores(one, k, seed=number) for number, (name, one) in enumerate(labels.items())}
    with (settings := CONFIG.evaluation.copy_and_resolve_references()).unlocked():
        settings.bootstrap = bootstrap
    decision = evaluation.fit_decision(
        found["val"].logits, found["val"].labels, classes=classes, settings=settings
    )
    measures = {
        name: evaluation.measure(
            one.logits, one.labels, one.groups, classes=classes, decision=decision, settings=settings
        )
        for name, one in found.items()
    }
    counts = {
        name: {
            "groups": 30,
            "classes": dict(zip(classes, np.bincount(one, minlength=k).tolist(), strict=True)),
        }
        for name, one in {"train": labels["val"], **labels}.items()
    }
    result = {
        **measures,
        "decision": decision.to_dict(),
        "classes": list(classes),
        "best": {"step": 20, "stage": 1, "value": 0.5},
        "steps": 40,
        "stages": [{"name": "head", "end": 10, "trained": 5}, {"name": "all", "end": 40, "trained": 50}],
        "seconds": {"total": 3.0, "train": 2.0},
        "flops": 1e9,
        "weights": {"source": "from scratch", "identity": "abc"},
        "data": {"fingerprint": "def", "notes": ["a note"], "caveat": "", "counts": counts},
        "command": "python -m tl_jax.main",
        "config": "0123",
        "versions": {"jax": "1"},
    }
    history: list[dict[str, Any]] = [
        {
            "step": step,
            "stage": "head" if step <= 10 else "all",
            "loss": 1 / step,
            "lr/head": 1e-3,
            "lr/blocks 0": 1e-4,
        }
        for step in range(1, 41)
    ]
    history += [
        {"step": step, "val/nll": value, "val/accuracy": 0.8, "val/auroc": None, "val/balanced_accuracy": 0.7}
        for step, value in ((10, 0.7), (20, 0.5), (40, 0.6))
    ]
    random = np.random.default_rng(3)
    image = random.integers(0, 256, (len(labels["test"]), SIDE, SIDE, 1), dtype=np.uint8)
    made = Pictures(
        training=[Shown("t.png", classes[0], image[0])],
        test=lambda rows: image[rows],
        heat=lambda images, which: np.broadcast_to(np.linspace(0, 1, SIDE), images.shape[:3]),
    )
    values: dict[str, Any] = dict(
        name="run",
        result=result,
        history=history,
        plan=[Table([Column("group"), Column("lr")], [["head", 1e-3]], "stage 1")],
        metric="nll",
        changed=["seed: 0 → 1"],
        seed=1,
        test=found["test"],
        val=found["val"],
        pictures=made if pictures else None,
        absent="" if pictures else "they are gone",
    )
    return Evidence(**{**values, **changes})
