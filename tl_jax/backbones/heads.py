"""Heads beyond the linear one: hidden layers before it, and one sigmoid unit for two classes.

A head is the task's, not the family's: a ``config.json`` describes it under a key of our own, `build` makes
it for any family, and `over` puts its arrays, under names of our own, into the family's weight table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from tl_jax.backbones import hf_config
from tl_jax.backbones.anatomy import Head
from tl_jax.backbones.drop import dropped
from tl_jax.pretrained.rules import Ignore, Rule
from tl_jax.pretrained.transforms import LINEAR

HEAD = "tl_jax_head"
"""The key, and what the names of the arrays begin with. Without it a network has the linear head."""

LINEAR_HEAD, MLP = "linear", "mlp"
SOFTMAX, SIGMOID = "softmax", "sigmoid"


class Perceptron(Head):
    """Dropout, hidden layers with an activation and dropout each, and one linear layer: (B, features) → (B,
    outputs) logits.

    One sigmoid unit, ``output`` "sigmoid", gives the logits (0, z) of two classes: their softmax is
    (1 - σ(z), σ(z)), and their cross-entropy the binary cross-entropy of σ(z).
    """

    def __init__(
        self,
        features: int,
        outputs: int,
        *,
        sizes: Sequence[int],
        act: str,
        between: float,
        output: str,
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ):
        widths = (features, *sizes)
        self.sigmoid = output == SIGMOID
        super().__init__(widths[-1], 1 if self.sigmoid else outputs, dropout=dropout, rngs=rngs)
        self.hidden = nnx.List(
            [
                nnx.Linear(a, b, kernel_init=nnx.initializers.he_normal(), rngs=rngs)
                for a, b in pairwise(widths)
            ]
        )
        self.between = nnx.Dropout(between)
        self.act = hf_config.ACTIVATIONS[act]

    def __call__(self, features: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        first, *others = [None] * (len(self.hidden) + 1)
        if key is not None:
            first, *others = jax.random.split(key, len(self.hidden) + 1)
        x = dropped(self.dropout, features, first)
        for layer, own in zip(self.hidden, others, strict=True):
            x = dropped(self.between, self.act(layer(x)), own)
        z = self.linear(x)
        return jnp.concatenate([jnp.zeros_like(z), z], axis=-1) if self.sigmoid else z


def described(
    *, name: str, sizes: Sequence[int], act: str, dropout: float, output: str
) -> dict[str, Any] | None:
    """What a ``config.json`` says under `HEAD`, None for the linear head with a logit a class.

    ``name``: "linear" or "mlp"; ``sizes``, ``act`` and ``dropout`` are of the hidden layers of an "mlp".
    """
    if name == LINEAR_HEAD and output == SOFTMAX:
        return None
    hidden = list(sizes) if name == MLP else []
    return {"sizes": hidden, "act": act, "dropout": dropout, "output": output}


def build(
    facts: Mapping[str, Any], features: int, outputs: int, *, dropout: float, rngs: nnx.Rngs
) -> Perceptron:
    """The head that a ``config.json`` describes under `HEAD`; ``outputs``: of the network, a logit a class.

    Raises:
      ConfigError: listing what the description lacks, what nobody knows, and one unit for other than two
        classes.
    """
    sizes, act, between, output = (facts.get(key) for key in ("sizes", "act", "dropout", "output"))
    problems = []
    if not isinstance(sizes, list | tuple) or not all(isinstance(n, int) and n > 0 for n in sizes):
        problems.append(f"{HEAD}.sizes={sizes!r} must be a list of positive integers")
    if act not in hf_config.ACTIVATIONS:
        problems.append(f"{HEAD}.act={act!r} is none of {', '.join(hf_config.ACTIVATIONS)}")
    if not isinstance(between, int | float) or not 0 <= between < 1:
        problems.append(f"{HEAD}.dropout={between!r} must be a number, 0 ≤ value < 1")
    if output not in (SOFTMAX, SIGMOID):
        problems.append(f"{HEAD}.output={output!r} is neither {SOFTMAX!r} nor {SIGMOID!r}")
    if output == SIGMOID and outputs != 2:
        problems.append(
            f"{HEAD}.output={SIGMOID!r} is one unit, which tells two classes apart, not {outputs}: take "
            f"{SOFTMAX!r} (model.head.output)"
        )
    if problems:
        raise hf_config.ConfigError("head", problems)
    assert isinstance(sizes, list | tuple)
    return Perceptron(
        features,
        outputs,
        sizes=tuple(sizes),
        act=str(act),
        between=float(between or 0),
        output=str(output),
        dropout=dropout,
        rngs=rngs,
    )


def units(config: Mapping[str, Any], classes: int) -> int:
    """How many units the last layer of the config's head has."""
    return 1 if (config.get(HEAD) or {}).get("output") == SIGMOID else classes


def over(table: Iterable[Rule | Ignore], config: Mapping[str, Any]) -> tuple[Rule | Ignore, ...]:
    """A family's table with the head that the config describes in the place of the linear one. The arrays of
    the other kind are left unread."""
    another = "the head of this network is another one"
    if not config.get(HEAD):
        return (*table, Ignore(f"{HEAD}.*", another))
    lines: list[Rule | Ignore] = []
    for line in table:
        if isinstance(line, Rule) and line.ours.startswith("head/"):
            lines += [Ignore(name, another) for name in line.names]
        else:
            lines.append(line)
    for theirs, ours in (("hidden.{i}", "hidden/{i}"), ("linear", "linear")):
        lines.append(Rule(f"{HEAD}.{theirs}.weight", f"head/{ours}/kernel", LINEAR))
        lines.append(Rule(f"{HEAD}.{theirs}.bias", f"head/{ours}/bias"))
    return tuple(lines)
