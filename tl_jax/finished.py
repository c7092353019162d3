"""A finished run, opened for use: its model, its preprocessing, its decision. Needs its workdir only."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from tl_jax import config as configs
from tl_jax import pretrained, sharding, tasks
from tl_jax.backbones.anatomy import Backbone, Leaves, split
from tl_jax.data import decode
from tl_jax.data.table import BadImageError
from tl_jax.evaluation import Decision
from tl_jax.predictor import Predictor
from tl_jax.step import Recipe
from tl_jax.workdir import Workdir, WorkdirError


@dataclass(frozen=True)
class Finished:
    """``input`` holds how pictures become what the network sees: size, channels, fit, resample."""

    config: ConfigDict
    result: dict[str, Any]
    classes: tuple[str, ...]
    decision: Decision
    model: Backbone
    recipe: Recipe
    mesh: Mesh
    input: dict[str, Any]

    def leaves(self) -> tuple[Leaves, Leaves]:
        """Parameters and statistics, on the devices."""
        _, params, stats = split(self.model)
        return sharding.replicate(params, self.mesh), sharding.replicate(stats, self.mesh)

    def predictor(self) -> Predictor:
        return Predictor(self.model, self.recipe, self.mesh)

    def prepare(self, picture: np.ndarray) -> np.ndarray:
        """A decoded picture (h, w, c) uint8 as the network was shown them: (size, size, channels)."""
        how = self.input
        picture = decode.resize(picture, how["size"], fit=how["fit"], resample=how["resample"])
        return decode.to_channels(picture, how["channels"])


def open_run(workdir: str | Path) -> Finished:
    """Opens the folder of a finished run. Raises WorkdirError where there is none."""
    folder = Workdir(workdir)
    if not folder.result.exists():
        state = (
            "a run that has not finished: run the same command again to go on"
            if (folder.config.exists())
            else "no run"
        )
        raise WorkdirError(f"--workdir={folder.root} holds {state}")
    result = json.loads(folder.result.read_text())
    config = configs.from_json(folder.config.read_text())
    model, _ = pretrained.load(folder.model)
    spec, how = model.spec, result["input"]
    recipe = Recipe(
        task=tasks.find(config.task),
        classes=len(result["classes"]),
        size=how["size"],
        channels=spec.channels,
        mean=spec.preprocess.mean,
        std=spec.preprocess.std,
        precision=config.precision,
    )
    return Finished(
        config=config,
        result=result,
        classes=tuple(result["classes"]),
        decision=Decision.from_dict(result["decision"]),
        model=model,
        recipe=recipe,
        mesh=sharding.make_mesh(1, 1),
        input=how,
    )


@dataclass(frozen=True)
class Pictures:
    """Pictures on disk, decoded: names (n,), images (n, size, size, channels) uint8, and what failed."""

    names: tuple[str, ...]
    images: np.ndarray
    failed: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)


def read_pictures(
    run: Finished, source: str | Path, *, max_pixels: int, progress: Callable[[int], None] = lambda _: None
) -> Pictures:
    """Every picture below a folder, or one file. Unreadable ones are in ``failed``, each with why."""
    root = Path(source)
    if not root.exists():
        raise FileNotFoundError(f"--input={root} does not exist")
    files = [root] if root.is_file() else list(_files(root))
    if not files:
        raise FileNotFoundError(f"--input={root} holds no pictures ({', '.join(decode.SUFFIXES)})")
    names, images, failed = [], [], []
    for number, file in enumerate(files):
        name = file.name if root.is_file() else file.relative_to(root).as_posix()
        try:
            images.append(run.prepare(decode.read_file(file, max_pixels=max_pixels, name=name)))
            names.append(name)
        except BadImageError as error:
            failed.append(str(error))
        progress(number + 1)
    size, channels = run.input["size"], run.input["channels"]
    stacked = np.stack(images) if images else np.zeros((0, size, size, channels), np.uint8)
    return Pictures(tuple(names), stacked, tuple(failed))


def _files(root: Path) -> Iterator[Path]:
    """Files with a picture's suffix, in order, hidden ones left out."""
    for path in sorted(root.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if path.is_file() and path.suffix.lower() in decode.SUFFIXES and not hidden:
            yield path


def device_batches(images: Sequence[Any] | np.ndarray, size: int) -> Iterator[tuple[jax.Array, int]]:
    """Images in batches of one size, the last padded with zeros; with each, how many are real."""
    for start in range(0, len(images), size):
        piece = np.asarray(images[start : start + size])
        padded = np.concatenate([piece, np.zeros((size - len(piece), *piece.shape[1:]), piece.dtype)])
        yield jax.numpy.asarray(padded), len(piece)
