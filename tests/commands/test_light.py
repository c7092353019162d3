"""No TensorFlow and no torch: training, prediction and export work where neither can be imported.

Packages that would use one of them if it were there, as tensorboardX does with torch, must do without.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.commands import pictures

BLOCKED = """
import sys

for name in ("torch", "tensorflow"):
    sys.modules[name] = None  # to import it fails, and to look for it finds nothing
from tl_jax import export, predict, main
for command, arguments in ARGUMENTS:
    code = {"main": main, "predict": predict, "export": export}[command].main([command, *arguments])
    assert code == 0, command
assert sys.modules["torch"] is None and sys.modules["tensorflow"] is None
assert not [name for name in sys.modules if name.startswith(("torch.", "tensorflow."))]
print("neither was missed")
"""


@pytest.mark.parametrize("source", ["folder", pytest.param("csv", marks=pytest.mark.slow)])
def test_neither_is_needed(source, photographs, tmp_path):
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
    assert "neither was missed" in done.stdout
    assert "Warning" not in done.stderr, "something has lost what it does with one of them"
    assert (tmp_path / "model" / "model.safetensors").exists()
