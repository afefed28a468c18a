# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""pali.memory against what XLA plans for compiled programs, and against arithmetic."""

import dataclasses
import functools
import re

import jax
import pytest

from pali import decoding, lora, memory, objectives, optim, train
from pali.config import LoRAConfig, MT5Config, OptimConfig, PaLIConfig, ViTConfig
from pali.memory import Work
from pali.mesh_config import MeshConfig
from pali.models import presets
from pali.models.pali import PaLI, init_params

LAYERS = PaLIConfig(
    ViTConfig(width=64, depth=2, mlp_dim=256, num_heads=4, patch_size=8, image_size=64),
    MT5Config(
        vocab_size=512,
        width=64,
        mlp_dim=160,
        num_heads=4,
        head_dim=16,
        encoder_layers=4,
        decoder_layers=4,
    ),
)
"""Activations of layers outweigh everything else."""

LOGITS = dataclasses.replace(
    LAYERS,
    mt5=dataclasses.replace(LAYERS.mt5, vocab_size=16_384, encoder_layers=2, decoder_layers=2),
)
"""Logits do."""

WORK = Work(batch_size=16, inputs_length=16, targets_length=32)
ONE = MeshConfig(data=1)


WIDE = PaLIConfig(
    dataclasses.replace(LAYERS.vit, patch_size=16, image_size=32),
    MT5Config(4096, 192, 384, 3, 64, 2, 2),
)
"""Parameters do."""


def inputs(config, work):
    struct, batch = jax.ShapeDtypeStruct, work.batch_size
    return {
        "image": struct((batch, *config.vit.image_shape, 3), "uint8"),
        "image_mask": struct((batch,), "bool"),
        "encoder_input_tokens": struct((batch, work.inputs_length), "int32"),
        "decoder_input_tokens": struct((batch, work.targets_length), "int32"),
    }


def shapes(config):
    return jax.eval_shape(functools.partial(init_params, config), jax.random.key(0))


def planned_for_training(config):
    """What XLA plans for the step of `pali train`, everything it changes donated."""
    data, vit = config.data, config.model.vit
    work = Work(data.batch_size, data.inputs_length, data.targets_length)
    batch, struct = inputs(config.model, work), jax.ShapeDtypeStruct
    batch["decoder_target_tokens"] = batch["decoder_input_tokens"]
    batch["decoder_loss_weights"] = struct((work.batch_size, work.targets_length), "float32")
    batch["label"] = struct((work.batch_size,), "int32")
    if data.visual_token_cache:
        del batch["image"]
        shape = (work.batch_size, vit.num_visual_tokens, vit.width)
        batch["visual_tokens"] = struct(shape, "bfloat16")
    trained, frozen = lora.partition(config, memory.parameters(config))
    update = optim.optimizer(config.optim, config.steps)
    state = jax.eval_shape(functools.partial(train.first_state, update), trained)
    step = functools.partial(train.train_step, objectives.of(config), update, config)
    return train.jitted(step).lower(state, frozen, [batch]).compile().memory_analysis()


def planned_for_inference(config, work):
    """Pictures and prompts in, greedy answers out."""

    def answer(params, batch):
        apply = functools.partial(PaLI(config).apply, {"params": params})
        visual = apply(batch["image"], method="look")
        asked = (batch["image_mask"], batch["encoder_input_tokens"])
        encoded = apply(visual, *asked, method="encode")
        cache = apply(*encoded, work.targets_length, method="init_cache")
        step = functools.partial(apply, method="decode_step")
        return decoding.greedy(step, cache, work.batch_size, work.targets_length).tokens

    return jax.jit(answer).lower(shapes(config), inputs(config, work)).compile().memory_analysis()


def in_type(config, dtype):
    vit, mt5 = (dataclasses.replace(half, dtype=dtype) for half in (config.vit, config.mt5))
    return PaLIConfig(vit, mt5)


def assert_as_stated(ours, xla, dtype):
    """Within the stated error; a CPU makes float32 of what is bfloat16, and needs more."""
    if dtype == "float32":
        assert ours == pytest.approx(xla, rel=memory.ERROR)
    else:
        assert ours * (1 - memory.ERROR) < xla < ours * memory.BFLOAT16_ON_CPU


def pretraining(model, remat="none", work=WORK, **changes):
    return dataclasses.replace(memory.pretraining(model, work, remat), **changes)


def all_trained(remat):
    """By AdamW, in micro-batches, with the policy in both halves."""
    vit = dataclasses.replace(LAYERS.vit, remat=remat)
    model = dataclasses.replace(LAYERS, vit=vit)
    return pretraining(model, remat, accumulate=2, optim=OptimConfig("adamw"))


def half_frozen(config):
    freeze = ("vit/.*", "projection/.*", "mt5/encoder/.*", "mt5/token_embedder/.*")
    data = dataclasses.replace(config.data, visual_token_cache="cache")
    return dataclasses.replace(config, data=data, optim=OptimConfig(freeze=freeze))


SMALL = Work(4, 4, 4)


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(pretraining(LAYERS, "minimal"), id="minimal"),
        pytest.param(pretraining(LAYERS, lora=LoRAConfig(rank=2)), id="adapters"),
        pytest.param(pretraining(LOGITS, "full"), id="logits in parts"),
        pytest.param(pretraining(in_type(LAYERS, "bfloat16")), id="bfloat16"),
        pytest.param(all_trained("full"), id="everything, AdamW, micro-batches"),
        pytest.param(half_frozen(pretraining(LAYERS)), id="half of it, visual tokens"),
        pytest.param(pretraining(WIDE, work=SMALL, optim=OptimConfig("adafactor")), id="updates"),
    ],
)
def test_training_is_what_xla_plans(config):
    xla = planned_for_training(config)
    plan = memory.training(config, ONE)
    names = {"parameters, frozen", "parameters, trained", "Adafactor's slots", "AdamW's slots"}
    held = sum(size for row, size in plan.rows.items() if row in names)
    batch = plan.rows["batch"]
    once = batch // 2 if config.accumulate > 1 else batch  # Micro-batches are laid out anew.
    # What no step reads is no argument of it: with visual tokens that is the ViT.
    vit = memory.parameters(config)["vit"] if config.data.visual_token_cache else {}
    unread = sum(4 * leaf.size for leaf in jax.tree.leaves(vit))
    assert xla.argument_size_in_bytes == pytest.approx(held + once - unread, abs=10_000)
    ours = plan.total - held - batch
    assert_as_stated(ours, xla.temp_size_in_bytes, config.model.mt5.dtype)
    assert xla.output_size_in_bytes - xla.alias_size_in_bytes < 10_000


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_inference_is_what_xla_plans(dtype):
    config = in_type(LAYERS, dtype)
    xla = planned_for_inference(config, WORK).temp_size_in_bytes
    plan = memory.inference(config, ONE, WORK)
    ours = plan.rows["decoder's cache"] + plan.at_work
    assert_as_stated(ours, xla, dtype)
    assert plan.rows["parameters"] == 2 * sum(leaf.size for leaf in jax.tree.leaves(shapes(config)))


def test_layers_are_factored_apart_whether_scanned_or_not():
    apart = dataclasses.replace(WIDE, mt5=dataclasses.replace(WIDE.mt5, scan=False))
    slots = [training(config).rows["Adafactor's slots"] for config in (WIDE, apart)]
    assert slots[0] == slots[1]


def training(model, mesh=ONE, work=WORK, remat="none"):
    return memory.training(memory.pretraining(model, work, remat), mesh)


def test_fsdp_divides_matrices_and_batch():
    whole = training(LAYERS, remat="full")
    four = dataclasses.replace(WORK, batch_size=64)
    part = training(LAYERS, MeshConfig(1, fsdp=4), four, "full")
    assert part.rows["activations kept"] == whole.rows["activations kept"]
    for row in ("parameters, trained", "gradients"):
        assert whole.rows[row] / 4 <= part.rows[row] < 1.03 * whole.rows[row] / 4
    assert whole.rows["gathered parameters"] == 0
    assert part.rows["gathered parameters"] > 0


def test_data_divides_the_batch_alone():
    whole = training(LAYERS)
    double = dataclasses.replace(WORK, batch_size=2 * WORK.batch_size)
    part = training(LAYERS, MeshConfig(data=2), double)
    assert part.rows == whole.rows
    assert part.moments["a layer of the encoder"] == whole.moments["a layer of the encoder"]


@pytest.mark.parametrize("remat", ["none", "full"])
def test_model_divides_matrices_heads_and_logits(remat):
    whole = training(LOGITS, remat=remat)
    part = training(LOGITS, MeshConfig(1, model=4), remat=remat)
    # Not to the byte: of all gradients, which are not there yet, those of norms are whole.
    assert part.moments["logits"] == pytest.approx(whole.moments["logits"] / 4, rel=1e-3)
    kept, before = part.rows["activations kept"], whole.rows["activations kept"]
    # What has the width of the model is whole on each: with remat that is nearly all.
    least, most = (0.9, 1) if remat == "full" else (0.25, 0.7)
    assert least * before < kept <= most * before
    caches = [
        memory.inference(LAYERS, mesh, WORK).rows["decoder's cache"]
        for mesh in (ONE, MeshConfig(1, model=4))
    ]
    assert caches[1] == pytest.approx(caches[0] / 4, rel=0.01)


def test_remat_and_chunks_save_what_they_should():
    config = presets.pali("siglip-b/16-224+mt5-small")  # as test_show.py has it: traced once
    plain, remat = (training(config, work=Work(), remat=name) for name in ("none", "full"))
    assert remat.rows["activations kept"] < 0.1 * plain.rows["activations kept"]

    def logits(chunks):
        experiment = dataclasses.replace(memory.pretraining(config, Work()), loss_chunks=chunks)
        plan = memory.training(experiment, ONE)
        # At that moment of all gradients there is the head's.
        return plan.moments["logits"] + plan.rows["gradients"] - head

    head = 4 * config.mt5.width * 250_112
    # 64 answers of 64 tokens over 250,112 pieces, and their gradient.
    assert logits(1) == 2 * 64 * 64 * 250_112 * 4
    assert logits(8) == logits(1) / 8
    # Where a part would be small, there are fewer.
    assert logits(64) == logits(16) == logits(1) / 16


def test_the_largest_is_planned_without_being_built():
    config = presets.pali("pali-vit-22b")
    plan = training(config, MeshConfig(1, fsdp=64), Work(), "full")
    assert 64 * plan.rows["parameters, frozen"] == pytest.approx(4 * 21.75e9, rel=0.01)
    assert 64 * plan.rows["parameters, trained"] == pytest.approx(4 * 12.95e9, rel=0.01)


@pytest.mark.parametrize(
    ("mesh", "work", "message"),
    [
        (
            MeshConfig(data=3),
            Work(batch_size=16),
            "a batch of 16 cannot be divided among 3 devices (data",
        ),
        (
            MeshConfig(1, fsdp=3),
            Work(batch_size=16),
            "axis fsdp is 3, which does not divide the 64 of",
        ),
        (
            MeshConfig(1, model=3),
            Work(batch_size=16),
            "axis model is 3, which does not divide the 4 of",
        ),
        (MeshConfig(), Work(), "axis data is -1; it must be at least 1"),
        (ONE, Work(targets_length=-1), "targets_length is -1"),
    ],
)
def test_what_cannot_be_divided_is_refused(mesh, work, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        memory.inference(LAYERS, mesh, work)
