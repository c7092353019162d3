"""Invented tongues, translated: few pairs of valley, with or without many of its sister lowland before.

    pip install 'tl_jax[translation]'
    python -m tl_jax.main --config=configs/translation.py:lowland --workdir=runs/lowland
    python -m tl_jax.main --config=configs/translation.py:valley --config.model.pretrained=runs/lowland

The argument names the pairs: ``:lowland``, many of them, or ``:valley`` (the default), few, from scratch
unless weights are named. Pairs of your own: ``--config.data.source=csv --config.data.manifest=…`` with
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

PAIRS = {
    "lowland": ("lowland/20000", dict(duration="6 epochs", lr=2e-3, warmup="5%", weight_decay=0.01)),
    "valley": ("valley/600", dict(duration="20 epochs", lr=1e-3, warmup="5%", weight_decay=0.01)),
}


def get_config(arg=""):
    name = arg or "valley"
    if name not in PAIRS:
        raise ValueError(f"configs/translation.py has no pairs {name!r}; there are: {', '.join(PAIRS)}")
    pairs, stage = PAIRS[name]
    c = ml_collections.ConfigDict()
    c.task = "translation"
    c.batch_size = 32
    c.data = dict(
        source=tongues.source, name=pairs, tokenizer=str(tongues.TOKENIZER_FOLDER), separator="<to>"
    )
    c.model = dict(arch=ARCH)
    c.stages = [dict(name="all", train="all", **stage)]
    c.evaluation = dict(batch_size=128, beams=4)
    return c
