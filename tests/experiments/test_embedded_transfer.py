"""Both arms of the comparison differ in nothing but the weights they start from."""

from __future__ import annotations

from experiments import embedded_transfer
from tl_jax import backbones, pretrained
from tl_jax import config as configs


def test_the_arms_differ_only_in_their_weights() -> None:
    ours, theirs = (
        configs.complete(embedded_transfer.variation(arm, 1e-3, 3, 0.2, 200))
        for arm in ("pretrained", "scratch")
    )
    configs.validate(ours)
    configs.validate(theirs)
    differing = {line.partition(":")[0].split(".")[0] for line in configs.differences(ours, theirs)}
    assert differing == {"model", "preprocess"}


def test_scratch_has_the_same_network() -> None:
    arch = embedded_transfer.variation("scratch", 1e-3, 0, 0.2, 200).model.arch.to_dict()
    facts = pretrained.inspect("embedded")
    family = backbones.family(arch)
    same = ("hidden_sizes", "depths", "embedding_size", "layer_type", "num_channels")
    assert {key: arch[key] for key in same} == {key: facts.config[key] for key in same}
    assert family is backbones.family(facts.config)
