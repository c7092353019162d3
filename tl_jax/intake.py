"""How a job's network takes its examples in: decided before any is read, and kept in result.json for later.

Pictures and texts are a class each with the same members, so that `tl_jax.job` need not know which it is:
``reader`` of the data; ``seen(data)``, options of the network's ``build``; ``input(spec)``, of its steps;
``facts(data)``, what a later command needs to read examples alike; and ``tokenizer``, None of pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from tl_jax import backbones, pretrained
from tl_jax.backbones.anatomy import Preprocess, Spec, TextInput
from tl_jax.data import Data, augment
from tl_jax.data.misfit import misfit
from tl_jax.data.pairs import PairReader
from tl_jax.data.reading import PictureReader
from tl_jax.data.texts import TextReader
from tl_jax.inputs import Pictures, Texts, pictures_of
from tl_jax.pretrained import hub
from tl_jax.pretrained.tokenizer import TOKENIZER, Tokenizer
from tl_jax.tasks import Task


class OfPictures:
    """``say`` gets a line where the weights' own pictures were not square."""

    tokenizer = None

    def __init__(self, config: ConfigDict, facts: pretrained.Facts, say: Callable[[str], None]) -> None:
        self.config, self.channels = config, facts.channels
        self.preprocess = overridden(facts.preprocess, config.preprocess, config.data.fit)
        own = self.preprocess.size
        self.size = config.data.image_size or own[0]
        if not config.data.image_size and own[0] != own[1]:
            say(f"note: the weights were made at {own} (height, width); {self.size} × {self.size} is used")
        moved = augment.moves_pixels(config.augment)
        self.reader = PictureReader(self.size, self.channels, self.preprocess.resample, augmented=moved)

    def seen(self, data: Data) -> dict[str, Any]:
        folded = data.channels == 1 and self.config.model.gray == "sum"
        return {"image_size": self.size, "channels": 1 if folded else self.channels}

    def input(self, spec: Spec) -> Pictures:
        return pictures_of(spec, self.size, self.config.augment.to_dict())

    def facts(self, data: Data) -> dict[str, Any]:
        return {
            "size": self.size,
            "channels": data.channels,
            "at_least": data.at_least,
            "fit": self.config.data.fit,
            "resample": self.preprocess.resample,
        }


class OfTexts:
    """``text``: what the network reads. Raises ValueError with all that the config asks for in vain, and
    PretrainedError where there is no tokenizer that fits."""

    noun = TextReader.noun

    def __init__(self, config: ConfigDict, facts: pretrained.Facts, text: TextInput) -> None:
        problems = _problems(config, facts, text, self.noun)
        if problems:
            raise ValueError("\n".join(problems))
        self.preprocess = facts.preprocess
        self.tokenizer = Tokenizer(_folder(config, facts) / TOKENIZER)
        self.tokenizer.check(text.vocabulary, facts.source)
        self.longest = config.data.max_tokens or text.longest
        self.reader = self._reader(config, text)

    def _reader(self, config: ConfigDict, text: TextInput) -> TextReader:
        if self.longest <= self.tokenizer.marks:
            raise ValueError(
                f"data.max_tokens={self.longest} leaves no token of a text beside the {self.tokenizer.marks} "
                "that mark its ends: raise it, or set it to 0"
            )
        return TextReader(self.tokenizer, self.longest)

    def seen(self, data: Data) -> dict[str, Any]:
        return {}

    def input(self, spec: Spec) -> Texts:
        return Texts(self.longest)

    def facts(self, data: Data) -> dict[str, Any]:
        return {"longest": self.longest}


class OfPairs(OfTexts):
    """The same for a language model that learns to write what comes after a text. Raises ValueError, too,
    where nothing says how a text ends, or what stands between the two."""

    noun = PairReader.noun

    def _reader(self, config: ConfigDict, text: TextInput) -> PairReader:
        separator = self.tokenizer.pieces([config.data.separator])[0] if config.data.separator else []
        problems = []
        if text.end is None:
            problems.append(
                "the network's config names no token that ends a text: set eos_token_id in its config.json, "
                "or in model.arch, to one of the vocabulary"
            )
        if not separator:
            problems.append(
                f"data.separator={config.data.separator!r} is no token: name what stands between a source "
                "and its target"
            )
        elif len(separator) >= self.longest // 2:
            problems.append(
                f"data.separator={config.data.separator!r} is {len(separator)} tokens, and a source has half "
                f"of {self.longest}"
            )
        if problems:
            raise ValueError("\n".join(problems))
        assert text.end is not None
        return PairReader(self.tokenizer, self.longest, separator, text.end)

    def facts(self, data: Data) -> dict[str, Any]:
        assert isinstance(self.reader, PairReader)
        return {"longest": self.longest, "separator": self.reader.separator, "end": self.reader.end}


Intake = OfPictures | OfTexts


def of(config: ConfigDict, facts: pretrained.Facts, spec: Spec, say: Callable[[str], None]) -> Intake:
    """The intake of a network of this ``spec``, whose weights have these ``facts``. Raises as `OfTexts`, and
    ValueError for `model.pooling` where there are no tokens."""
    if spec.text is not None:
        return (OfPairs if spec.sequence else OfTexts)(config, facts, spec.text)
    if config.model.pooling:
        raise ValueError(
            f"model.pooling={config.model.pooling!r} is for networks that read texts, and this one sees "
            "pictures: leave it empty (model.neck says how a map becomes a vector)"
        )
    return OfPictures(config, facts, say)


def refuse(task: Task, facts: pretrained.Facts) -> None:
    """Raises ValueError where a task needs a language model and the network is none, or the other way."""
    kind = facts.config.get("model_type")
    if task.sequence and not backbones.writes(facts.config):
        raise ValueError(
            f"task={task.kind!r} needs a network that tells the next token, such as model_type='gpt2'; this "
            f"one is {kind!r}: choose another (model.pretrained, model.arch)"
        )
    if facts.config.get("pooling") == "each" and not task.sequence:
        raise ValueError(
            f"the weights are a language model's, and task={task.kind!r} needs one vector a text: set "
            "model.pooling to 'last' or 'mean'"
        )


def overridden(preprocess: Preprocess, config: ConfigDict, fit: str) -> Preprocess:
    """The weights' own preprocessing where the config leaves it alone. How pictures meet the square is
    ``fit``, `data.fit` of the config, so that a crop of the weights' own is not taken over."""
    return Preprocess(
        size=preprocess.size,
        mean=tuple(config.mean) or preprocess.mean,
        std=tuple(config.std) or preprocess.std,
        resample=config.resample or preprocess.resample,
        fit=fit,
    )


def _problems(config: ConfigDict, facts: pretrained.Facts, text: TextInput, noun: str) -> list[str]:
    found = [
        f"{key} is for pictures, and the network reads texts: leave it as it is by default"
        for key, is_set in (
            ("data.image_size", config.data.image_size),
            ("augment", augment.changes(config.augment)),
        )
        if is_set
    ]
    if wrong := misfit(config.data, noun):
        found.append(wrong)
    if config.data.max_tokens > text.longest:
        found.append(
            f"data.max_tokens={config.data.max_tokens} is more than the {text.longest} that the network "
            "reads: lower it, or set it to 0"
        )
    if not config.data.tokenizer and facts.folder is None:
        found.append("data.tokenizer is empty, and a network from scratch has none: name a folder or hub id")
    return found


def _folder(config: ConfigDict, facts: pretrained.Facts) -> Any:
    """The folder of the tokenizer."""
    if not config.data.tokenizer:
        return facts.folder
    model = config.model
    return hub.locate(config.data.tokenizer, cache_dir=model.cache_dir or None, offline=model.offline).folder
