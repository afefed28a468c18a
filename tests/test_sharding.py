# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Rules for every parameter there is; eight devices against one (tests/sharded.py)."""

import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

from pali import lora, objectives, sharding
from pali.checkpoints import merge, pretrained
from pali.config import Config, DataConfig, LoRAConfig, MT5Config, PaLIConfig, ViTConfig
from pali.mesh_config import MeshConfig

ROOT = Path(__file__).parents[1]
HEADS = PaLIConfig(
    ViTConfig(16, 1, 32, 2, 8, 16, class_token=True, pool="map", num_classes=7, pre_logits=True),
    MT5Config(64, 16, 32, 2, 8, 2, 2),
)


@pytest.fixture(scope="module")
def params():
    return pretrained.expected_params(HEADS)


@functools.cache
def every_preset():
    """{path of one layer: shapes} of all presets; test_presets.py holds them to `init`."""
    found = {"projection/kernel": [(1792, 4096)], "projection/bias": [(4096,)]}
    for half, file in (("vit", "presets_vit"), ("mt5", "presets_language")):
        golden = json.loads((ROOT / f"tests/golden/{file}.json").read_text())
        for shapes in golden.values():
            for path, shape in shapes.items():
                path = re.sub(r"{0\.\.\d+}", "0", f"{half}/{path}")
                found.setdefault(path, []).append(tuple(shape))
    return found


def heads_of_training():
    config = Config(HEADS, DataConfig("m"), contrast_weight=1.0, patch_weight=1.0)
    return merge.flatten(objectives.auxiliary_params(config))


def test_every_parameter_of_every_preset_has_exactly_one_rule():
    known = every_preset()
    assert len(known) > 60
    for path, shapes in known.items():
        matched = [pattern for pattern, _ in sharding.RULES if re.fullmatch(pattern, path)]
        assert len(matched) == 1, (path, matched)
        for shape in shapes:
            axes = sharding.axes_of(path)
            assert len(axes) in (0, len(shape)), (path, shape)
            # What is large is divided by both axes; what only fsdp divides is no tenth of it.
            size = np.prod(shape)
            assert len({*axes} - {None}) == 2 or size < 5e6, (path, shape)
            assert axes or size < 6e6, (path, shape)


def test_every_rule_has_a_parameter(params):
    adapted = jax.eval_shape(lambda tree: lora.added(LoRAConfig(rank=2), tree, 0), params)
    paths = [*every_preset(), *merge.flatten(adapted), *heads_of_training()]
    for pattern, _ in sharding.RULES:
        assert any(re.fullmatch(pattern, path) for path in paths), pattern


def test_the_heads_that_only_training_has_are_divided(params):
    found = {path: sharding.axes_of(path) for path in heads_of_training()}
    assert found["auxiliary/patches/head/kernel"] == ("model", "fsdp")
    assert found["auxiliary/temperature"] == ()
    assert sharding.axes_of("vit/head/kernel") == ("fsdp", None)


def test_what_no_rule_matches_is_refused():
    leaf = jax.ShapeDtypeStruct((4, 4), "float32")
    with pytest.raises(ValueError, match="parameter 'adapter/down' is not settled: no rule"):
        sharding.specs({"adapter": {"down": leaf}})
    with pytest.raises(ValueError, match="has 1 dimensions, and its rule 2"):
        sharding.specs({"projection": {"kernel": jax.ShapeDtypeStruct((4,), "float32")}})


def test_a_stack_is_divided_as_its_layers_are(params):
    stacked = merge.flatten(sharding.specs(params))
    apart = merge.flatten(sharding.specs(merge.unstack_layers(dict(params))))
    assert stacked["mt5/encoder/layers/mlp/wo/kernel"] == PartitionSpec(None, "model", "fsdp")
    assert apart["mt5/encoder/layers_1/mlp/wo/kernel"] == PartitionSpec("model", "fsdp")
    assert stacked["vit/Transformer/encoderblock/LayerNorm_0/scale"] == PartitionSpec()


@pytest.mark.parametrize(
    ("config", "devices", "message"),
    [
        (MeshConfig(fsdp=3), 8, "a mesh of fsdp 3 x model 1 cannot be laid over 8 devices"),
        (MeshConfig(fsdp=3), 8, "fsdp may be 2 or 4"),
        (MeshConfig(model=5), 12, "model may be 4 or 6"),
        (MeshConfig(2, 2, 1), 8, "has 4 devices, and there are 8: set data to 4, or to -1"),
    ],
)
def test_a_mesh_that_does_not_fit_the_devices_is_refused(config, devices, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        config.over(devices)


def test_what_an_axis_does_not_divide_is_refused_by_path(params):
    assert MeshConfig(fsdp=2, model=2).over(8) == MeshConfig(2, 2, 2)
    sharding.check(MeshConfig(2, 2, 2), params)
    expected = r"axis fsdp is 3, which does not divide the 16 of dimension \d of .* 2 or 4 would do"
    with pytest.raises(ValueError, match=expected):
        sharding.check(MeshConfig(1, fsdp=3), params)
    with pytest.raises(ValueError, match=r"axis model is 4, which does not divide the 2 of .*; fo"):
        sharding.check(MeshConfig(1, model=4), params)  # Heads: their product would divide.
    with pytest.raises(ValueError, match=r"a batch of 6 .* that can is 8, the next smaller 4$"):
        sharding.check_batch(MeshConfig(2, 2, 2), 6)
    for size in (0, -1):
        with pytest.raises(ValueError, match=f"axis fsdp is {size}; it must be at least 1"):
            MeshConfig(fsdp=size)


def states(params):
    """Optimizer states of several makes, without numbers."""
    factored = {
        path: {
            "v_row": jax.ShapeDtypeStruct(leaf.shape[:-1], "float32"),
            "v_col": jax.ShapeDtypeStruct((*leaf.shape[:-2], leaf.shape[-1]), "float32"),
            "v": jax.ShapeDtypeStruct((1,), "float32"),
        }
        for path, leaf in merge.flatten(params).items()
        if leaf.ndim > 1
    }
    yield {"param_states": merge.unflatten(factored), "step": jax.ShapeDtypeStruct((), "int32")}
    for update in (optax.adamw(1e-3), optax.contrib.muon(1e-3), optax.adafactor(1e-3)):
        yield jax.eval_shape(update.init, params)


def test_what_the_optimizer_keeps_is_divided_as_its_parameter(params):
    mesh = sharding.make_mesh(MeshConfig(), jax.devices()[:1])
    factored, *others = (
        (state, sharding.optimizer_shardings(mesh, params, state)) for state in states(params)
    )
    for state, placed in (factored, *others):
        for leaf, sharded in zip(jax.tree.leaves(state), jax.tree.leaves(placed), strict=True):
            assert len(sharded.spec) <= leaf.ndim
    slots = factored[1]["param_states"]["mt5"]["decoder"]["layers"]["mlp"]["wi_0"]["kernel"]
    assert slots["v_row"].spec == PartitionSpec(None, "fsdp")
    assert slots["v_col"].spec == PartitionSpec(None, "model")
    assert slots["v"].spec == factored[1]["step"].spec == PartitionSpec()
    adam = others[0][1][0]
    for moment in (adam.mu, adam.nu):
        own = merge.flatten(jax.tree.map(lambda leaf: leaf.spec, moment))
        assert own == merge.flatten(sharding.specs(params))
    odd = {"mt5": {"token_embedder": {"embedding": jax.ShapeDtypeStruct((3, 5), "float32")}}}
    with pytest.raises(ValueError, match=r"embedding \[3, 5\] of a parameter \[64, 16\]"):
        sharding.optimizer_shardings(mesh, params, odd)


@pytest.fixture(scope="module")
def emulated():
    """What tests/sharded.py found out on eight devices."""
    run = subprocess.run(
        [sys.executable, str(ROOT / "tests/sharded.py")],
        env=os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize("mesh", ["8x1x1", "1x8x1", "2x2x2"])
def test_loss_and_gradients_are_those_of_one_device(emulated, mesh):
    assert emulated[mesh]["loss"] < 1e-5
    path, largest = emulated[mesh]["grads"]
    assert largest < 1e-5, path


def test_greedy_ids_are_those_of_one_device(emulated):
    alone, divided, one_row = emulated["ids"]
    assert len({tuple(row) for row in alone}) > 8
    assert divided == alone
    assert one_row == alone[:1]  # A batch that the mesh does not divide.


def test_a_loaded_model_answers_from_many_devices(emulated):
    alone, divided = emulated["captions"]
    assert divided[0] == alone[0]
    assert alone[1] == 1
    assert 0.25 <= divided[1] < 0.27


def test_parameters_and_batch_really_are_divided(emulated):
    whole = {name: list(shape) for name, shape in emulated["8x1x1"]["params"].items()}
    assert whole["mt5/token_embedder/embedding"] == [256, 32]
    fsdp, both = emulated["1x8x1"]["params"], emulated["2x2x2"]["params"]
    assert fsdp["mt5/token_embedder/embedding"] == [256, 4]
    assert both["mt5/token_embedder/embedding"] == [128, 16]
    assert both["vit/Transformer/encoderblock/MultiHeadDotProductAttention_0/query/kernel"] == [
        *(2, 16, 2, 8)
    ]
    assert both["mt5/decoder/layers/mlp/wo/kernel"] == [2, 24, 16]
    assert both["mt5/encoder/relpos_bias/rel_embedding"] == [2, 32]
    assert [emulated[mesh]["rows"] for mesh in ("8x1x1", "1x8x1", "2x2x2")] == [2, 2, 4]


def test_activations_follow_the_batch(emulated):
    # Left to itself, XLA divides them along the width under fsdp, and needs twice the memory.
    assert emulated["1x8x1"]["temporary"] < 1.1 * emulated["8x1x1"]["temporary"]
