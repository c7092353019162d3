"""A finished run fitted to unlabelled pictures, as a command."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tl_jax import adapt, evaluate, predict
from tl_jax.finished import open_run


def command(*flags):
    return adapt.main(["adapt", *flags])


@pytest.mark.parametrize("how", ["batch_norm", "coral"])
def test_what_comes_out_is_a_run_for_the_other_commands(finished, photographs, tmp_path, capsys, how):
    folder, output = photographs / "val", tmp_path / "adapted"
    assert command(f"--workdir={finished}", f"--input={folder}", f"--how={how}", f"--output={output}") == 0
    assert f"fitted to 24 pictures by {how}" in capsys.readouterr().out
    told = json.loads((output / "result.json").read_text())
    assert told["adapted"] == {"how": how, "from": str(finished), "examples": 24}
    assert "test" not in told, "it was measured of another network"
    for work, file in ((finished, "before.csv"), (output, "after.csv")):
        flags = [f"--workdir={work}", f"--input={folder}", f"--output={tmp_path / file}"]
        assert predict.main(["predict", *flags]) == 0
    assert (tmp_path / "before.csv").read_text() != (tmp_path / "after.csv").read_text()
    flags = [f"--workdir={output}", f"--data.root={photographs}", f"--output={tmp_path / 'evaluated'}"]
    assert evaluate.main(["evaluate", *flags]) == 0
    # What is read back is what was fitted.
    run = open_run(output)
    pictures = run.unlabelled(str(folder))[0]
    assert np.isfinite(run.logits(pictures)).all()


def test_what_cannot_be_meant(finished, photographs, tmp_path, capsys):
    with pytest.raises(SystemExit):
        command(f"--workdir={finished}")
    assert "--input: is missing; name a folder of pictures" in capsys.readouterr().err
    (tmp_path / "there").write_text("")
    with pytest.raises(ValueError, match="is not empty; choose another folder by --output"):
        command(f"--workdir={finished}", f"--input={photographs}", f"--output={tmp_path}")
