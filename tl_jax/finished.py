"""A finished run, opened for use: its model, its preprocessing, its decision. Needs its workdir only."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from tl_jax import config as configs
from tl_jax import pretrained, sharding, tasks
from tl_jax.backbones.anatomy import Backbone, split
from tl_jax.data import Data, Split, augment, load_by, unlabelled
from tl_jax.data.pairs import PairReader
from tl_jax.data.reading import PictureReader, Reader
from tl_jax.data.texts import TextReader
from tl_jax.forward import Recipe
from tl_jax.inputs import Texts, pictures_of
from tl_jax.predictor import Predictor
from tl_jax.pretrained.tokenizer import TOKENIZER, Tokenizer
from tl_jax.tasks import Task
from tl_jax.workdir import Workdir, WorkdirError
from tl_jax.writing import Writer


@dataclass(frozen=True)
class Finished:
    """What `open_run` gives: the run's config, its result.json, its calibration and threshold, its network.

    ``reading`` is what result.json says of how examples were read."""

    workdir: Workdir
    config: ConfigDict
    result: dict[str, Any]
    classes: tuple[str, ...]
    decision: Any
    model: Backbone
    recipe: Recipe
    mesh: Mesh
    reading: dict[str, Any]

    def logits(self, pictures: Split, batch_size: int = 0) -> np.ndarray:
        """Logits (n, K) float32 of pictures, by the run's own batch size unless another is given."""
        return self._logits(pictures, batch_size or self.config.evaluation.batch_size)

    def writer(self, settings: Any) -> Writer:
        """Writes texts, where the task has the network do so. ``settings``: ``config.evaluation``."""
        reader = self.reader()
        assert isinstance(reader, PairReader)
        return Writer(self.model, reader, self.mesh, settings)

    @cached_property
    def _logits(self) -> Callable[[Split, int], np.ndarray]:
        _, params, stats = split(self.model)
        leaves = sharding.replicate(params, self.mesh), sharding.replicate(stats, self.mesh)
        return partial(Predictor(self.model, self.recipe, self.mesh).logits, *leaves)

    def data(self, say: Callable[[str], None] = lambda line: None) -> Data:
        """The run's own data, read again as training read them. They are the same if the fingerprint is that
        of the result. Raises SourceError."""
        return load_by(self.reader(training=True), self.config.data, say, self.task.labels)

    def own_data(self, say: Callable[[str], None] = lambda line: None) -> Data:
        """As `data`. Raises ValueError where they are not what they were."""
        found = self.data(say)
        if found.fingerprint != self.fingerprint:
            raise ValueError(
                f"{self.workdir.root}: the {self.noun}s, labels or splits are not those that it was trained "
                "on"
            )
        return found

    def reader(self, *, training: bool = False) -> Reader:
        """Reads examples as the network was shown them at evaluation; ``training``: the run's own splits, as
        training read them."""
        if self.tokenizer is not None:
            tokenizer, longest = Tokenizer(self.tokenizer), self.reading["longest"]
            if self.task.sequence:
                return PairReader(tokenizer, longest, self.reading["separator"], self.reading["end"])
            return TextReader(tokenizer, longest)
        size, resample = self.reading["size"], self.reading["resample"]
        if not training:
            channels, at_least = self.reading["channels"], self.reading["at_least"]
            return PictureReader(size, channels, resample, at_least=at_least)
        # As the run itself loaded them: gray stays gray unasked.
        moved = augment.moves_pixels(self.config.augment)
        return PictureReader(size, self.model.spec.channels, resample, augmented=moved)

    def unlabelled(
        self, source: str, say: Callable[[str], None] = lambda line: None
    ) -> tuple[Split, tuple[str, ...], tuple[str, ...]]:
        """The examples of a file or folder that nobody has labelled; what is wrong with the bad ones; notes.
        See `tl_jax.data.unlabelled`."""
        if self.tokenizer is not None:
            return unlabelled.load_texts(source, self.config.data, self.reader(), say=say)
        how = {name: self.reading[name] for name in ("channels", "resample", "at_least")}
        size = self.reading["size"]
        return unlabelled.load_unlabelled(source, self.config.data, image_size=size, **how, say=say)

    @property
    def task(self) -> Task:
        """What was learned."""
        return self.recipe.task

    @property
    def noun(self) -> str:
        """What an example is: "picture", "text" or "pair"."""
        return self.reader().noun

    @property
    def tokenizer(self) -> Path | None:
        """The file of a run that reads texts."""
        return None if self.model.spec.text is None else self.workdir.model / TOKENIZER

    @property
    def fingerprint(self) -> str:
        """Of the data that the run was trained on."""
        return self.result["data"]["fingerprint"]


def open_run(workdir: str | Path) -> Finished:
    """Opens the folder of a finished run. Raises WorkdirError where there is none."""
    folder = Workdir(workdir)
    if not folder.result.exists():
        raise WorkdirError(_without_result(folder))
    result = json.loads(folder.result.read_text(encoding="utf-8"))
    if "tasks" in result:
        names = ", ".join(result["tasks"])
        raise WorkdirError(f"--workdir={folder.root} holds the runs of several tasks; name one: {names}")
    if "folds" in result:
        names = ", ".join(path.name for path in sorted(folder.root.glob("fold-*")))
        raise WorkdirError(f"--workdir={folder.root} holds the runs of several folds; name one: {names}")
    config = configs.from_json(folder.config.read_text(encoding="utf-8"))
    model, _ = pretrained.load(folder.model)
    spec, how = model.spec, result["input"]
    recipe = Recipe(
        task=tasks.find(config.task),
        classes=len(result["classes"]),
        input=pictures_of(spec, how["size"]) if spec.text is None else Texts(how["longest"]),
        precision=config.precision,
    )
    return Finished(
        workdir=folder,
        config=config,
        result=result,
        classes=tuple(result["classes"]),
        decision=recipe.task.decision(result["decision"]),
        model=model,
        recipe=recipe,
        mesh=sharding.make_mesh(1, 1, 1),
        reading=how,
    )


def _without_result(folder: Workdir) -> str:
    if folder.config.exists():
        return (
            f"--workdir={folder.root} holds a run that has not finished; start it again with the same "
            "command, and it goes on where it stopped"
        )
    if not folder.root.is_dir():
        return f"--workdir={folder.root} is not there"
    runs = sorted(path.parent.name for path in folder.root.glob("*/result.json"))
    hint = f"; did you mean one of {', '.join(runs[:10])} in it?" if runs else ""
    return f"--workdir={folder.root} holds no run{hint}"
