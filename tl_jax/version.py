"""Which code made a result."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from functools import cache
from pathlib import Path


@cache
def code() -> str:
    """The version of the package and a digest of its source, so that a change without a new version shows."""
    digest = hashlib.blake2b(digest_size=6)
    root = Path(__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    try:
        version = importlib.metadata.version("tl_jax")
    except importlib.metadata.PackageNotFoundError:  # a folder that nobody has installed
        version = "0"
    return f"{version}+{digest.hexdigest()}"


@cache
def versions() -> dict[str, str]:
    """Name → version of what computes a result: `code`, Python, and the libraries below."""
    found = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "flax", "optax", "numpy")}
    return {"tl_jax": code(), "python": platform.python_version(), **found}
