# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""pali.models.mt5 against Hugging Face's MT5 and UMT5 on torch, and against itself.

Tolerances, float32: 1e-5 for one layer, 1e-4 for a stack, absolute and relative alike.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from transformers.models.mt5.modeling_mt5 import MT5Attention

from pali.checkpoints import merge
from pali.models import mt5
from pali.models.mt5 import MT5
from pali.models.relative_bias import RelativeBias, relative_buckets
from tests.models import parity

LAYER = dict(rtol=1e-5, atol=1e-5)
STACK = dict(rtol=1e-4, atol=1e-4)
ROUNDING = dict(rtol=2e-5, atol=2e-5)

UNROLLED = parity.MT5
SCANNED = dataclasses.replace(UNROLLED, scan=True)

both_families = pytest.mark.parametrize("unrolled", [parity.MT5, parity.UMT5], indirect=True)
"""Of a test that shows where the bias of positions belongs: to a stack (mT5), to a layer (umT5)."""


@pytest.fixture(scope="module")
def unrolled(request):
    return getattr(request, "param", UNROLLED)


@pytest.fixture(scope="module")
def scanned(unrolled):
    return dataclasses.replace(unrolled, scan=True)


@pytest.fixture(scope="module")
def theirs(unrolled):
    return parity.hugging_face_mt5(unrolled)


@pytest.fixture(scope="module")
def params(theirs):
    """Stacked, for SCANNED."""
    return merge.stack_layers(parity.mt5_params(theirs))


def draw_batch(source: int, target: int) -> dict:
    """Three examples, the second and third padded; embeddings as visual tokens would be."""
    rng = np.random.default_rng(0)
    lengths = np.array([[source], [2 * source // 3], [3]])
    return {
        "embedded": jnp.asarray(rng.normal(size=(3, source, UNROLLED.width)), jnp.float32),
        "mask": jnp.asarray(np.arange(source) < lengths),
        "targets": jnp.asarray(rng.integers(2, UNROLLED.vocab_size, (3, target)), jnp.int32),
    }


@pytest.fixture(scope="module")
def long_batch():
    """Beyond distance 128 all positions share the last bucket."""
    return draw_batch(200, 150)


@pytest.fixture(scope="module")
def batch():
    return draw_batch(21, 12)


@functools.cache
def jitted(config, method):
    return jax.jit(functools.partial(MT5(config).apply, method=method))


def apply(params, method, *args, config=SCANNED):
    return jitted(config, method)({"params": params}, *args)


def forward(params, batch, config=SCANNED):
    encoded = apply(params, "encode", batch["embedded"], batch["mask"], config=config)
    return apply(params, "decode", encoded, batch["mask"], batch["targets"], config=config)


def to_torch(array):
    return torch.tensor(np.asarray(array))


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("num_buckets", "max_distance"), [(32, 128), (32, 64), (8, 20)])
def test_relative_buckets_equal_hugging_face(bidirectional, num_buckets, max_distance):
    offsets = np.arange(-400, 401)
    sizes = dict(bidirectional=bidirectional, num_buckets=num_buckets, max_distance=max_distance)
    expected = MT5Attention._relative_position_bucket(torch.tensor(offsets), **sizes)
    np.testing.assert_array_equal(relative_buckets(jnp.asarray(offsets), **sizes), expected)


def shared_bias(params, stack, length):
    """What mT5's layers have in common; of umT5 nothing."""
    if "relpos_bias" not in params[stack]:
        return None
    bias = RelativeBias(UNROLLED, bidirectional=stack == "encoder")
    positions = jnp.arange(length)
    return bias.apply({"params": params[stack]["relpos_bias"]}, positions, positions)


@both_families
def test_encoder_and_its_layers_equal_hugging_face_from_embeddings(
    unrolled, scanned, theirs, params, long_batch
):
    embedded, mask = long_batch["embedded"], long_batch["mask"]
    calls = [parity.recorded(block) for block in theirs.encoder.block]
    with torch.no_grad():
        expected = theirs.encoder(
            inputs_embeds=to_torch(embedded), attention_mask=to_torch(mask)
        ).last_hidden_state.numpy()

    bias = shared_bias(params, "encoder", embedded.shape[1])
    block = jax.jit(mt5.EncoderBlock(unrolled).apply)
    for i, [(before, after)] in enumerate(calls):
        layer = {"params": merge.unstack_layers(params)["encoder"][f"layers_{i}"]}
        ours, _ = block(layer, before, None, mask[:, None, None, :], bias)
        np.testing.assert_allclose(ours[mask], after[mask], **LAYER)

    ours = apply(params, "encode", embedded, mask, config=scanned)
    np.testing.assert_allclose(ours[mask], expected[mask], **STACK)


@both_families
def test_decoder_logits_and_its_layers_equal_hugging_face(
    unrolled, scanned, theirs, params, long_batch
):
    mask, targets = long_batch["mask"], long_batch["targets"]
    calls = [parity.recorded(block) for block in theirs.decoder.block]
    encoded = apply(params, "encode", long_batch["embedded"], mask, config=scanned)
    with torch.no_grad():
        expected = theirs(
            encoder_outputs=(to_torch(encoded),),
            attention_mask=to_torch(mask),
            decoder_input_ids=to_torch(targets),
        ).logits.numpy()

    bias = shared_bias(params, "decoder", targets.shape[1])
    causal = jnp.tri(targets.shape[1], dtype=bool)
    block = jax.jit(mt5.DecoderBlock(unrolled).apply)
    for i, [(before, after)] in enumerate(calls):
        layer = {"params": merge.unstack_layers(params)["decoder"][f"layers_{i}"]}
        ours, _ = block(layer, before, None, encoded, causal, bias, mask[:, None, None, :])
        np.testing.assert_allclose(ours, after, **LAYER)

    ours = apply(params, "decode", encoded, mask, targets, config=scanned)
    np.testing.assert_allclose(ours, expected, **STACK)


def test_text_to_text_equals_hugging_face(theirs, params, batch):
    source = jnp.where(batch["mask"], jnp.resize(batch["targets"], batch["mask"].shape), 0)
    with torch.no_grad():
        expected = theirs(
            input_ids=to_torch(source),
            attention_mask=to_torch(batch["mask"]),
            decoder_input_ids=to_torch(batch["targets"]),
        ).logits.numpy()
    ours = apply(params, "__call__", source, batch["targets"])
    np.testing.assert_allclose(ours, expected, **STACK)


def test_decode_is_the_logits_of_the_decoder_states(params, batch):
    encoded = apply(params, "encode", batch["embedded"], batch["mask"])
    states = apply(params, "decoder_states", encoded, batch["mask"], batch["targets"])
    assert states.shape == (*batch["targets"].shape, SCANNED.width)
    np.testing.assert_allclose(apply(params, "logits", states), forward(params, batch), **ROUNDING)


@both_families
@pytest.mark.parametrize("scan", [True, False])
def test_cached_decoding_equals_teacher_forcing(unrolled, scanned, params, long_batch, scan):
    mask, targets = long_batch["mask"], long_batch["targets"]
    encoded = apply(params, "encode", long_batch["embedded"], mask, config=scanned)
    expected = apply(params, "decode", encoded, mask, targets, config=scanned)

    config = scanned if scan else unrolled
    params = params if scan else merge.unstack_layers(params)
    # Longer than the answer: what lies ahead in the cache must not be read.
    longest = targets.shape[1] + 7
    cache = MT5(config).apply({"params": params}, encoded, mask, longest, method="init_cache")
    for index in range(targets.shape[1]):
        token = targets[:, index]
        logits, cache = apply(params, "decode_step", cache, token, jnp.int32(index), config=config)
        np.testing.assert_allclose(logits, expected[:, index], **STACK)


@pytest.mark.parametrize("scan", [True, False])
def test_cache_has_the_documented_layout(params, batch, scan):
    config = dataclasses.replace(SCANNED, dtype="bfloat16", scan=scan)
    params = params if scan else merge.unstack_layers(params)
    cache = MT5(config).apply(
        {"params": params}, batch["embedded"], batch["mask"], 9, method="init_cache"
    )
    (b, s), heads, width = batch["mask"].shape, SCANNED.num_heads, SCANNED.head_dim
    layers, ends = (2, [""]) if scan else (1, ["_0", "_1"])
    shapes = {
        "self_key": (layers, b, heads, width, 9),
        "self_value": (layers, b, heads, 9, width),
        "cross_key": (layers, b, heads, width, s),
        "cross_value": (layers, b, heads, s, width),
    }
    # In float32, because this is a CPU.
    expected = {f"{name}{end}": (shapes[name], "float32") for name in shapes for end in ends}
    expected["cross_mask"] = ((1, b, s), "bool")
    assert jax.tree.map(lambda x: (x.shape, str(x.dtype)), cache) == expected


def test_hypotheses_of_one_example_share_its_source(params, batch):
    def init(encoded, mask):
        return MT5(SCANNED).apply({"params": params}, encoded, mask, 4, method="init_cache")

    encoded, mask = apply(params, "encode", batch["embedded"], batch["mask"]), batch["mask"]
    apart = init(encoded.repeat(2, 0), mask.repeat(2, 0))
    shared = init(encoded, mask) | {name: apart[name] for name in ("self_key", "self_value")}
    for index, tokens in enumerate([[0] * 6, [5, 6, 7, 8, 9, 10], [4, 3, 4, 4, 2, 3]]):
        step = jnp.array(tokens), jnp.int32(index)
        expected, apart = apply(params, "decode_step", apart, *step)
        ours, shared = apply(params, "decode_step", shared, *step)
        np.testing.assert_allclose(ours, expected, **LAYER)


def test_padding_and_other_rows_change_nothing(params, batch):
    expected = forward(params, batch)
    length = int(batch["mask"][1].sum())
    alone = {
        "embedded": batch["embedded"][1:2, :length],
        "mask": batch["mask"][1:2, :length],
        "targets": batch["targets"][1:2],
    }
    np.testing.assert_allclose(forward(params, alone)[0], expected[1], **ROUNDING)

    noisy = jnp.where(batch["mask"][..., None], batch["embedded"], 1e3)
    np.testing.assert_array_equal(forward(params, dict(batch, embedded=noisy)), expected)


def test_no_position_sees_a_later_one(params, batch):
    later = dict(batch, targets=batch["targets"].at[:, 7:].set(0))
    before, after = forward(params, batch), forward(params, later)
    np.testing.assert_array_equal(before[:, :7], after[:, :7])
    assert np.abs(before[:, 7:] - after[:, 7:]).max() > 1


def test_a_row_with_nothing_to_see_is_finite(params, batch):
    blind = dict(batch, mask=jnp.zeros_like(batch["mask"]))
    assert np.isfinite(forward(params, blind)).all()


def loss_and_gradients(params, batch, config):
    run = MT5(config).apply

    def loss(params):
        encoded = run({"params": params}, batch["embedded"], batch["mask"], method="encode")
        args = encoded, batch["mask"], batch["targets"]
        logits = run({"params": params}, *args, method="decode")
        return jnp.mean(jax.nn.logsumexp(logits, axis=-1) - logits[..., 3])

    return jax.jit(jax.value_and_grad(loss))(params)


def assert_same_gradients(ours, expected):
    np.testing.assert_allclose(ours[0], expected[0], rtol=1e-6)
    for name, gradient in merge.flatten(merge.stack_layers(ours[1])).items():
        np.testing.assert_allclose(gradient, merge.flatten(expected[1])[name], 1e-4, 1e-5, name)
        assert np.abs(gradient).max() > 0, name


@pytest.fixture(scope="module")
def scanned_gradients(params, batch):
    return loss_and_gradients(params, batch, SCANNED)


@pytest.mark.parametrize(
    ("scan", "remat"),
    [(False, "none"), (False, "full"), (True, "full"), (True, "minimal"), (True, "dots")],
)
def test_scan_and_remat_change_neither_the_loss_nor_its_gradients(
    params, batch, scanned_gradients, scan, remat
):
    config = dataclasses.replace(SCANNED, scan=scan, remat=remat)
    params = params if scan else merge.unstack_layers(params)
    assert_same_gradients(loss_and_gradients(params, batch, config), scanned_gradients)


@pytest.mark.parametrize("unrolled", [parity.UMT5], indirect=True)
def test_scan_and_remat_change_nothing_of_positions_by_layer(unrolled, scanned, params, batch):
    remat = dataclasses.replace(unrolled, remat="full")
    ours = loss_and_gradients(merge.unstack_layers(params), batch, remat)
    assert_same_gradients(ours, loss_and_gradients(params, batch, scanned))


def test_remat_keeps_less_for_the_backward_pass(batch, params):
    def kept(config):
        def encode(params):
            args = batch["embedded"], batch["mask"]
            return MT5(config).apply({"params": params}, *args, method="encode")

        return sum(leaf.size for leaf in jax.tree.leaves(jax.vjp(jax.jit(encode), params)[1]))

    assert kept(dataclasses.replace(SCANNED, remat="full")) < 0.5 * kept(SCANNED)


def test_bfloat16_is_close_to_float32(params, batch):
    expected = jax.nn.log_softmax(forward(params, batch))
    ours = forward(params, batch, dataclasses.replace(SCANNED, dtype="bfloat16"))
    assert ours.dtype == jnp.float32
    difference = np.abs(jax.nn.log_softmax(ours) - expected)
    # Of log-probabilities whose standard deviation is 5.3; Hugging Face's model.bfloat16() departs
    # from its own float32 by 0.10 on average and 0.8 at most.
    assert difference.mean() < 0.12
    assert difference.max() < 1.6


@pytest.mark.parametrize("method", ["decode", "decode_step"])
def test_bfloat16_products_have_bfloat16_operands_and_float32_sums(params, batch, method):
    model = MT5(dataclasses.replace(SCANNED, dtype="bfloat16"))
    variables = {"params": params}
    args = batch["embedded"], batch["mask"]
    if method == "decode":
        args = (*args, batch["targets"])
    else:
        cache = model.apply(variables, *args, 5, method="init_cache")
        args = cache, batch["targets"][:, 0], jnp.int32(0)
    run = functools.partial(model.apply, method=method)
    products = parity.equations("dot_general", run, variables, *args)
    # Kernels: 4 of self-attention, 4 of cross-attention (2 when cached), 3 of the MLP, the head;
    # and each attention multiplies twice itself.
    assert len(products) == 4 + {"decode": 4, "decode_step": 2}[method] + 3 + 1 + 2 * 2
    # What a cache holds is multiplied in the cache's own type.
    cached = {"decode": 0, "decode_step": 2 * 2}[method]
    types = [[operand.aval.dtype for operand in product.invars] for product in products]
    assert sum(found == [jnp.float32] * 2 for found in types) == cached
    assert sum(found == [jnp.bfloat16] * 2 for found in types) == len(products) - cached
    for product in products:
        assert product.params["preferred_element_type"] == jnp.float32


def test_dropout_stands_where_t5x_has_it(params, batch):
    """One draw for all positions, everywhere but after the encoder's last norm."""
    model = MT5(dataclasses.replace(SCANNED, dropout=0.2))

    def draws(method, *args):
        keys = {"dropout": jax.random.key(0)}
        run = functools.partial(model.apply, deterministic=False, rngs=keys, method=method)
        equations = parity.equations("random_bits", run, {"params": params}, *args)
        return sorted(equation.params["shape"] for equation in equations)

    (b, s), t = batch["mask"].shape, batch["targets"].shape[1]
    heads, width, hidden = SCANNED.num_heads, SCANNED.width, SCANNED.mlp_dim
    block = [(b, heads, 1, s), (b, 1, hidden)]
    args = batch["embedded"], batch["mask"]
    # Embedded, attention's and the MLP's output, and the whole encoding.
    assert draws("encode", *args) == sorted([*block, *3 * [(b, 1, width)], (b, s, width)])
    # The same, with two attentions and a draw for all positions at the end.
    block.append((b, heads, 1, t))
    assert draws("decode", *args, batch["targets"]) == sorted([*block, *5 * [(b, 1, width)]])


def test_initialisers_are_those_of_t5x():
    config = dataclasses.replace(SCANNED, width=256, mlp_dim=384, num_heads=4, head_dim=32)
    tokens = jnp.ones((1, 2), jnp.int32)
    params = jax.jit(MT5(config).init)(jax.random.key(0), tokens, tokens)["params"]
    flat = merge.flatten(merge.unstack_layers(params))
    for name, deviation in {
        "token_embedder/embedding": 1.0,
        "encoder/layers_2/attention/query/kernel": (256 * 32) ** -0.5,
        "decoder/layers_1/encoder_decoder_attention/query/kernel": (256 * 32) ** -0.5,
        "decoder/layers_1/encoder_decoder_attention/key/kernel": 256**-0.5,
        "decoder/layers_1/encoder_decoder_attention/value/kernel": 256**-0.5,
        "decoder/layers_1/self_attention/out/kernel": 128**-0.5,
        "encoder/layers_0/mlp/wi_0/kernel": 256**-0.5,
        "encoder/layers_0/mlp/wi_1/kernel": 256**-0.5,
        "encoder/layers_0/mlp/wo/kernel": 384**-0.5,
        "decoder/logits_dense/kernel": 256**-0.5,
        "encoder/relpos_bias/rel_embedding": (2 / (4 + 32)) ** 0.5,
    }.items():
        sampling_error = 5 / np.sqrt(2 * flat[name].size)
        assert np.std(flat[name]) == pytest.approx(deviation, rel=sampling_error), name
    one, other = (flat[f"encoder/layers_{i}/mlp/wo/kernel"] for i in (0, 1))
    assert not np.array_equal(one, other)


def read_of_source(params, config, encoded, mask, targets):
    """Cross-attention's weights of a teacher-forced pass, [L b N t s]."""

    @jax.jit
    def run(params):
        _, sown = MT5(config).apply(
            {"params": params}, encoded, mask, targets, method="decode", mutable=["intermediates"]
        )
        return mt5.cross_attention(config, sown["intermediates"])

    return run(params)


def test_cross_attention_equals_hugging_face(theirs, params, batch):
    encoded = apply(params, "encode", batch["embedded"], batch["mask"])
    source = encoded, batch["mask"], batch["targets"]
    with torch.no_grad():
        expected = theirs(
            encoder_outputs=(to_torch(encoded),),
            attention_mask=to_torch(batch["mask"]),
            decoder_input_ids=to_torch(batch["targets"]),
            output_attentions=True,
        ).cross_attentions
    expected = np.stack([layer.numpy() for layer in expected])
    scanned = read_of_source(params, SCANNED, *source)
    np.testing.assert_allclose(scanned, expected, **LAYER)
    np.testing.assert_allclose(scanned.sum(-1), 1.0, **LAYER)
    hidden = np.broadcast_to(~batch["mask"][None, :, None, None], scanned.shape)
    assert (np.asarray(scanned)[hidden] == 0).all()
    for scan, remat in ((False, "none"), (False, "full"), (True, "full")):
        config = dataclasses.replace(SCANNED, scan=scan, remat=remat)
        tree = params if scan else merge.unstack_layers(params)
        np.testing.assert_allclose(read_of_source(tree, config, *source), scanned, **LAYER)


def test_weights_that_nobody_asks_for_cost_nothing(params, batch, monkeypatch):
    """The same program with them and without; and none among the variables of a new model."""
    model = MT5(SCANNED)
    args = batch["embedded"], batch["mask"]

    def program():
        run = functools.partial(model.apply, method="encode")
        return str(jax.make_jaxpr(run)({"params": params}, *args))

    tokens = jnp.ones((1, 2), jnp.int32)
    assert set(jax.eval_shape(model.init, jax.random.key(0), tokens, tokens)) == {"params"}
    before = program()
    monkeypatch.setattr(mt5.Attention, "sow", lambda *_: None)
    assert program() == before
