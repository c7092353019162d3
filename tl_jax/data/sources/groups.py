r"""Groups from names: a regular expression finds the patient in a picture's id.

An id is a path below the root, such as ``train/PNEUMONIA/person12_virus_47.jpeg``. The folders above a
picture name its split and its class, so the expression is searched **in the file's own name first**: with
``\d+`` the patient is 12 even if the class folder were called ``NORMAL2``. Where the file name does not
match, the folders between the class and the file are searched, the whole inner path at once
(``patient12/scan/1.png``). An expression that itself contains a slash sees the whole id and nothing else.

The group is the first capture group that took part in the match, else the whole match:
``person\d+|IM-\d+`` and ``person(\d+)|IM-(\d+)`` both do, and both find ``IM-0115`` or ``0115`` in
``NORMAL2-IM-0115-0001.jpeg`` as in ``IM-0115-0001.jpeg``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tl_jax.data.sources.errors import SourceError, counted, some
from tl_jax.data.sources.splits import SPLIT_NAMES


def by_pattern(ids: Sequence[str], inner: Sequence[str], pattern: str) -> tuple[list[str], list[str]]:
    """Groups (n,) of ``ids`` (n,), and notes.

    ``inner`` (n,) is each id below its class folder. Ids that do not match are groups of their own, with a
    note, as long as they are the smaller part.

    Raises:
      SourceError: the expression does not compile; or half of the ids or more do not match, since a
        patient's pictures would then be scattered over the splits without a word.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        at = "" if error.pos is None else f" at character {error.pos + 1}"
        raise SourceError(f"data.group={pattern!r} is no regular expression: {error.msg}{at}") from error
    found = [_group(expression, text, path) for text, path in zip(ids, inner, strict=True)]
    missed = [text for text, group in zip(ids, found, strict=True) if group is None]
    if missed and 2 * len(missed) >= len(ids):
        raise SourceError(
            f"data.group={pattern!r} finds no group in {len(missed):,} of {counted(len(ids), 'name')}: "
            f"{some(missed, 5)}. It is searched in the file's name, then in the folders below the class. "
            "Correct it, or set data.group='' if every picture is a patient of its own "
            f"(or '{pattern}|.+' if those are)"
        )
    groups = [text if group is None else group for text, group in zip(ids, found, strict=True)]
    if not missed:
        return groups, []
    note = (
        f"data.group={pattern!r} finds no group in {counted(len(missed), 'name')}, each now a group of its "
        f"own: {some(missed, 5)}"
    )
    return groups, [note]


def below_class(name: str, label: str) -> str:
    """A path without the folders that name its class or its split, where no layout says which they are."""
    *folders, last = name.split("/")
    known = {label.lower(), *SPLIT_NAMES}
    return "/".join([*(part for part in folders if part.lower() not in known), last])


def _group(expression: re.Pattern[str], text: str, inner: str) -> str | None:
    places = (text,) if "/" in expression.pattern else (text.rpartition("/")[2], inner)
    for place in places:
        match = expression.search(place)
        if match is None:
            continue
        taken = next((part for part in match.groups() if part is not None), match[0])
        if taken:
            return taken
    return None
