"""Layer outputs: of the right shapes, of the right pictures, and one following from the other."""

from __future__ import annotations

import numpy as np
import pytest

from tests.commands import pictures
from tl_jax import features


def call(workdir, output, *more: str) -> dict[str, np.ndarray]:
    assert features.main(["", f"--workdir={workdir}", f"--output={output}", *more]) == 0
    return dict(np.load(output))


@pytest.mark.parametrize(
    ("layer", "pool", "shape"),
    [
        ("stem", "mean", (8,)),
        ("stem", "none", (8, 8, 8)),
        ("blocks/1", "mean", (16,)),
        ("blocks/1", "none", (4, 4, 16)),
        ("neck", "mean", (16,)),
    ],
)
def test_shapes(layer, pool, shape, finished, photographs, tmp_path):
    more = (f"--input={photographs / 'test' / 'sick'}", f"--layer={layer}", f"--pool={pool}")
    found = call(finished, tmp_path / "f.npz", *more)
    assert found["features"].shape == (12, *shape)
    assert found["features"].dtype == np.float32
    assert found.keys() == {"ids", "features"}


def test_the_neck_of_a_resnet_is_the_mean_of_its_last_block(finished, photographs, tmp_path):
    source = f"--input={photographs / 'test'}"
    neck = call(finished, tmp_path / "neck.npz", source)
    block = call(finished, tmp_path / "block.npz", source, "--layer=blocks/1", "--batch_size=5")
    np.testing.assert_allclose(neck["features"], block["features"], rtol=1e-5, atol=1e-6)
    assert (neck["ids"] == block["ids"]).all()


def test_the_runs_own_pictures_with_their_labels(finished, tmp_path, capsys):
    found = call(finished, tmp_path / "f.npz", "--layer=head")
    assert "not the same" not in capsys.readouterr().err
    assert {name: (found["splits"] == name).sum() for name in ("train", "val", "test")} == {
        "train": 40,
        "val": 24,
        "test": 24,
    }
    for name, label, group in zip(found["ids"], found["labels"], found["groups"], strict=True):
        assert name.split("/")[1] == label
        assert name.split("/")[2].split("-")[0] == group
    logits = dict(zip(found["ids"].tolist(), found["features"], strict=True))
    for split in ("val", "test"):
        for row in pictures.read_csv(finished / f"predictions_{split}.csv"):
            np.testing.assert_allclose(logits[row["id"]][1], float(row["logit_sick"]), rtol=2e-5, atol=1e-6)
    # Training pictures are kept on a larger canvas; here they are as any other picture.
    again = call(finished, tmp_path / "g.npz", "--layer=head", "--input=" + _root(finished))
    for name, values in zip(again["ids"].tolist(), again["features"], strict=True):
        np.testing.assert_allclose(values, logits[name], rtol=2e-5, atol=1e-6)


def test_no_such_layer(finished, photographs, tmp_path):
    with pytest.raises(ValueError, match="none of stem, blocks/0 … blocks/1, neck, head"):
        call(finished, tmp_path / "f.npz", "--layer=blocks/2", f"--input={photographs}")


def _root(workdir) -> str:
    import json

    return json.loads((workdir / "config.json").read_text())["data"]["root"]
