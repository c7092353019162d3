"""``python -m tl_jax.features --workdir=RUN [--input=FILE_OR_FOLDER] [--layer=blocks/3] [--output=FILE]``

What a layer of a finished run's network makes of pictures: the stem, any block, the neck (what the head
is given) or the head (logits). Without ``--input`` the pictures are the run's own.

The file holds ``ids`` (n,) and ``features`` float32: (n, c) means over the map, or (n, h, w, c) with
``--pool=none``; of the run's own pictures also ``splits`` (n,), ``labels`` (n,) and ``groups`` (n,), all
text. `numpy.load` reads it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags as absl_flags

from tl_jax import command, flags, outputs

if TYPE_CHECKING:
    from tl_jax.data import Split
    from tl_jax.finished import Finished


def _define(values: absl_flags.FlagValues) -> None:
    absl_flags.DEFINE_string(
        "input", "", "a picture, or a folder of them; empty: the run's own pictures", flag_values=values
    )
    absl_flags.DEFINE_string("output", "features.npz", "the file to write", flag_values=values)
    absl_flags.DEFINE_string("layer", "neck", "stem, blocks/<i>, neck or head", flag_values=values)
    absl_flags.DEFINE_enum("pool", "mean", ["mean", "none"], "mean over the map, or not", flag_values=values)
    absl_flags.DEFINE_integer("batch_size", 64, "pictures at once", 1, flag_values=values)
    absl_flags.DEFINE_enum(
        "on_bad_image", "error", ["error", "skip"], "what to do with unreadable pictures", flag_values=values
    )


def main(argv: list[str]) -> int:
    options = (parsed := flags.parse(argv, define=_define, takes_config=False)).flags

    from tl_jax import predict
    from tl_jax.compilation import use_cache
    from tl_jax.finished import open_run
    from tl_jax.predictor import over

    output, run = outputs.file(options.output), open_run(parsed.workdir)
    use_cache(run.config.compilation_cache)
    function = layer_function(run.model, run.recipe, options.layer, pool=options.pool == "mean")
    if options.input:
        parts = {"": predict.read(run, options.input, on_bad_image=options.on_bad_image)}
    else:
        parts = own_pictures(run)
    size = min(options.batch_size, max(map(len, parts.values())))
    found = [over(function, pictures, size, run.mesh) for pictures in parts.values()]
    arrays = {
        "ids": np.concatenate([pictures.ids for pictures in parts.values()]),
        "features": np.concatenate(found),
    }
    if not options.input:
        labels = np.concatenate([pictures.labels for pictures in parts.values()])
        arrays |= {
            "labels": np.array(run.classes)[labels] if labels.ndim == 1 else labels,
            "splits": np.repeat(list(parts), [len(pictures) for pictures in parts.values()]),
            "groups": np.concatenate([pictures.groups for pictures in parts.values()]),
        }
    save(output, arrays)
    print(
        f"{options.output}: {options.layer} of {len(arrays['ids'])} {run.noun}s, {arrays['features'].shape}"
    )
    return 0


def own_pictures(run: Finished) -> dict[str, Split]:
    """The pictures of each split as the network saw them at evaluation, the training ones too.

    Says on stderr if they are not the pictures that the run was trained on.
    """
    from dataclasses import replace

    from tl_jax import data

    own = run.data()
    if own.fingerprint != run.fingerprint:
        print(
            f"the {run.noun}s, labels or splits are not the same as when the run was trained", file=sys.stderr
        )
    parts = {"train": own.train, "val": own.val, "test": own.test}
    if run.tokenizer is None and own.train.images.shape[1] != run.reading["size"]:
        # They are on a canvas, larger than what the network sees.
        how = {name: run.reading[name] for name in ("resample", "at_least")}
        how |= dict(image_size=run.reading["size"], channels=run.model.spec.channels)
        everything, _ = data.load_labelled(
            run.config.data, classes=own.classes, labels=run.task.labels, **how
        )
        row = {name: i for i, name in enumerate(everything.ids.tolist())}
        rows = np.array([row[name] for name in own.train.ids.tolist()])
        parts["train"] = replace(own.train, images=everything.images[rows])
    return parts


def layer_function(model: Any, recipe: Any, layer: str, *, pool: bool) -> Callable[[Any], Any]:
    """A function from stored pictures (B, size, size, c) uint8 to a layer's output, float32, compiled once
    for each shape.

    Raises ValueError, naming the layers there are.
    """
    import jax

    from tl_jax.backbones.anatomy import inference_graph, merge, run, split
    from tl_jax.predictor import each_shape

    part, _, number = layer.partition("/")
    n = len(model.blocks)
    is_block = part == "blocks" and number.isdecimal() and int(number) < n
    if not is_block and layer not in ("stem", "neck", "head"):
        raise ValueError(f"--layer={layer!r} is none of stem, blocks/0 … blocks/{n - 1}, neck, head")
    stop = int(number) + 1 if is_block else 0 if layer == "stem" else n
    if layer in ("neck", "head") and model.spec.sequence:
        raise ValueError(
            f"--layer={layer}: a language model keeps tokens apart there; a block gives their mean, such as "
            f"blocks/{n - 1}"
        )
    graph = inference_graph(model)
    _, params, stats = split(model)

    def apply(params: Any, stats: Any, images: jax.Array) -> jax.Array:
        network = merge(graph, params, stats)
        carry, _ = run(network, network.stem(recipe.input.network(images)), stop=stop)
        if layer in ("neck", "head"):
            features = network.neck(carry)
            return features if layer == "neck" else recipe.task.logits(network.head(features))
        return network.mean(carry) if pool else network.feature_map(carry)

    return each_shape(apply, params, stats)


def save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes a ``.npz`` file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(aside, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


if __name__ == "__main__":
    command.run(main)
