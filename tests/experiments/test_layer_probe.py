"""Layers scored by a command, on small networks and real pictures."""

from __future__ import annotations

import csv
import json

import pytest
from PIL import Image

from experiments import layer_probe
from tests import tiny
from tests.commands import pictures
from tl_jax import pretrained


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Of a network from scratch; and a folder of weights with a head of its own classes."""
    folder = tiny.make_folder(tmp_path_factory.mktemp("pictures"), train=60, val=20, test=20)
    found = tiny.config(folder, stages=[dict(train="head")], augment=dict(rotate=30.0, scale=(0.5, 1.0)))
    weights = tmp_path_factory.mktemp("weights")
    model, _ = pretrained.scratch(tiny.VIT, num_classes=5)
    pretrained.export(model, weights, classes=[f"class {i}" for i in range(5)])
    return pictures.write_config(tmp_path_factory.mktemp("config") / "small.py", found), weights


def command(config, root, *flags):
    return layer_probe.main(["layer_probe", f"--config={config[0]}", f"--workdir={root}", *flags])


def test_every_layer_is_scored(config, tmp_path, capsys):
    assert command(config, tmp_path) == 0
    printed = capsys.readouterr().out
    found = json.loads((tmp_path / "layers.json").read_text())
    (network,), (layers,) = found["networks"], found["tables"]
    assert [layer["layer"] for layer in layers] == ["stem", "blocks/0", "blocks/1", "neck"]
    assert network["leep"] is None
    assert "no LEEP" in printed
    assert "Take from scratch, layer " in printed
    for layer in layers:
        assert 0 <= layer["auroc"]["value"] <= 1
        assert 0 <= layer["h_score"] <= 1
    assert network["best"] in [layer["layer"] for layer in layers]
    with open(tmp_path / "layers.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 4
    with Image.open(tmp_path / "layers.png") as picture:
        assert picture.width > 600


def test_networks_are_compared(config, tmp_path, capsys):
    assert command(config, tmp_path, f"--backbones=embedded,{config[1]}") == 0
    found = json.loads((tmp_path / "layers.json").read_text())
    networks = found["networks"]
    assert [network["name"] for network in networks] == ["embedded", str(config[1])]
    assert len(found["tables"][1]) == 2 + tiny.VIT["num_hidden_layers"]
    assert networks[1]["leep"] < 0
    assert " of 2 networks, layer " in capsys.readouterr().out
