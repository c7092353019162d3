"""No TensorFlow and no torch: training, prediction and export work where neither can be imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.commands import pictures

BLOCKED = """
import sys

class Refuses:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "tensorflow"):
            raise AssertionError(f"something imports {name}")
        return None

sys.meta_path.insert(0, Refuses())
from tl_jax import export, predict, main
for command, arguments in ARGUMENTS:
    code = {"main": main, "predict": predict, "export": export}[command].main([command, *arguments])
    assert code == 0, command
for name in ("torch", "tensorflow"):
    assert name not in sys.modules
    try:
        __import__(name)
    except AssertionError:
        continue
    raise SystemExit(f"{name} was not blocked, so this shows nothing")
print("none was missed")
"""


@pytest.mark.parametrize("source", ["folder", "csv"])
def test_neither_is_imported(source, photographs, tmp_path):
    config = pictures.config(photographs, stages=[dict(duration="2 steps", train="head")])
    if source == "csv":
        manifest = pictures.write_manifest(tmp_path / "m.csv", photographs, "train")
        config["data"] |= dict(source="csv", manifest=str(manifest), group="", columns=dict(group="patient"))
    file = pictures.write_config(tmp_path / "c.py", config)
    work = f"--workdir={tmp_path / 'run'}"
    arguments = [
        ("main", [f"--config={file}", work]),
        ("predict", [work, f"--input={photographs / 'test'}", f"--output={tmp_path / 'p.csv'}"]),
        ("export", [work, f"--output={tmp_path / 'model'}"]),
    ]
    program = BLOCKED.replace("ARGUMENTS", repr(arguments))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "none was missed" in done.stdout
    assert (tmp_path / "model" / "model.safetensors").exists()
