"""The table's engine: everything accounted for, all problems at once, the same both ways."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from tl_jax.pretrained.rules import Ignore, Rule, TranslationError, to_ours, to_theirs
from tl_jax.pretrained.transforms import LINEAR, MEAN, MEAN_OF_HEADS

TABLE = (
    Rule("[net.]layer.{i}.dense.weight", "blocks/{i}/kernel", LINEAR),
    Rule("[net.]layer.{i}.dense.bias", "blocks/{i}/bias"),
    Rule(("one.weight", "two.weight"), "head/linear/kernel", MEAN_OF_HEADS),
    Rule(("one.bias", "two.bias"), "head/linear/bias", MEAN),
    Ignore("[net.]pooler.*", "not used"),
    Ignore("[net.]count", "a counter", np.zeros((), np.int64)),
)
SHAPES = {
    "blocks/0/kernel": (2, 3),
    "blocks/0/bias": (3,),
    "blocks/12/kernel": (3, 4),
    "blocks/12/bias": (4,),
    "head/linear/kernel": (8, 5),
    "head/linear/bias": (5,),
}
LEAVES = {path: jax.ShapeDtypeStruct(shape, jnp.float32) for path, shape in SHAPES.items()}


def _arrays(prefix: str = "net.") -> dict[str, np.ndarray]:
    shapes = {
        f"{prefix}layer.0.dense.weight": (3, 2),
        f"{prefix}layer.0.dense.bias": (3,),
        f"{prefix}layer.12.dense.weight": (4, 3),
        f"{prefix}layer.12.dense.bias": (4,),
        "one.weight": (5, 4),
        "two.weight": (5, 4),
        "one.bias": (5,),
        "two.bias": (5,),
        f"{prefix}pooler.dense.weight": (9, 9),
        f"{prefix}count": (),
    }
    random = np.random.default_rng(0)
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def _problems(arrays: dict[str, np.ndarray], **options: Any) -> tuple[str, ...]:
    with pytest.raises(TranslationError) as error:
        to_ours(arrays, TABLE, LEAVES, **options)
    assert all(problem in str(error.value) for problem in error.value.problems)
    return error.value.problems


@pytest.mark.parametrize("prefix", ["net.", ""])
def test_every_array_and_every_leaf_is_accounted_for(prefix: str) -> None:
    arrays = _arrays(prefix)
    result = to_ours(arrays, TABLE, LEAVES)
    assert {path: leaf.shape for path, leaf in result.leaves.items()} == SHAPES
    assert result.initialised == {}
    assert result.ignored == {f"{prefix}pooler.dense.weight": "not used", f"{prefix}count": "a counter"}
    assert {name for names in result.sources.values() for name in names} | set(result.ignored) == set(arrays)
    np.testing.assert_array_equal(
        result.leaves["blocks/12/kernel"], arrays[f"{prefix}layer.12.dense.weight"].T
    )


def test_two_heads_become_one_that_computes_their_mean() -> None:
    arrays = _arrays()
    leaves = to_ours(arrays, TABLE, LEAVES).leaves
    x, y = np.random.default_rng(1).normal(size=(2, 4)).astype(np.float32)
    wanted = (
        arrays["one.weight"] @ x + arrays["one.bias"] + arrays["two.weight"] @ y + arrays["two.bias"]
    ) / 2
    ours = np.concatenate([x, y]) @ leaves["head/linear/kernel"] + leaves["head/linear/bias"]
    np.testing.assert_allclose(ours, wanted, rtol=1e-5)


def test_there_and_back() -> None:
    leaves = to_ours(_arrays(), TABLE, LEAVES).leaves
    arrays = to_theirs(leaves, TABLE)
    assert set(arrays) == {name for name in _arrays() if "pooler" not in name}
    assert arrays["net.count"].dtype == np.int64
    assert all(array.flags.c_contiguous for array in arrays.values())
    again = to_ours(arrays, TABLE, LEAVES).leaves
    assert all(np.array_equal(again[path], leaves[path]) for path in leaves)


def test_half_precision_is_read_into_the_precision_of_the_leaf() -> None:
    for dtype in (np.float16, ml_dtypes.bfloat16, np.float64):
        arrays = {name: array.astype(dtype) for name, array in _arrays().items()}
        leaves = to_ours(arrays, TABLE, LEAVES).leaves
        assert {leaf.dtype for leaf in leaves.values()} == {np.dtype(np.float32)}
        mean = (arrays["one.bias"].astype(np.float32) + arrays["two.bias"].astype(np.float32)) / 2
        np.testing.assert_array_equal(leaves["head/linear/bias"], mean)


def test_a_leaf_never_shares_memory_with_the_checkpoint() -> None:
    arrays = _arrays()
    leaves = to_ours(arrays, TABLE, LEAVES).leaves
    assert not any(np.shares_memory(leaf, array) for leaf in leaves.values() for array in arrays.values())


def test_all_problems_at_once() -> None:
    arrays = _arrays()
    del arrays["net.layer.0.dense.bias"], arrays["two.bias"]
    arrays["net.layer.12.dense.weight"] = np.zeros((4, 7), np.float32)
    arrays["net.layer.12.dense.bias"] = np.zeros(4, np.int8)
    arrays["net.layer.13.dense.bias"] = np.zeros(4, np.float32)
    arrays["layer.0.dense.weight"] = arrays["net.layer.0.dense.weight"]
    arrays["net.layer.0.norm"] = np.zeros(3, np.float32)
    arrays["one.weight"] = np.zeros(5, np.float32)
    wanted = [
        ("missing", "'layer.0.dense.bias'", "'blocks/0/bias' (3)"),
        ("missing", "'two.bias'", "'head/linear/bias'"),
        ("'net.layer.12.dense.weight'", "(4, 7)", "(3, 4)", "a linear kernel"),
        ("'net.layer.12.dense.bias'", "int8"),
        ("unexpected", "'net.layer.13.dense.bias'", "'blocks/13/bias'"),
        ("'layer.0.dense.weight'", "'net.layer.0.dense.weight'", "both 'blocks/0/kernel'"),
        ("unexpected", "'net.layer.0.norm' (3)"),
        ("'one.weight', 'two.weight'", "(5), (5, 4)", "2 axes"),
    ]
    problems = _problems(arrays)
    assert len(problems) == len(wanted)
    for parts in wanted:
        assert any(all(part in problem for part in parts) for problem in problems), parts


def test_fresh_leaves_ignore_what_the_checkpoint_holds() -> None:
    why = dict.fromkeys(("head/linear/kernel", "head/linear/bias"), "other classes")
    arrays = _arrays()
    arrays["one.weight"] = np.zeros((1000, 4), np.float32)
    result = to_ours(arrays, TABLE, LEAVES, fresh=why)
    assert result.initialised == why
    assert {name for name, reason in result.ignored.items() if reason == "other classes"} == {
        "one.weight",
        "two.weight",
        "one.bias",
        "two.bias",
    }
    assert set(result.leaves) == set(LEAVES) - set(why)


def test_optional_leaves_may_be_absent_together_but_not_in_part() -> None:
    why = dict.fromkeys(("head/linear/kernel", "head/linear/bias"), "no head")
    arrays = {name: array for name, array in _arrays().items() if not name.startswith(("one", "two"))}
    result = to_ours(arrays, TABLE, LEAVES, optional=why)
    assert result.initialised == why
    assert to_ours(_arrays(), TABLE, LEAVES, optional=why).initialised == {}
    arrays["one.bias"] = np.zeros(5, np.float32)
    problems = _problems(arrays, optional=why)
    assert len(problems) == 2
    assert all("missing" in problem for problem in problems)


def test_a_gap_in_the_table_is_named_both_ways() -> None:
    extra = {**LEAVES, "neck/norm/scale": jax.ShapeDtypeStruct((3,), jnp.float32)}
    with pytest.raises(TranslationError, match=r"no rule .* covers leaf 'neck/norm/scale'"):
        to_ours(_arrays(), TABLE, extra)
    with pytest.raises(TranslationError, match=r"no rule .* covers leaf 'neck/norm/scale'"):
        to_theirs({"neck/norm/scale": np.zeros(3)}, TABLE)


def test_names_are_matched_whole_and_literally() -> None:
    for name in (
        "net.layer.x.dense.bias",
        "net.layer.0.dense.bias.more",
        "net_layer.0.dense.bias",
        "other.count",
    ):
        assert any(repr(name) in problem for problem in _problems({**_arrays(), name: np.zeros(3, "f4")}))
