"""LoRA: small updates beside layers that stay as they are, bit for bit."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

import tl_jax
from tests import tiny, tiny_texts
from tl_jax import freeze, lora, pretrained
from tl_jax.backbones.anatomy import merge, split
from tl_jax.completion import ConfigError
from tl_jax.config import complete
from tl_jax.job import prepare
from tl_jax.runs import run

SETTINGS = dict(rank=3, alpha=6.0, on=r".*/attention/(query|value)")
EVERYWHERE = dict(SETTINGS, on=".*")
GPT2 = dict(model_type="gpt2", vocab_size=40, n_positions=20, n_embd=16, n_layer=2, n_head=2)


def adapted(arch, settings, *, drawn=True):
    """A model with updates, which are not nothing where ``drawn``."""
    model, _ = pretrained.scratch(arch, num_classes=3)
    lora.add(model, settings)
    graph, params, stats = split(model)
    random = np.random.default_rng(0)
    for path in filter(lora.is_update, params) if drawn else ():
        params[path] = jnp.asarray(random.normal(size=params[path].shape, scale=0.3), jnp.float32)
    return merge(graph, params, stats), graph, params


def inputs(arch):
    if arch["model_type"] == "vit":
        return jax.random.normal(jax.random.key(1), (4, 32, 32, 1))
    return jax.random.randint(jax.random.key(1), (4, 9), 0, 20)


@pytest.mark.parametrize("settings", [SETTINGS, EVERYWHERE], ids=["query and value", "everywhere"])
@pytest.mark.parametrize("arch", [tiny.VIT, tiny_texts.ARCH], ids=["vit", "bert"])
def test_merged_weights_give_the_outputs_of_unmerged_ones(arch, settings):
    model, _, params = adapted(arch, settings)
    plain, _ = pretrained.scratch(arch, num_classes=3)
    graph, before, _ = split(plain)
    leaves = lora.merged(model, params)
    assert leaves.keys() == before.keys()
    ours, theirs, without = (one(inputs(arch)) for one in (model, merge(graph, leaves), plain))
    np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-5 * float(jnp.abs(ours).max()))
    assert not np.allclose(ours, without, atol=1e-3)


def test_the_fused_layer_of_gpt2_is_adapted_too():
    model, _, params = adapted(GPT2, dict(SETTINGS, on=r".*/attention/(query|value|qkv)"))
    assert [path for path in params if lora.is_update(path)][:2] == [
        f"blocks/0/attention/qkv/lora_{name}" for name in "ab"
    ]
    assert model(inputs(GPT2)).shape == (4, 3)


def test_a_network_begins_as_it_was():
    model, _, _ = adapted(tiny.VIT, EVERYWHERE, drawn=False)
    plain, _ = pretrained.scratch(tiny.VIT, num_classes=3)
    np.testing.assert_array_equal(model(inputs(tiny.VIT)), plain(inputs(tiny.VIT)))


def test_the_preset_trains_updates_and_the_head():
    model, _, params = adapted(tiny.VIT, SETTINGS)
    stage = complete(tiny.config("x", stages=[dict(name="lora", train="lora")])).stages[0]
    plan = freeze.plan(model, stage)
    trained = {path for path in params if plan.is_trained(path)}
    assert trained == {path for path in params if lora.is_update(path) or path.startswith("head/")}


def test_what_cannot_be_adapted_is_said(tmp_path):
    model, _ = pretrained.scratch(tiny.VIT, num_classes=3)
    with pytest.raises(ValueError, match=r"on='.*qury' matches no linear layer.*the nearest is 'blocks/"):
        lora.add(model, dict(SETTINGS, on=r".*qury"))
    model, _ = pretrained.scratch(tiny.ARCH, num_classes=3)
    with pytest.raises(ValueError, match="the blocks of this network have no linear layers"):
        lora.add(model, SETTINGS)
    folder = tiny.make_folder(tmp_path)
    stages = [dict(name="lora", train="lora", duration="1 epochs")]
    with pytest.raises(freeze.PlanError, match=r"set model\.lora\.rank"):
        prepare(complete(tiny.config(folder, model=dict(arch=tiny.VIT), stages=stages)), lambda line: None)
    with pytest.raises(ConfigError, match=r"model\.lora\.rank"):
        complete(tiny.config(folder, model=dict(arch=tiny.VIT, lora=dict(rank=-1))))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tiny.make_folder(tmp_path_factory.mktemp("pictures"))
    config = tiny.config(
        folder,
        model=dict(arch=tiny.VIT, lora=SETTINGS),
        stages=[dict(name="lora", train="lora", duration="3 epochs", lr=1e-2, weight_decay=0.1, clip=1.0)],
        ema=0.9,
    )
    workdir = tmp_path_factory.mktemp("runs") / "lora"
    run(config, workdir, quiet=True)
    return workdir, complete(config)


def test_frozen_leaves_stay_bit_for_bit_and_the_folder_needs_no_lora(finished):
    workdir, config = finished
    job = prepare(config, lambda line: None)
    arrays = load_file(workdir / "model" / "model.safetensors")
    assert not any("lora" in name for name in arrays)
    model, _ = tl_jax.load_pretrained(workdir)
    _, params, _ = split(model)
    touched = 0
    for path, leaf in job.base_params.items():
        if lora.is_update(path):
            continue
        same = np.array_equal(params[path], leaf)
        moves = path.startswith("head/") or f"{path.rpartition('/')[0]}/{lora.A}" in job.base_params
        moves = moves and not (path.startswith("blocks/") and path.endswith("bias"))
        assert same != moves, path
        touched += moves
    assert touched == 2 + 2 * tiny.VIT["num_hidden_layers"]


def test_the_folder_predicts_what_was_measured(finished):
    from tl_jax.finished import open_run

    workdir, _ = finished
    found = open_run(workdir)
    logits = found.logits(found.data().test)
    lines = (workdir / "predictions_test.csv").read_text().splitlines()
    at = lines[0].split(",").index("logit_a")
    ours = np.array([[float(value) for value in line.split(",")[at : at + 2]] for line in lines[1:]])
    np.testing.assert_allclose(logits, ours, rtol=1e-4, atol=1e-4)


def test_a_checkpoint_holds_the_updates_the_head_and_what_the_rest_is(tmp_path):
    """Of weights that have been loaded; a network from scratch has none that could be found again."""
    weights = tiny_texts.make_weights(tmp_path / "bert")
    texts = tiny_texts.make_texts(tmp_path / "texts")
    config = tiny_texts.config(
        texts,
        weights,
        model=dict(pretrained=str(weights), lora=SETTINGS),
        stages=[dict(name="lora", train="lora", duration="1 epochs", lr=1e-2)],
    )
    job = prepare(complete(config), lambda line: None)
    updates = {
        f"blocks/{i}/attention/{part}/lora_{leaf}"
        for i in range(3)
        for part in ("query", "value")
        for leaf in "ab"
    }
    assert job.touched(0) == updates | {"head/linear/kernel", "head/linear/bias"}
