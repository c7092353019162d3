"""Transfer learning in JAX: pretrained weights, frozen layers, honest reports.

result = tl_jax.run(config, workdir)
model, report = tl_jax.load_pretrained("google/vit-base-patch16-224", num_classes=2)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tl_jax.pretrained import load_pretrained
    from tl_jax.runs import run

__all__ = ["load_pretrained", "run"]


def __getattr__(name: str) -> Any:
    # Late, so that a command's --help does not wait for JAX. No module may be called as one of these: once
    # imported it would stand in the function's place.
    if name == "run":
        from tl_jax.runs import run

        return run
    if name == "load_pretrained":
        from tl_jax.pretrained import load_pretrained

        return load_pretrained
    raise AttributeError(f"module 'tl_jax' has no attribute {name!r}")
