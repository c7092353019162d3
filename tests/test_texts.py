"""A job on texts from its config to its report: every part does for them what it does for pictures."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests import tiny_texts
from tests.test_resume import StopAfter
from tl_jax import export, predict
from tl_jax.config import complete
from tl_jax.interrupt import Interrupted
from tl_jax.job import prepare
from tl_jax.runs import run


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return tiny_texts.make_weights(tmp_path_factory.mktemp("weights") / "bert")


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> Path:
    return tiny_texts.make_texts(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="module")
def finished(texts, weights, tmp_path_factory) -> Path:
    workdir = tmp_path_factory.mktemp("runs") / "finished"
    run(tiny_texts.config(texts, weights, report=dict(enabled=True)), workdir, quiet=True)
    return workdir


def numbers(workdir: Path) -> np.ndarray:
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    free = ("examples_per_second", "seconds")
    return np.array(
        [v for line in lines for name, v in line.items() if isinstance(v, float) and name not in free]
    )


def test_it_learns(finished):
    result = json.loads((finished / "result.json").read_text())
    assert result["test"]["accuracy"]["value"] > 0.8
    assert result["input"] == {"longest": 32}
    log = (finished / "log.txt").read_text()
    assert "batches are padded to" in log
    assert (finished / "model" / "tokenizer.json").exists()
    assert not (finished / "model" / "preprocessor_config.json").exists()
    page = (finished / "report.html").read_text()
    assert "Texts worth a look" in page
    assert "<blockquote>" in page


@pytest.mark.slow
def test_batches_are_padded_to_few_widths(texts, weights, tmp_path):
    """And each width is compiled once, however often it comes."""
    run(tiny_texts.config(texts, weights), tmp_path, quiet=True)
    told = [line for line in (tmp_path / "log.txt").read_text().splitlines() if "GFLOP an" in line]
    job = prepare(complete(tiny_texts.config(texts, weights)), lambda line: None)
    assert 2 <= len(job.data.train.widths) <= 4
    assert len(told) <= 1 + len(job.data.train.widths)


@pytest.mark.parametrize("train", ["head", pytest.param("last 1", marks=pytest.mark.slow)])
def test_the_frozen_prefix_kept_or_not_the_run_is_the_same(train, texts, weights, tmp_path):
    found = {}
    for prefix in ("off", "on"):
        stage = dict(name="top", duration="3 epochs", train=train, lr=3e-3)
        config = tiny_texts.config(texts, weights, stages=[stage], cache=dict(prefix=prefix, dir=""))
        run(config, tmp_path / prefix, quiet=True)
        found[prefix] = numbers(tmp_path / prefix), load_file(tmp_path / prefix / "model/model.safetensors")
    np.testing.assert_allclose(found["on"][0], found["off"][0], rtol=2e-4, atol=2e-5)
    for name, leaf in found["off"][1].items():
        np.testing.assert_allclose(found["on"][1][name], leaf, rtol=1e-4, atol=2e-5, err_msg=name)


@pytest.mark.slow
def test_streamed_or_resident_the_run_is_the_same(finished, texts, weights, tmp_path):
    config = tiny_texts.config(texts, weights)
    config["data"]["device_budget"] = 0
    run(config, tmp_path, quiet=True)
    np.testing.assert_allclose(numbers(tmp_path), numbers(finished), rtol=2e-4, atol=2e-5)


@pytest.mark.slow
def test_interrupted_it_ends_with_the_same_bits(finished, texts, weights, tmp_path):
    config = tiny_texts.config(texts, weights)
    with pytest.raises(Interrupted):
        run(config, tmp_path, stop=StopAfter(29), quiet=True)
    run(config, tmp_path, quiet=True)
    for name in ("model/model.safetensors", "predictions_test.csv"):
        assert (tmp_path / name).read_bytes() == (finished / name).read_bytes()


def test_new_texts_are_predicted(finished, tmp_path, capsys):
    (tmp_path / "new.txt").write_text("the film was lovely and bright\n\na dull poor story\n")
    flags = [f"--workdir={finished}", f"--input={tmp_path / 'new.txt'}", f"--output={tmp_path / 'out.csv'}"]
    assert predict.main(["predict", *flags]) == 0
    with open(tmp_path / "out.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["id"], row["decision"]) for row in rows] == [("1", "good"), ("3", "bad")]
    assert "2 texts" in capsys.readouterr().out


def test_the_predictions_of_the_test_split_are_made_again(finished, texts, tmp_path):
    flags = [f"--workdir={finished}", f"--input={texts / 'test.csv'}", f"--output={tmp_path / 'out.csv'}"]
    assert predict.main(["predict", *flags]) == 0

    def column(path: Path, name: str) -> list[float]:
        with open(path, newline="") as file:
            return [float(row[name]) for row in csv.DictReader(file)]

    ours = column(finished / "predictions_test.csv", "logit_good")
    np.testing.assert_allclose(column(tmp_path / "out.csv", "logit_good"), ours, rtol=1e-4, atol=1e-5)


def test_export_brings_the_tokenizer(finished, tmp_path, capsys):
    assert export.main(["export", f"--workdir={finished}", f"--output={tmp_path / 'model'}"]) == 0
    assert (tmp_path / "model" / "tokenizer.json").read_bytes() == (
        finished / "model" / "tokenizer.json"
    ).read_bytes()
    assert "tokenizer.json" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(augment=dict(flip=True)), "augment is for pictures"),
        (dict(model=dict(pooling="last")), "pooling='last' is none of"),
        (dict(data=dict(max_tokens=64)), "data.max_tokens=64 is more than the 32"),
        (dict(data=dict(max_tokens=2)), "data.max_tokens=2 leaves no token of a text beside the 2"),
        (dict(data=dict(columns=dict(text=""))), "data.source='csv' gives pictures: choose"),
        (dict(data=dict(source="folder", root="somewhere")), "data.source='folder' gives pictures: choose"),
    ],
)
def test_what_does_not_fit_is_said(changes, words, texts, weights):
    config = tiny_texts.config(texts, weights)
    for key, value in changes.items():
        config[key] = {**config.get(key, {}), **value}
    with pytest.raises(ValueError) as error:
        prepare(complete(config), lambda line: None)
    assert words in str(error.value)


def test_a_network_that_sees_pictures_has_no_pooling(tmp_path):
    from tests import tiny

    folder = tiny.make_folder(tmp_path)
    config = tiny.config(folder, model=dict(arch=tiny.ARCH, pooling="mean"))
    with pytest.raises(ValueError, match=r"model\.pooling='mean' is for networks that read texts"):
        prepare(complete(config), lambda line: None)
