# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The tables of docs/scaling.md are those of its script, and its operations are those of XLA."""

import importlib.util
import sys
from pathlib import Path

import jax
import pytest

from pali.checkpoints.pretrained import expected_params
from pali.config import MT5Config, PaLIConfig, ViTConfig
from pali.memory import Work
from pali.mesh_config import MeshConfig
from pali.models.pali import PaLI

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def plan():
    spec = importlib.util.spec_from_file_location("scaling_plan", ROOT / "tools/scaling_plan.py")
    module = sys.modules["scaling_plan"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["scaling_plan"]


def test_the_page_has_the_tables_of_the_script(plan, capsys):
    plan.main()
    tables = capsys.readouterr().out
    assert tables.count("\n|") > 30
    assert tables in (ROOT / "docs/scaling.md").read_text(encoding="utf-8")


def test_operations_are_those_that_xla_counts(plan):
    config = PaLIConfig(
        ViTConfig(256, 2, 1024, 4, 8, 64, scan=False),
        MT5Config(4096, 192, 512, 4, 64, 2, 3, scan=False),
    )
    work = Work(4, 24, 40)
    struct = jax.ShapeDtypeStruct
    batch = {
        "image": struct((4, 64, 64, 3), "uint8"),
        "image_mask": struct((4,), "bool"),
        "encoder_input_tokens": struct((4, 24), "int32"),
        "decoder_input_tokens": struct((4, 40), "int32"),
    }

    def forwards(params, batch):
        return PaLI(config).apply({"params": params}, batch)

    counted = jax.jit(forwards).lower(expected_params(config), batch).cost_analysis()["flops"]
    found = plan.operations(config, work)
    ours = found["ViT"] + (found["encoder"] + found["decoder"] + found["logits"]) / 4
    # XLA also counts what is no product: norms, softmax, GELU.
    assert 0.9 * counted < 4 * ours < counted


def test_exchanges_grow_as_they_should(plan):
    config = PaLIConfig(ViTConfig(64, 2, 128, 4, 8, 64), MT5Config(512, 64, 128, 4, 16, 2, 2))
    work = Work(64, 16, 16)

    def sent(*sizes):
        entries = plan.collectives(config, MeshConfig(*sizes), work)
        return {entry.what: entry.bytes for entry in entries}

    assert sent(1, 1, 1) == {}
    alone = sent(8, 1, 1)
    assert list(alone) == ["gradients of each part"]
    trained = 4 * sum(
        leaf.size
        for name, part in expected_params(config).items()
        for leaf in jax.tree.leaves(part)
        if name != "vit" and leaf.ndim > 1
    )
    assert alone["gradients of each part"] == pytest.approx(2 * 7 / 8 * trained, rel=0.01)
    two, four = sent(1, 2, 1), sent(1, 4, 1)
    assert four["gradients"] == pytest.approx(1.5 * two["gradients"])
    halves, quarters = sent(1, 1, 2), sent(1, 1, 4)
    assert quarters["sums in the ViT"] == pytest.approx(1.5 * halves["sums in the ViT"])
    both = sent(1, 2, 2)
    assert both["gradients"] == pytest.approx(two["gradients"] / 2)
    assert both["sums in the ViT"] == pytest.approx(halves["sums in the ViT"] / 2)
