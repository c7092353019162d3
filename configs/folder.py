"""Any image folder, any ResNet or ViT, by one of the classical recipes.

    python -m tl_jax.main --config=configs/folder.py:lp_ft \
        --config.data.root=/data/photos --config.model.pretrained=google/vit-base-patch16-224

The argument names the recipe; without one it is ``head_then_all``. A recipe is a list of stages and
nothing else: copy one into a config of your own and change it.
"""

import ml_collections

HEAD = dict(name="head", train="head", lr=1e-3, duration="5 epochs")
ALL = dict(name="all", train="all", lr=1e-4, duration="5 epochs", warmup="5%", layer_decay=0.9)

RECIPES = {
    # How good are the features as they are?
    "linear_probe": [dict(HEAD, duration="10 epochs")],
    # Everything from the first step, lower layers more slowly.
    "full": [ALL],
    # A random head would send large gradients into good features: it learns first.
    "head_then_all": [dict(HEAD, duration="2 epochs"), ALL],
    # LP-FT (Kumar et al. 2022): the head to convergence, then everything at a small rate.
    "lp_ft": [dict(HEAD, duration="10 epochs"), dict(ALL, lr=3e-5)],
    # The head, then the last blocks at a small rate: the cheap fine-tuning.
    "head_then_top": [
        dict(HEAD, duration="3 epochs"),
        dict(ALL, name="top", train="last 4", lr=3e-5, duration="7 epochs"),
    ],
    # ULMFiT's gradual unfreezing (Howard & Ruder 2018): the cut moves down, level by level.
    "gradual": [
        dict(HEAD, duration="2 epochs"),
        dict(ALL, name="level 4", train="level 4", duration="2 epochs"),
        dict(ALL, name="level 3", train="level 3", duration="2 epochs"),
        dict(ALL, name="level 2", train="level 2", duration="2 epochs"),
        dict(ALL, duration="4 epochs"),
    ],
    # No transfer at all, for comparison: random weights, more steps, a higher rate.
    "scratch": [
        dict(name="scratch", train="all", lr=5e-4, duration="15 epochs", warmup="10%", weight_decay=0.05)
    ],
}


def get_config(arg=""):
    recipe = arg or "head_then_all"
    if recipe not in RECIPES:
        raise ValueError(f"configs/folder.py has no recipe {recipe!r}; there are: {', '.join(RECIPES)}")
    c = ml_collections.ConfigDict()
    c.batch_size = 32
    c.data = dict(source="folder", fit="squash")
    c.model = dict(pretrained="google/vit-base-patch16-224")
    c.stages = [dict(stage) for stage in RECIPES[recipe]]
    if recipe == "scratch":
        arch = dict(model_type="resnet", layer_type="basic", hidden_sizes=[64, 128, 256, 512])
        c.model = dict(pretrained="", arch=dict(arch, depths=[2, 2, 2, 2]))
    return c
