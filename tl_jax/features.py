"""``python -m tl_jax.features --workdir=RUN --input=FILE_OR_FOLDER --layer=blocks/11 --output=features.npz``

What a layer of a finished run's network says about pictures: the stem, any block, or the neck. The
file holds ``ids`` (n,) and ``features``: (n, c) means over the map, or (n, h, w, c) with
``--pool=none``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from absl import flags as absl_flags

from tl_jax import command, flags


def _define(values: absl_flags.FlagValues) -> None:
    absl_flags.DEFINE_string("input", "", "a picture, or a folder of them", flag_values=values)
    absl_flags.DEFINE_string("output", "features.npz", "the file to write", flag_values=values)
    absl_flags.DEFINE_string("layer", "neck", "stem, blocks/<i> or neck", flag_values=values)
    absl_flags.DEFINE_enum("pool", "mean", ["mean", "none"], "mean over the map, or not", flag_values=values)
    absl_flags.DEFINE_integer("batch_size", 64, "pictures at once", 1, flag_values=values)


def main(argv: list[str]) -> int:
    parsed = flags.parse(argv, define=_define, takes_config=False)
    options = parsed.flags
    if not options.input:
        raise ValueError("--input is missing: name a picture or a folder of pictures")

    import numpy as np

    from tl_jax.finished import device_batches, open_run, read_pictures

    run = open_run(parsed.workdir)
    function = layer_function(run.model, run.recipe, options.layer, pool=options.pool == "mean")
    pictures = read_pictures(run, options.input, max_pixels=run.config.data.max_pixels)
    for problem in pictures.failed:
        print(f"skipped: {problem}")
    if not len(pictures):
        raise ValueError(f"--input={options.input} holds no picture that can be read")
    batches = device_batches(pictures.images, min(options.batch_size, len(pictures)))
    found = np.concatenate([np.asarray(function(images))[:real] for images, real in batches])
    output = Path(options.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    with open(output, "wb") as file:
        np.savez(file, ids=np.asarray(pictures.names), features=found)
    print(f"{options.layer}: {found.shape} → {output}")
    return 0


def layer_function(model: Any, recipe: Any, layer: str, *, pool: bool) -> Any:
    """A jitted function from stored pictures (B, size, size, c) to a layer's output.

    Raises ValueError, naming the layers there are.
    """
    import jax
    import jax.numpy as jnp

    from tl_jax.backbones.anatomy import merge, run, set_mode, split
    from tl_jax.step import inputs

    part, _, number = layer.partition("/")
    n = len(model.blocks)
    if layer not in ("stem", "neck") and not (part == "blocks" and number.isdigit() and int(number) < n):
        raise ValueError(f"--layer={layer!r} is none of stem, blocks/0 … blocks/{n - 1}, neck")
    set_mode(model, dropout=False, batch_statistics=False)
    graph, params, stats = split(model)

    @jax.jit
    def apply(images: jax.Array) -> jax.Array:
        network = merge(graph, params, stats)
        stop = {"stem": 0, "neck": n}.get(layer) if layer in ("stem", "neck") else int(number) + 1
        carry, _ = run(network, network.stem(inputs(images, recipe)), stop=stop)
        if layer == "neck":
            return network.neck(carry)
        features = network.feature_map(carry)
        return jnp.mean(features, axis=(1, 2)) if pool else features

    return apply


if __name__ == "__main__":
    command.run(main)
