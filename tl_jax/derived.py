"""A run that was made of finished runs, and not trained: another network in a folder of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tl_jax import outputs

if TYPE_CHECKING:
    from tl_jax.finished import Finished


def folder(name: str) -> Path:
    """The folder to write, asked before anything is computed. Raises ValueError where something is in its
    place, or in it."""
    path = outputs.folder(name)
    if path.is_dir() and any(path.iterdir()):
        raise ValueError(f"{path} is not empty; choose another folder by --output")
    return path


def write(run: Finished, output: Path, **told: Any) -> None:
    """``output`` becomes the folder of a run with the network of ``run``, for the commands that take one.

    ``told``: what result.json says beside, or in the place of, how examples are read and what the run was
    trained on. What was measured of the old network is left out.
    """
    from tl_jax import config as configs
    from tl_jax import pretrained
    from tl_jax.backbones.anatomy import split
    from tl_jax.workdir import Workdir, write_json, write_text

    workdir = Workdir(output)
    _, params, stats = split(run.model)
    pretrained.export_leaves(
        run.model.spec,
        {**params, **stats},
        workdir.model,
        classes=run.classes,
        problem=run.task.kind,
        tokenizer=run.tokenizer,
    )
    write_text(workdir.config, configs.to_json(run.config))
    kept = {name: run.result[name] for name in ("classes", "decision", "input", "data")}
    # Last, since a folder with it is a finished run.
    write_json(workdir.result, {**kept, **told})
