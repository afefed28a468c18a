# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Operations of a step, against sums on paper."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from pali import optim
from pali.checkpoints import pretrained
from pali.training import flops


def shaped(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def test_products_are_two_operations_for_each_term():
    assert flops.count(jnp.dot, shaped(3, 5), shaped(5, 7)) == 2 * 3 * 5 * 7
    batched = lambda a, b: jnp.einsum("bij,bjk->bik", a, b)  # noqa: E731
    assert flops.count(batched, shaped(2, 3, 5), shaped(2, 5, 7)) == 2 * 2 * 3 * 5 * 7


def test_a_convolution():
    run = lambda x, k: jax.lax.conv_general_dilated(  # noqa: E731
        x, k, (4, 4), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    assert flops.count(run, shaped(2, 8, 8, 3), shaped(4, 4, 3, 6)) == 2 * (2 * 2 * 2 * 6) * 48


def test_loops_count_each_turn_and_conditions_one_branch():
    def run(x, w):
        x, _ = jax.lax.scan(lambda x, _: (x @ w, None), x, None, length=9)
        return jax.lax.cond(x[0, 0] > 0, lambda: x @ w, lambda: x)

    assert flops.count(jax.jit(run), shaped(4, 4), shaped(4, 4)) == 10 * 2 * 4**3


def test_what_has_no_result_is_nothing():
    def run(x):
        jax.debug.callback(lambda _: None, x)
        return x @ x

    assert flops.count(run, shaped(4, 4)) == 2 * 4**3


def test_what_nobody_reads_is_nothing():
    run = lambda x: (x @ x, (x @ x) @ x)[0]  # noqa: E731
    assert flops.count(run, shaped(4, 4)) == 2 * 4**3


def test_what_is_frozen_is_counted_forward_alone():
    def loss(trained, frozen, x):
        return jnp.sum((x @ frozen) @ trained)

    shapes = shaped(6, 6), shaped(6, 6), shaped(5, 6)
    once = 2 * 5 * 6 * 6
    assert flops.count(jax.grad(loss), *shapes) in (2 * once, 3 * once)  # the loss itself may go
    both = jax.grad(loss, argnums=(0, 1))
    assert flops.count(both, *shapes) > flops.count(jax.grad(loss), *shapes)


ROWS, PROMPT, TARGET = 3, 8, 4


def batch(config, picture):
    """What a step reads, as shapes."""
    words = {"inputs": PROMPT, "targets": TARGET}
    ids = {name: jax.ShapeDtypeStruct((ROWS, n), jnp.int32) for name, n in words.items()}
    return [
        {
            **picture,
            "image_mask": jax.ShapeDtypeStruct((ROWS,), jnp.bool_),
            "encoder_input_tokens": ids["inputs"],
            "decoder_input_tokens": ids["targets"],
            "decoder_target_tokens": ids["targets"],
            "decoder_loss_weights": shaped(ROWS, TARGET),
            "label": jax.ShapeDtypeStruct((ROWS,), jnp.int32),
        }
    ]


def test_a_step_counts_a_frozen_vit_forward_alone_and_a_cached_one_not(config, monkeypatch):
    monkeypatch.setitem(flops.PEAKS, jax.devices()[0].device_kind, 1e9)
    vit = config.model.vit
    params = pretrained.expected_params(config.model)
    trained, frozen = optim.partition(params, config.optim.freeze)
    image = jax.ShapeDtypeStruct((ROWS, *vit.image_shape, 3), jnp.uint8)
    cached = {"visual_tokens": shaped(ROWS, vit.num_visual_tokens, vit.width)}

    def seconds(config, picture):
        return flops.of_step(config, trained, frozen, batch(config, picture)) * jax.device_count()

    # Of each patch: its embedding; in each layer four kernels of attention, scores and their sum
    # over all patches, and two kernels of the MLP.
    p, d = vit.num_visual_tokens, vit.width
    layer = 4 * d * d + 2 * p * d + 2 * d * vit.mlp_dim
    forward = 2 * ROWS * p * (3 * vit.patch_size**2 * d + vit.depth * layer)
    both = seconds(config, {"image": image})
    assert both - seconds(config, cached) == pytest.approx(forward / 1e9, rel=1e-6)
    # What remat computes again is no progress.
    mt5 = dataclasses.replace(config.model.mt5, remat="full")
    model = dataclasses.replace(config.model, mt5=mt5)
    again = dataclasses.replace(config, model=model)
    assert seconds(again, {"image": image}) == both


@pytest.mark.parametrize(
    ("kind", "rate"),
    [
        ("NVIDIA H200", 989e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("TPU v5 lite", 197e12),
        ("TPU v5p", 459e12),
        ("cpu", None),
    ],
)
def test_peaks_by_the_longest_name(kind, rate):
    assert flops.peak(kind) == rate
