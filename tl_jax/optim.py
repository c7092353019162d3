"""FreezePlan → one optax transformation.

`optax.multi_transform` over the plan's groups: every trained group gets the same direction (Adam or
momentum), then its own weight decay and learning rate; frozen leaves get `optax.set_to_zero`. The
learning rates and decays are arguments of the update, not part of it, so one compiled step serves any
of them.

The direction keeps its state leaf by leaf, ``{path: state}``. So a stage takes over the moments of
the leaves it shares with the one before by path, and a leaf that starts to learn later has its own
bias correction: with one count for all, a new leaf's first step would be several times too long.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax

from tl_jax.backbones.anatomy import Leaves
from tl_jax.freeze import FROZEN, FreezePlan

Moments = dict[str, Any]
"""The optimiser's state by path."""


def build(stage: Mapping[str, Any], plan: FreezePlan) -> optax.GradientTransformationExtraArgs:
    """The transformation of one stage.

    ``update(grads, state, params, lr=…, weight_decay=…)`` takes scalars by group name. It serves the
    trained leaves alone and the whole tree alike.
    """
    transforms = {
        group.name: optax.chain(_per_leaf(direction(stage)), _decay_and_scale(group.name, plan.decayed))
        for group in plan.groups
    }
    return optax.multi_transform({**transforms, FROZEN: optax.set_to_zero()}, plan.label_tree)


def direction(stage: Mapping[str, Any]) -> optax.GradientTransformation:
    """Where to go, before learning rate and decay."""
    if stage["optimizer"] in ("adam", "adamw"):
        return optax.scale_by_adam(b1=stage["b1"], b2=stage["b2"])
    if stage["optimizer"] == "sgd":
        return optax.trace(decay=stage["momentum"]) if stage["momentum"] else optax.identity()
    raise ValueError(f"optimizer={stage['optimizer']!r} is none of 'adamw', 'adam', 'sgd'")


def kind(stage: Mapping[str, Any]) -> str:
    """Stages of one kind can hand their moments on."""
    if stage["optimizer"] == "sgd":
        return "sgd" if stage["momentum"] else "sgd without momentum"
    return "adam"


def moments(state: Any) -> Moments:
    """The state by path, whatever group a path is in."""
    found: Moments = {}
    for group in state.inner_states.values():
        inner = group.inner_state
        if isinstance(inner, tuple) and inner and isinstance(inner[0], dict):
            found.update(inner[0])
    return found


def nbytes(moments: Mapping[str, Any]) -> int:
    """Bytes of the optimiser's state; its arrays may be shapes only."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(moments))


def with_moments(state: Any, kept: Mapping[str, Any]) -> Any:
    """``state`` with the moments of every path that both have taken from ``kept``."""
    groups = {}
    for name, group in state.inner_states.items():
        inner = group.inner_state
        if isinstance(inner, tuple) and inner and isinstance(inner[0], dict):
            own = {path: kept.get(path, leaf) for path, leaf in inner[0].items()}
            group = group._replace(inner_state=(own, *inner[1:]))
        groups[name] = group
    return state._replace(inner_states=groups)


def squares(leaves: Mapping[str, jax.Array]) -> jax.Array:
    """Sum of squares over all leaves, in float32."""
    return sum((jnp.sum(jnp.square(leaf.astype(jnp.float32))) for leaf in leaves.values()), jnp.float32(0))


def norm(leaves: Mapping[str, jax.Array]) -> jax.Array:
    """Euclidean norm over all leaves, in float32."""
    return jnp.sqrt(squares(leaves))


def clip(grads: Leaves, limit: jax.Array, length: jax.Array) -> Leaves:
    """Scales the gradients down to norm ``limit``; a limit of 0 leaves them alone."""
    factor = jnp.where((limit > 0) & (length > limit), limit / jnp.maximum(length, 1e-30), 1.0)
    return jax.tree.map(lambda leaf: leaf * factor, grads)


def _per_leaf(transform: optax.GradientTransformation) -> optax.GradientTransformation:
    """``transform`` for each path on its own. Masked leaves (those of other groups) have no state."""

    def init(params: Any) -> Moments:
        return {path: transform.init(leaf) for path, leaf in params.items() if not _is_masked(leaf)}

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Leaves, Moments]:
        del params
        pairs = {path: transform.update(updates[path], leaf) for path, leaf in state.items()}
        new = {path: pairs[path][0] if path in pairs else leaf for path, leaf in updates.items()}
        return new, {path: pair[1] for path, pair in pairs.items()}

    return optax.GradientTransformation(init, update)


def _decay_and_scale(name: str, decayed: frozenset[str]) -> optax.GradientTransformationExtraArgs:
    """-lr · (direction + weight_decay · parameter), the decoupled decay of Loshchilov & Hutter 2019."""

    def update(updates: Any, state: Any, params: Any = None, *, lr: Any, weight_decay: Any, **_: Any) -> Any:
        def move(path: str, update: jax.Array) -> jax.Array:
            if path in decayed:
                update = update + weight_decay[name] * params[path]
            return -lr[name] * update

        moved = {p: leaf if _is_masked(leaf) else move(p, leaf) for p, leaf in updates.items()}
        return moved, state

    def init(params: Any) -> optax.OptState:
        del params
        return optax.EmptyState()

    # Optax's type has no names for the further arguments that its own protocol allows.
    return optax.GradientTransformationExtraArgs(init, cast(Any, update))


def _is_masked(leaf: Any) -> bool:
    return isinstance(leaf, optax.MaskedNode)
