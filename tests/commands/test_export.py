"""The exported folder is the trained network."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import tl_jax
from tests.commands import pictures
from tl_jax import export
from tl_jax.data import decode


def test_exported_weights_give_the_runs_logits(finished, photographs, tmp_path):
    assert export.main(["", f"--workdir={finished}", f"--output={tmp_path / 'model'}"]) == 0
    model, report = tl_jax.load_pretrained(str(tmp_path / "model"))
    assert not report.initialised
    size, mean, std = 32, model.spec.preprocess.mean, model.spec.preprocess.std
    assert model.spec.preprocess.size == (size, size)
    own = [row for row in pictures.read_csv(finished / "predictions_test.csv") if row["id"].endswith("png")]
    images = [
        decode.resize(
            np.asarray(Image.open(photographs / row["id"])), size, fit="squash", resample="bilinear"
        )
        for row in own
    ]
    logits = model(jnp.asarray((np.stack(images) / 255 - mean) / std, jnp.float32))
    expected = [[float(row["logit_healthy"]), float(row["logit_sick"])] for row in own]
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_the_folder_must_be_named(finished):
    with pytest.raises(SystemExit) as ended:
        export.main(["", f"--workdir={finished}"])
    assert ended.value.code == 2


def test_a_run_is_not_written_over(finished, tmp_path, capsys):
    before = {path: path.read_bytes() for path in finished.rglob("*.json")}
    for output, words in ((finished, "not a model's"), (finished / "model", "the run's own model")):
        with pytest.raises(ValueError, match=words):
            export.main(["", f"--workdir={finished}", f"--output={output}"])
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="is a file"):
        export.main(["", f"--workdir={finished}", f"--output={tmp_path / 'file' / 'x'}"])
    with pytest.raises(SystemExit) as ended:
        export.main(["", f"--workdir={finished}", f"--output={tmp_path / 'x'}", "--dtype=int3"])
    assert ended.value.code == 2
    assert "--dtype: found 'int3'; value should be one of" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in finished.rglob("*.json")}
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
