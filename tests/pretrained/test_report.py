"""The printed account."""

from __future__ import annotations

import numpy as np

from tl_jax.pretrained.report import Ignored, Initialised, Loaded, LoadReport, identity


def test_blocks_that_agree_share_a_line() -> None:
    report = LoadReport(
        "here",
        loaded=tuple(
            Loaded(f"blocks/{i}/fc/kernel", (4, 8 if i == 3 else 4), (f"m.layer.{i}.fc.weight",))
            for i in (0, 1, 2, 3, 5)
        ),
        initialised=(Initialised("head/linear/bias", (2,), "others"),),
        ignored=(Ignored("m.pooler.bias", (4,), "not used"),),
        identity="abc",
        notes=("a note",),
    )
    lines = report.table().splitlines()
    assert lines[0] == "weights: here (5 leaves, 96 numbers loaded; 1 initialised; 1 arrays ignored)"
    assert lines[1:3] == ["a note", "identity: abc"]
    assert [line.split() for line in lines[4:]] == [
        ["blocks/{0-2,5}/fc/kernel", "4×4", "loaded", "m.layer.*.fc.weight"],
        ["blocks/3/fc/kernel", "4×8", "loaded", "m.layer.*.fc.weight"],
        ["head/linear/bias", "2", "initialised", "others"],
        ["–", "4", "ignored", "m.pooler.bias:", "not", "used"],
    ]


def test_identity_depends_on_values_shapes_and_places_only() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3)).astype(np.float32), rng.normal(size=(4,)).astype(np.float32)
    first = identity({"x": a, "y": b, "unused": b}, {"p": ("x",), "q": ("y",)})
    assert first == identity({"n.y": b, "n.x": np.asfortranarray(a)}, {"q": ("n.y",), "p": ("n.x",)})
    assert first != identity({"x": a, "y": b}, {"q": ("x",), "p": ("y",)})
    assert first != identity({"x": a.reshape(3, 2), "y": b}, {"p": ("x",), "q": ("y",)})
    assert first != identity({"x": a + np.float32(1e-6), "y": b}, {"p": ("x",), "q": ("y",)})
    assert len(first) == 64
