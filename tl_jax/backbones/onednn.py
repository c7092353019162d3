"""oneDNN's convolution, matrix product and layer norm on a CPU, reached through XLA's custom calls.

XLA:CPU convolves with Eigen, at a third to four fifths of the processor's speed, and is as slow at the
product of a tall transposed matrix, which every weight gradient is. The library that PyTorch calls is in
jaxlib too, as custom calls that no flag emits for convolutions; `jax.ffi` may. They are an inside of XLA, so
they are used only where they were tested: see `available`.
"""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Mapping
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
from jaxlib import version as jaxlib_version

TESTED = ("0.10.", "0.11.", "0.12.")
"""Releases of jaxlib whose custom calls were compared with `jax.lax`."""

SWITCH = "TL_JAX_ONEDNN"
"""Environment variable; "0" has everything computed by XLA's own kernels."""


def available(*operands: jax.Array) -> bool:
    """Whether these functions may be called, on these operands: on a CPU backend of one device (several cut
    the batch, which XLA cannot do to a custom call), Linux on x86-64, a tested jaxlib, float32, and not
    switched off."""
    return (
        os.environ.get(SWITCH, "1") != "0"
        and all(operand.dtype == jnp.float32 for operand in operands)
        and jax.default_backend() == "cpu"
        and jax.device_count() == 1
        and (platform.system(), platform.machine()) == ("Linux", "x86_64")
        and jaxlib_version.__version__.startswith(TESTED)
    )


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    *,
    stride: int,
    padding: tuple[tuple[int, int], tuple[int, int]],
    groups: int = 1,
) -> jax.Array:
    """x (B, h, w, in) with a kernel (k, l, in / groups, out): (B, h', w', out), all float32. ``padding`` is
    (before, after) of height and width."""
    sizes = kernel.shape[:2]
    height, width = (
        (length + sum(pad) - size) // stride + 1
        for length, pad, size in zip(x.shape[1:3], padding, sizes, strict=True)
    )
    data = {"dims": 4, "data": {"batch_dim": 0, "feature_dim": 3, "spatial_dims": [1, 2]}}
    filters = {"input_feature_dim": 2, "output_feature_dim": 3, "spatial_dims": [0, 1]}
    config = {
        "dims": 4,
        "input": data,
        "kernel": {"dims": 4, "filter": filters},
        "output": data,
        "window": {
            "size": list(sizes),
            "pad_left": [before for before, _ in padding],
            "pad_right": [after for _, after in padding],
            "strides": [stride, stride],
            "window_dilations": [1, 1],
        },
        "feature_groups": groups,
    }
    out = (x.shape[0], height, width, kernel.shape[3])
    return _call("convolution", {"onednn_conv_config": config}, out, x, kernel)


def matmul(a: jax.Array, b: jax.Array, *, transpose_a: bool = False, transpose_b: bool = False) -> jax.Array:
    """The product of two float32 matrices, either transposed first; or of as many as leading axes say."""
    rows = a.shape[-1] if transpose_a else a.shape[-2]
    columns = b.shape[-2] if transpose_b else b.shape[-1]
    config = {"onednn_matmul_config": {"transpose_a": transpose_a, "transpose_b": transpose_b}}
    return _call("matmul", config, (*a.shape[:-2], rows, columns), a, b)


def layer(a: jax.Array, b: jax.Array, bias: jax.Array, *, gelu: bool = False) -> jax.Array:
    """a (n, in) times b (in, out) plus bias (out,), all float32; if asked, the GELU of that, by erf."""
    config = {"onednn_matmul_config": {"fusions": {"ops": ["BIAS", "GELU_ERF"] if gelu else ["BIAS"]}}}
    return _call("matmul", config, (a.shape[0], b.shape[1]), a, b, bias[None])


def layer_norm(x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float) -> jax.Array:
    """Each row of x (n, c) to mean 0 and variance 1, times scale (c,) plus bias (c,), all float32."""
    bits = int(np.float32(epsilon).view(np.int32))  # so it is handed over
    config = {"onednn_layer_norm_config": {"rescale": "SCALE_AND_SHIFT", "epsilon_typecast": bits}}
    return _call("layernorm", config, x.shape, x, scale, bias)


def flops(program: str) -> float:
    """Floating-point operations of the calls in a compiled program's text, in which XLA counts nothing."""
    shapes = {name: _sizes(sizes) for name, sizes in _DEFINITION.findall(program)}
    total = 0.0
    for name, first, second, kind in _CALL.findall(program):
        out = shapes[name]
        summed = {"convolution": prod(shapes[second][:-1]), "matmul": prod(shapes[first]) // prod(out[:-1])}
        total += 2 * prod(out) * summed[kind]
    return total


_DEFINITION = re.compile(r"%(\S+) = f32\[([\d,]*)\]")
_CALL = re.compile(
    r"%(\S+) = f32\[.*? custom-call\(%(\S+), %(\S+?)(?:, %\S+)?\), "
    r'custom_call_target="__onednn\$(convolution|matmul)"'
)


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(size) for size in text.split(",") if size)


def _call(name: str, config: Mapping[str, object], shape: tuple[int, ...], *operands: jax.Array) -> jax.Array:
    function = jax.ffi.ffi_call(
        f"__onednn${name}",
        jax.ShapeDtypeStruct(shape, operands[0].dtype),
        vmap_method="sequential",
        custom_call_api_version=1,  # XLA's own calls take their settings as text, which is that of version 1
        legacy_backend_config=json.dumps(config),
    )
    return function(*operands)
