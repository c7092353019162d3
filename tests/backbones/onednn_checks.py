"""oneDNN's paths against XLA's own. They are taken on one device only, where tests have eight: this file is
run as a program by `test_onednn`, and prints what was compared."""

import os
from contextlib import contextmanager, nullcontext
from functools import partial

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from flax import nnx  # noqa: E402

from tl_jax import programs  # noqa: E402
from tl_jax.backbones import (  # noqa: E402
    batch_norm,
    convolution,
    depthwise,
    hf_config,
    layer_norm,
    onednn,
    pooling,
    product,
)

RNG = np.random.default_rng(0)


def numbers(*shape):
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


def compare(name, ours, reference, *arguments):
    """Values, alone and with gradients, and all gradients; the reference's in float64."""
    called = "__onednn" in jax.jit(ours).lower(*arguments).as_text()
    assert called or "pool" in name or "norm" in name, name
    found, backward = jax.jit(lambda *a: jax.vjp(ours, *a))(*arguments)
    wide = [argument.astype(jnp.float64) for argument in arguments]
    expected, reference_backward = jax.vjp(reference, *wide)
    grad = numbers(*found.shape)
    wide_grad = grad.astype(jnp.float64)
    found = (jax.jit(ours)(*arguments), found, *backward(grad))
    expected = (expected, expected, *reference_backward(wide_grad))
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == jnp.float32, name
        assert one.shape == other.shape, name
        scale = float(jnp.abs(other).max())
        np.testing.assert_allclose(one / scale, other / scale, atol=3e-6, err_msg=name)
    print("same:", name)


def xla_depthwise(x, kernel):
    with avoided():
        return depthwise.conv(x, kernel)


def xla(x, kernel, stride, pad=True):
    with avoided():
        return convolution.conv(x, kernel, stride=stride, pad=pad)


@contextmanager
def avoided():
    os.environ[onednn.SWITCH] = "0"
    try:
        yield
    finally:
        del os.environ[onednn.SWITCH]


def check_counts(name, function, *arguments):
    """Operations of a compiled gradient, by our path and by XLA's own: equal but for taps on the border, of
    which XLA knows that they meet nothing, and for what is done to each number."""
    counts = []
    for path in (nullcontext, avoided):
        with path():
            gradient = jax.jit(lambda *a: jax.vjp(function, *a)[1](function(*a)))
            counts.append(programs.flops(gradient.lower(*arguments).compile()))
    assert 0.95 < counts[0] / counts[1] < 1.15, (name, counts)
    print("same count:", name)


def xla_pool(pool, x):
    with avoided():
        return pool(x)


def main():
    assert onednn.available()
    for height, width, inputs, outputs, size, stride in (
        (8, 8, 16, 24, 3, 1),
        (8, 10, 16, 24, 3, 2),
        (7, 9, 16, 24, 3, 2),
        (1, 1, 16, 8, 3, 2),
        (7, 7, 16, 20, 1, 2),
        (8, 8, 16, 20, 1, 2),
        (8, 8, 16, 16, 1, 1),
        (9, 9, 20, 16, 5, 1),
        (9, 8, 20, 16, 5, 2),
        (16, 16, 3, 8, 7, 2),
        (12, 13, 17, 8, 7, 2),
    ):
        compare(
            f"convolution {size} × {size}, stride {stride}, of {height} × {width} × {inputs}",
            lambda x, kernel, stride=stride: convolution.conv(x, kernel, stride=stride),
            lambda x, kernel, stride=stride: xla(x, kernel, stride),
            numbers(2, height, width, inputs),
            numbers(size, size, inputs, outputs),
        )
    for size, height, width, channels in ((7, 9, 6, 5), (7, 2, 3, 16), (3, 8, 8, 4), (7, 2, 67, 2)):
        compare(
            f"depthwise {size} × {size}, of {height} × {width} × {channels}",
            depthwise.conv,
            xla_depthwise,
            numbers(2, height, width, channels),
            numbers(size, size, 1, channels),
        )
    for height, width, size, stride, pad in (
        (8, 9, (1, 7), 1, True),
        (8, 9, (7, 1), 1, True),
        (5, 6, (3, 1), 1, True),
        (8, 9, (3, 3), 1, False),
        (8, 9, (3, 3), 2, False),
        (3, 4, (3, 3), 2, False),
    ):
        compare(
            f"convolution {size}, stride {stride}, padded {pad}, of {height} × {width}",
            lambda x, kernel, stride=stride, pad=pad: convolution.conv(x, kernel, stride=stride, pad=pad),
            partial(xla, stride=stride, pad=pad),
            numbers(2, height, width, 16),
            numbers(*size, 16, 24),
        )
    for transpose_a in (False, True):
        for transpose_b in (False, True):
            compare(
                f"product {transpose_a} {transpose_b}",
                lambda a, b, ta=transpose_a, tb=transpose_b: product.product(a, b, ta, tb),
                lambda a, b, ta=transpose_a, tb=transpose_b: turned(a, ta) @ turned(b, tb),
                turned(numbers(3, 5, 7), transpose_a),
                turned(numbers(3, 7, 4), transpose_b),
            )
    dimensions = (((2,), (0,)), ((), ()))
    compare(
        "linear",
        lambda x, kernel: product.linear(x, kernel, dimensions),
        lambda x, kernel: x @ kernel,
        numbers(2, 5, 7),
        numbers(7, 4),
    )
    compare(
        "attention", product.attention, jax.nn.dot_product_attention, *(numbers(2, 9, 3, 8) for _ in range(3))
    )
    compare(
        "layers together",
        lambda x, q, k: jnp.concatenate(product.together((layer(q), layer(k)), x), axis=-1),
        lambda x, q, k: jnp.concatenate([x @ q, x @ k], axis=-1),
        numbers(2, 5, 7),
        numbers(7, 4),
        numbers(7, 6),
    )
    compare(
        "GELU of a layer",
        lambda x, kernel, bias: product.activated(layer(kernel, bias), hf_config.gelu, x),
        lambda x, kernel, bias: jax.nn.gelu(x @ kernel + bias, approximate=False),
        numbers(2, 5, 7),
        numbers(7, 4),
        numbers(4),
    )
    compare(
        "layer norm",
        lambda x, scale, bias: layer_norm.normalised(x, scale, bias, 1e-6),
        lambda x, scale, bias: jax.nn.standardize(x, epsilon=1e-6) * scale + bias,
        3 * numbers(9, 16) + 5,
        numbers(16),
        numbers(16),
    )
    compare(
        "batch norm",
        lambda x, scale, bias: batch_norm.normalised(x, scale, bias, 1e-6)[0],
        lambda x, scale, bias: jax.nn.standardize(x, axis=0, epsilon=1e-6) * scale + bias,
        3 * numbers(40, 8) + 5,
        numbers(8),
        numbers(8),
    )
    vmapped = jax.vmap(lambda x, kernel: convolution.conv(x, kernel), in_axes=(0, None))
    compare(
        "convolution under vmap",
        vmapped,
        jax.vmap(lambda x, kernel: xla(x, kernel, 1), in_axes=(0, None)),
        numbers(3, 2, 6, 6, 4),
        numbers(3, 3, 4, 5),
    )
    for height, width in ((8, 8), (7, 9), (8, 5), (1, 1)):  # of few values, so that there are equal maxima
        x = jnp.asarray(RNG.integers(-2, 3, size=(2, height, width, 3)), jnp.float32)
        for size, border in ((3, 1), (3, 0), (2, 0)):
            if min(height, width) + 2 * border >= size:
                pool = partial(pooling.max_pool, size=size, border=border)
                compare(f"max-pool of {height} × {width}, {size}, {border}", pool, partial(xla_pool, pool), x)
    spoilt = pooling.max_pool(jnp.zeros((1, 4, 4, 1)).at[0, 1, 1].set(jnp.nan).astype(jnp.float32))
    assert np.isnan(spoilt).all()
    check_counts("convolution", convolution.conv, numbers(2, 32, 32, 16), numbers(3, 3, 16, 24))
    check_counts("product", product.attention, *(numbers(2, 64, 3, 32) for _ in range(3)))
    half = [x.astype(jnp.bfloat16) for x in (numbers(2, 6, 6, 4), numbers(3, 3, 4, 5))]
    assert convolution.conv(*half).dtype == jnp.bfloat16
    assert "__onednn" not in jax.jit(convolution.conv).lower(*half).as_text()
    print("done")


def layer(kernel, bias=None):
    made = nnx.Linear(*kernel.shape, use_bias=bias is not None, rngs=nnx.Rngs(0))
    made.kernel[...] = kernel
    if bias is not None:
        made.bias[...] = bias
    return made


def turned(x, yes):
    return x.swapaxes(-1, -2) if yes else x


if __name__ == "__main__":
    main()
