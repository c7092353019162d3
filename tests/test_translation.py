"""A job on pairs from its config to what it writes: every part does for them what it does for the others."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests import tiny_pairs, tiny_texts
from tests.test_resume import StopAfter
from tl_jax import evaluate, export, features, predict
from tl_jax.config import complete
from tl_jax.interrupt import Interrupted
from tl_jax.job import prepare
from tl_jax.report import __main__ as report
from tl_jax.runs import run


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return tiny_pairs.make_weights(tmp_path_factory.mktemp("weights") / "gpt2")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Path:
    return tiny_pairs.make_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def finished(pairs, weights, tmp_path_factory) -> Path:
    workdir = tmp_path_factory.mktemp("runs") / "finished"
    run(tiny_pairs.config(pairs, weights, report=dict(enabled=True)), workdir, quiet=True)
    return workdir


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_it_learns(finished):
    result = json.loads((finished / "result.json").read_text())
    test = result["test"]
    assert test["bleu"]["value"] > 60
    assert test["token_accuracy"]["value"] > 0.8
    assert result["input"] == {"longest": 16, "separator": [1], "end": 0}
    assert "intervals: 95 %" in (finished / "log.txt").read_text()


def test_what_was_written_stands_beside_what_was_to_be(finished, pairs):
    found = rows(finished / "predictions_test.csv")
    given = rows(pairs / "test.csv")
    assert [(row["source"], row["reference"], row["region"]) for row in found] == [
        (row["low"], row["high"], row["region"]) for row in given
    ]
    exact = [float(row["hypothesis"] == row["reference"]) for row in found]
    assert exact == [float(row["exact"]) for row in found]
    result = json.loads((finished / "result.json").read_text())
    assert result["test"]["exact_match"]["value"] == pytest.approx(np.mean(exact))


def test_the_report_shows_what_was_written(finished):
    page = (finished / "report.html").read_text()
    assert "Texts worth a look" in page
    assert "BLEU by length" in page
    found = rows(finished / "predictions_test.csv")
    longest = max((row for row in found if row["exact"] == "1"), key=lambda row: float(row["tokens"]))
    assert f"<blockquote>{longest['source']}</blockquote>" in page
    assert longest["reference"] in page
    assert report.main(["report", f"--workdir={finished}"]) == 0
    assert (finished / "report.html").read_text() == page


@pytest.mark.slow
def test_interrupted_it_ends_with_the_same_bits(finished, pairs, weights, tmp_path):
    config = tiny_pairs.config(pairs, weights)
    with pytest.raises(Interrupted):
        run(config, tmp_path, stop=StopAfter(29), quiet=True)
    run(config, tmp_path, quiet=True)
    for name in ("model/model.safetensors", "predictions_test.csv"):
        assert (tmp_path / name).read_bytes() == (finished / name).read_bytes()


@pytest.mark.slow
def test_micro_batches_learn_the_same(pairs, tmp_path):
    """Without dropout, whose keys are a part's own."""
    still = dict(embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0)
    weights = tiny_pairs.make_weights(tmp_path / "gpt2", **still)
    stage = dict(name="all", duration="2 epochs", train="all", lr=1e-3)
    found = []
    for parts in (1, 4):
        config = tiny_pairs.config(pairs, weights, stages=[stage], accumulate=parts)
        run(config, tmp_path / str(parts), quiet=True)
        found.append(load_file(tmp_path / str(parts) / "model/model.safetensors"))
    for name, leaf in found[0].items():
        np.testing.assert_allclose(found[1][name], leaf, rtol=1e-4, atol=2e-5, err_msg=name)


@pytest.mark.slow
def test_the_frozen_prefix_kept_or_not_the_run_is_the_same(pairs, weights, tmp_path):
    found = {}
    for prefix in ("off", "on"):
        stage = dict(name="top", duration="3 epochs", train="last 1", lr=3e-3)
        config = tiny_pairs.config(pairs, weights, stages=[stage], cache=dict(prefix=prefix, dir=""))
        result = run(config, tmp_path / prefix, quiet=True)
        found[prefix] = (
            result["test"]["nll"]["value"],
            load_file(tmp_path / prefix / "model/model.safetensors"),
        )
    np.testing.assert_allclose(found["on"][0], found["off"][0], rtol=2e-4)
    for name, leaf in found["off"][1].items():
        np.testing.assert_allclose(found["on"][1][name], leaf, rtol=1e-4, atol=2e-5, err_msg=name)


@pytest.mark.slow
def test_streamed_or_resident_the_run_is_the_same(pairs, weights, tmp_path):
    stage = dict(name="all", duration="2 epochs", train="all", lr=1e-3)
    found = []
    for budget in (0, 10**9):
        config = tiny_pairs.config(pairs, weights, stages=[stage])
        config["data"]["device_budget"] = budget
        run(config, tmp_path / str(budget), quiet=True)
        found.append(load_file(tmp_path / str(budget) / "model/model.safetensors"))
    for name, leaf in found[0].items():
        np.testing.assert_allclose(found[1][name], leaf, rtol=1e-4, atol=2e-5, err_msg=name)


def test_new_texts_are_translated(finished, tmp_path, capsys):
    (tmp_path / "new.txt").write_text("sun moon\n\nrain\n")
    flags = [f"--workdir={finished}", f"--input={tmp_path / 'new.txt'}", f"--output={tmp_path / 'out.csv'}"]
    assert predict.main(["predict", *flags]) == 0
    found = [(row["id"], row["hypothesis"]) for row in rows(tmp_path / "out.csv")]
    assert found == [("1", "MOON SUN"), ("3", "RAIN")]
    assert "2 texts written" in capsys.readouterr().out


def test_the_test_split_is_measured_again(finished, pairs, tmp_path):
    flags = [f"--workdir={finished}", f"--data.manifest={pairs / 'test.csv'}", f"--output={tmp_path / 'out'}"]
    assert evaluate.main(["evaluate", *flags, "--by=region"]) == 0
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    own = json.loads((finished / "result.json").read_text())["test"]
    assert found["overall"]["bleu"] == own["bleu"]
    assert found["overall"]["nll"]["value"] == pytest.approx(own["nll"]["value"], rel=1e-5)
    assert set(found["by"]["region"]) == {"a", "b"}


def test_export_is_a_language_model(finished, tmp_path):
    assert export.main(["export", f"--workdir={finished}", f"--output={tmp_path / 'model'}"]) == 0
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["architectures"] == ["GPT2LMHeadModel"]
    assert config["eos_token_id"] == 0
    assert (tmp_path / "model" / "tokenizer.json").exists()


@pytest.mark.slow
def test_transformers_writes_the_same_by_the_exported_model(finished):
    torch = pytest.importorskip("torch", reason="pip install -e '.[reference]'")
    import transformers

    folder = finished / "model"
    model = transformers.GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    for row in rows(finished / "predictions_test.csv")[:12]:
        prompt = tokenizer(row["source"] + " <to>", return_tensors="pt")
        out = model.generate(
            input_ids=prompt["input_ids"],
            attention_mask=prompt["attention_mask"],
            max_new_tokens=8,
            do_sample=False,
            num_beams=2,
        )
        written = tokenizer.decode(out[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True)
        assert written.strip() == row["hypothesis"]


def test_features_are_those_of_blocks(finished, pairs, tmp_path):
    """Neck and head keep tokens apart."""
    flags = [f"--workdir={finished}", f"--output={tmp_path / 'f.npz'}"]
    with pytest.raises(ValueError, match="a block gives their mean, such as blocks/1"):
        features.main(["features", *flags, "--layer=neck"])
    assert features.main(["features", *flags, "--layer=blocks/1"]) == 0
    with np.load(tmp_path / "f.npz") as found:
        assert found["features"].shape == (256 + 24 + 32, 32)


def test_its_weights_go_on_to_other_pairs(finished, pairs, tmp_path):
    """By the workdir: head, words and all."""
    stage = dict(name="all", duration="1 steps", train="all", lr=1e-9)
    result = run(tiny_pairs.config(pairs, finished, stages=[stage]), tmp_path, quiet=True)
    own = json.loads((finished / "result.json").read_text())
    assert result["test"]["nll"]["value"] == pytest.approx(own["test"]["nll"]["value"], rel=1e-3)
    assert "0 initialised" in (tmp_path / "log.txt").read_text()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(model=dict(pooling="last")), "model.pooling='last' makes one vector of a text"),
        (dict(loss=dict(class_weights="balanced")), "loss.class_weights concerns classes"),
        (dict(data=dict(separator="")), "data.separator='' is no token"),
        (dict(data=dict(max_tokens=64)), "data.max_tokens=64 is more than the 16"),
        (
            dict(data=dict(columns=dict(target=""))),
            "data.columns.target: is empty; task='translation' learns",
        ),
        (dict(task="classification"), "data.columns.target: found 'high'; task='classification' learns from"),
        (dict(select=dict(metric="accuracy")), "task='translation' measures, and allowed are:"),
    ],
)
def test_what_does_not_fit_is_said(changes, words, pairs, weights):
    config = tiny_pairs.config(pairs, weights)
    for key, value in changes.items():
        config[key] = {**config.get(key, {}), **value} if isinstance(value, dict) else value
    if "columns" in changes.get("data", {}):
        config["data"]["columns"] = dict(text="low", **changes["data"]["columns"])
    with pytest.raises(ValueError) as error:
        prepare(complete(config), lambda line: None)
    assert words in str(error.value)


def test_a_network_must_tell_the_next_token(pairs, tmp_path):
    weights = tiny_texts.make_weights(tmp_path / "bert")
    with pytest.raises(ValueError, match=r"tells the next token.* this one is 'bert'"):
        prepare(complete(tiny_pairs.config(pairs, weights)), lambda line: None)


def test_a_text_must_have_an_end(pairs, tmp_path):
    weights = tiny_pairs.make_weights(tmp_path / "gpt2", eos_token_id=99)
    with pytest.raises(ValueError, match="no token that ends a text"):
        prepare(complete(tiny_pairs.config(pairs, weights)), lambda line: None)


def test_a_classifier_of_its_weights_needs_a_pooling(finished, tmp_path):
    texts = tiny_texts.make_texts(tmp_path / "texts")
    config = tiny_texts.config(texts, finished)
    with pytest.raises(ValueError, match=r"set model\.pooling to 'last' or 'mean'"):
        prepare(complete(config), lambda line: None)
    config["model"]["pooling"] = "last"
    assert not prepare(complete(config), lambda line: None).model.spec.sequence
