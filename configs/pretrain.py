"""How the embedded network came about: a small ResNet learns figures on textures. See docs/pretraining.md.

python -m tl_jax.main --config=configs/pretrain.py --workdir=runs/pretrain
"""

import ml_collections

from tl_jax.data import figures


def get_config(arg=""):
    c = ml_collections.ConfigDict()
    c.seed = 0
    c.batch_size = 64
    # All pictures are made by a program; `name` is how many.
    c.data = dict(source=figures.source, name=arg or "60000", image_size=96, workers=1, cache="")
    c.model = dict(
        pretrained="",
        arch=dict(
            model_type="resnet",
            layer_type="basic",
            num_channels=1,
            embedding_size=16,
            hidden_sizes=[16, 32, 64, 128],
            depths=[2, 2, 2, 2],
        ),
    )
    c.preprocess = dict(mean=(0.5,), std=(0.25,))
    c.augment = dict(flip=True, flip_vertical=True, brightness=0.1, contrast=0.2)
    c.stages = [
        dict(name="figures", duration="6 epochs", train="all", lr=3e-3, warmup="3%", weight_decay=0.02)
    ]
    c.select = dict(metric="nll", every="1000 steps")
    c.checkpoint = dict(every="500 steps")
    c.log_every = "100 steps"
    c.evaluation = dict(batch_size=256, bootstrap=0)
    return c
