"""What an experiment asks about a config's network before anything is run."""

from __future__ import annotations

from ml_collections import ConfigDict

from tl_jax import pretrained


def blocks(config: ConfigDict) -> int:
    """How many blocks it has."""
    model = config.model
    found = pretrained.inspect(
        model.pretrained, arch=model.arch.to_dict(), cache_dir=model.cache_dir or None, offline=model.offline
    )
    return len(pretrained.outline(found).blocks)
