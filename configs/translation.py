"""Invented tongues, translated: few pairs of valley, with or without many of its sister lowland before.

    pip install 'tl_jax[translation]'
    python -m tl_jax.main --config=configs/translation.py:lowland --workdir=runs/lowland
    python -m tl_jax.main --config=configs/translation.py:transfer

The argument says what is learned: ``:lowland``, many pairs from scratch; ``:transfer``, few pairs of valley
with the weights that lowland left in runs/lowland; or ``:scratch`` (the default), the same pairs and steps
without them. Pairs of your own: ``--config.data.source=csv --config.data.manifest=…`` with
``--config.data.columns.text=…`` and ``--config.data.columns.target=…``, and a tokenizer beside the weights.
"""

import ml_collections

from tl_jax.data import tongues

ARCH = dict(
    model_type="gpt2",
    vocab_size=512,
    n_positions=104,
    n_embd=128,
    n_layer=4,
    n_head=4,
    eos_token_id=0,
    bos_token_id=0,
    embd_pdrop=0.0,
    attn_pdrop=0.0,
)
"""For tongues.tokens, whose token 0 ends a sentence."""

MANY = dict(duration="6 epochs", lr=2e-3)
FEW = dict(duration="30 epochs", lr=1e-3)
PLANS = {
    "lowland": ("lowland/20000", "", MANY),
    "transfer": ("valley/600", "runs/lowland", FEW),
    "scratch": ("valley/600", "", FEW),
}


def get_config(arg=""):
    name = arg or "scratch"
    if name not in PLANS:
        raise ValueError(f"configs/translation.py has no plan {name!r}; there are: {', '.join(PLANS)}")
    pairs, weights, stage = PLANS[name]
    c = ml_collections.ConfigDict()
    c.task = "translation"
    c.batch_size = 32
    c.data = dict(
        source=tongues.source, name=pairs, separator="<to>", tokenizer=str(tongues.TOKENIZER_FOLDER)
    )
    c.model = dict(pretrained=weights, arch={} if weights else ARCH)
    c.stages = [dict(name="all", train="all", warmup="5%", weight_decay=0.01, **stage)]
    c.evaluation = dict(batch_size=128, beams=4)
    if stage is FEW:
        # Of few pairs the last weights: the NLL of a token rises again while translations still get better.
        c.select = dict(every=FEW["duration"])
    return c
