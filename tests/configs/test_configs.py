"""The configs of the repository: every argument completes, and the README's default needs no download."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tl_jax
from tests import tiny
from tl_jax import config as configs

ROOT = Path(__file__).resolve().parents[2] / "configs"
ARGUMENTS = [
    *[("xray.py", arg) for arg in ("", "resnet18", "resnet50", "vit")],
    ("pretrain.py", ""),
    ("skin.py", ""),
    *[("sentiment.py", arg) for arg in ("", "linear_probe", "full", "l2_sp", "lp_ft", "gradual")],
    *[("folder.py", arg) for arg in ("", "linear_probe", "full", "head_then_all", "lp_ft", "head_then_top")],
    *[("folder.py", arg) for arg in ("gradual", "scratch")],
    *[("vgg_two_phase.py", arg) for arg in ("", "rescale")],
    *[("table.py", arg) for arg in ("multi_label", "regression")],
    *[("translation.py", arg) for arg in ("", "lowland", "transfer", "scratch")],
    *[("multitask.py", arg) for arg in ("", "0", "8")],
]


def get(file: str, arg: str) -> Any:
    function = runpy.run_path(str(ROOT / file))["get_config"]
    config = function(arg) if arg or file != "skin.py" else function()
    if file == "multitask.py":
        for one in config.tasks:
            one["data"]["root"] = "somewhere"
        return configs.complete(config)
    if file == "table.py":
        config.data.columns = dict(labels=("a", "b"))
    if file in ("folder.py", "skin.py", "vgg_two_phase.py") or arg:
        config.data.root = "somewhere"
    if file in ("sentiment.py", "table.py"):
        config.data.manifest = "somewhere"
    return configs.complete(config)


@pytest.mark.parametrize(("file", "arg"), ARGUMENTS)
def test_every_argument_completes(file: str, arg: str) -> None:
    configs.validate(get(file, arg))


@pytest.mark.parametrize("file", [f for f in dict(ARGUMENTS) if f not in ("skin.py", "pretrain.py")])
def test_an_unknown_argument_is_refused_with_those_there_are(file: str) -> None:
    with pytest.raises(ValueError, match=r"linear_probe|resnet18|rescale|regression|blocks|lowland"):
        get(file, "nonsense")


def test_every_config_is_listed_here() -> None:
    assert {path.name for path in ROOT.glob("*.py")} == {file for file, _ in ARGUMENTS}


def test_the_default_needs_nothing_from_outside() -> None:
    config = get("xray.py", "")
    assert config.model.pretrained == "embedded"
    assert (config.data.source, config.data.name) == ("tfds", "chest_phantom")
    assert not config.augment.flip


def test_two_phases_over_a_small_vgg(tmp_path: Path) -> None:
    """Random weights of three convolutions in timm's layout: phase one runs them once for each picture."""
    config = get("vgg_two_phase.py", "rescale").to_dict()
    config["data"] |= dict(
        root=str(tiny.make_folder(tmp_path / "pictures")), image_size=32, group=r"p\d+", min_val=2
    )
    config["model"] |= dict(pretrained=str(ROOT.parent / "tests" / "fixtures" / "vgg"))
    config |= dict(batch_size=8, mesh=dict(data=1), evaluation=dict(bootstrap=20))
    for stage in config["stages"]:
        stage["duration"] = "2 epochs"
    result = tl_jax.run(config, tmp_path / "run", quiet=True)
    assert "all but the head runs once for each of 36 pictures" in (tmp_path / "run" / "plan.txt").read_text()
    assert "fc6 and fc7" in (tmp_path / "run" / "load_report.txt").read_text()
    assert result["stages"][0]["trained"] == 8 * 8 * 8 * 256 + 256 + 256 + 1
    model, _ = tl_jax.load_pretrained(tmp_path / "run")
    assert (model.spec.preprocess.mean, model.spec.preprocess.std) == ((0.0,) * 3, (1.0,) * 3)
    assert model.head.linear.out_features == 1


@pytest.mark.slow
def test_the_main_job_as_the_readme_starts_it(tmp_path: Path) -> None:
    """From nothing in any cache; both the data and what they are worth are said to be simulated."""
    command = [
        sys.executable,
        "-m",
        "tl_jax.main",
        f"--config={ROOT / 'xray.py'}",
        f"--workdir={tmp_path}/run",
    ]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "XLA_FLAGS": ""}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    said = [number for number, line in enumerate(lines) if "SIMULATED" in line]
    assert said[0] < 3
    assert [line.split(":")[0] for line in lines[said[-1] + 1 :]] == ["result", "report"]
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["test"]["auroc"]["low"] > 0.75
    assert "SIMULATED" in result["data"]["caveat"]
