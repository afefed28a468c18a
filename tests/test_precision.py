# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A model in other numbers: how much of what it writes stays, and how its weights lie."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pali
from pali import precision
from pali.checkpoints import merge
from pali.mesh_config import MeshConfig
from pali.models.layers import lookup

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from agreement import of_trained


def test_the_embedded_model_writes_the_same_in_low_precision():
    found = of_trained(None, 28)
    assert found.answers >= 1_000
    assert found.same["bfloat16"].mean() >= 0.99
    assert found.same["int8"].mean() >= 0.98


def test_weights_lie_in_the_types_of_the_precision(tiny_model):
    def types(name):
        flat = merge.flatten(pali.load(tiny_model, precision=name).params)
        return {name: str(leaf.dtype) for name, leaf in flat.items()}

    assert set(types("float32").values()) == {"float32"}
    half = types("bfloat16")
    assert half["mt5/decoder/logits_dense/kernel"] == "bfloat16"
    assert half["vit/Transformer/encoderblock_0/MlpBlock_0/Dense_0/kernel"] == "bfloat16"
    assert half["mt5/encoder/layers_0/pre_mlp_layer_norm/scale"] == "float32"
    eighth = types("int8")
    assert eighth["mt5/decoder/logits_dense/kernel"] == "int8"
    assert eighth["mt5/decoder/logits_dense/kernel_scale"] == "float32"
    assert eighth["projection/kernel"] == "bfloat16"
    matrices = [name for name, dtype in eighth.items() if dtype == "int8"]
    # 2 layers of the ViT of 6, of the encoder of 7, of the decoder of 11, and the head.
    assert len(matrices) == 2 * (6 + 7 + 11) + 1


@pytest.mark.parametrize("low", ["bfloat16", "int8"])
def test_the_table_is_looked_up_without_being_made_larger(tiny_model, low):
    model, plain = (pali.load(tiny_model, precision=name) for name in (low, "float32"))
    tokens = jnp.array([[3, 0], [7, 3]])
    table = model.params["mt5"]["token_embedder"]["embedding"]
    assert table.dtype.itemsize == 2
    expected = plain.params["mt5"]["token_embedder"]["embedding"][tokens].astype("bfloat16")
    np.testing.assert_array_equal(np.asarray(lookup(table, tokens)), expected)


def test_layers_are_apart_on_a_cpu(tiny_model):
    assert jax.default_backend() == "cpu"
    model = pali.load(tiny_model)
    assert not model.config.mt5.scan
    assert not model.config.vit.scan


def test_unusable_precisions_are_refused(tiny_model):
    config = pali.load(tiny_model).config
    with pytest.raises(ValueError, match="'fp8'; it must be one of float32, bfloat16, int8"):
        precision.configured(config, "fp8", divided=False)
    with pytest.raises(ValueError, match="int8 is for one device; on a mesh use bfloat16"):
        pali.load(tiny_model, precision="int8", mesh=MeshConfig())
