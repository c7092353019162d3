"""Where a command writes: asked before anything is computed, so that a wrong name costs nothing."""

from __future__ import annotations

from pathlib import Path


def file(name: str) -> Path:
    """The path of a file to write. Raises ValueError where a folder is in its place, or a file in its
    folder's."""
    path = Path(name).expanduser()
    if path.is_dir():
        raise ValueError(f"--output={name} is a folder; name a file, such as {path / 'output'}")
    folder(str(path.parent), name)
    return path


def folder(name: str, output: str = "", *, flag: str = "output") -> Path:
    """The path of a folder to write. Raises ValueError where a file is in its place, or in that of one above;
    ``output``: what the user wrote, with --``flag``."""
    path = Path(name).expanduser()
    for part in (path, *path.parents):
        if part.exists() and not part.is_dir():
            raise ValueError(
                f"--{flag}={output or name}: {part} is a file, not a folder; choose another place"
            )
    return path
