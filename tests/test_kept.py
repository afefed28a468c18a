# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Traces that later processes use: asked for by functions that count how often they are traced."""

import contextlib
import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from pali import activations, decoding, kept, memory
from pali.checkpoints import merge, pretrained
from pali.mesh_config import MeshConfig
from pali.models import presets


@contextlib.contextmanager
def setting(name, value):
    """A setting of JAX for the whole process, for a while."""
    before = jax.config.values[name]
    jax.config.update(name, value)
    yield
    jax.config.update(name, before)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder for traced programs; those that take no second to compile are not kept in it."""
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    with setting("jax_compilation_cache_dir", str(tmp_path)):
        yield tmp_path


class Counted:
    """A traced function, and how often it was."""

    def __init__(self):
        self.times = 0

    def start(self):
        """The function as a fresh process has it."""

        def halve(count, tree, row):
            self.times += 1
            found = jax.tree.map(lambda x: x[:count] / 2, tree)
            return decoding.Decoded(found["a"], found["b"][0], row)

        return kept.traced(1)(halve)


def test_a_trace_is_used_by_the_next_start_and_computes_the_same(folder):
    tree = {"a": np.arange(6.0, dtype=np.float32), "b": [np.ones((4, 2), np.float32), None]}
    counted = Counted()
    for _ in range(2):
        found = counted.start()(3, tree, np.uint32(7))
        assert isinstance(found, decoding.Decoded)
        np.testing.assert_array_equal(found.tokens, [0, 0.5, 1])
        np.testing.assert_array_equal(found.log_prob, np.full((3, 2), 0.5))
        assert found.lengths == 7
    assert counted.times == 1
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize(
    "other",
    [
        (2, {"a": np.zeros(6, np.float32)}),
        (3, {"a": np.zeros(5, np.float32)}),
        (3, {"a": np.zeros(6, np.int32)}),
        (3, {"b": np.zeros(6, np.float32)}),
    ],
    ids=["static", "shape", "type", "structure"],
)
def test_for_other_arguments_there_is_another(folder, other):
    counted = []

    def cut(count, tree):
        counted.append(count)
        return jax.tree.leaves(tree)[0][:count]

    kept.traced(1)(cut)(3, {"a": np.zeros(6, np.float32)})
    kept.traced(1)(cut)(*other)
    assert len(counted) == 2
    assert len(list(folder.iterdir())) == 2


def test_other_source_and_other_settings_trace_anew(folder, monkeypatch):
    counted, tree = Counted(), {"a": np.zeros(6, np.float32), "b": [np.zeros(6, np.float32)]}
    counted.start()(3, tree, np.uint32(7))
    with setting("jax_default_matmul_precision", "highest"):
        counted.start()(3, tree, np.uint32(7))
    assert counted.times == 2
    monkeypatch.setattr(kept, "_source", lambda: "another")
    counted.start()(3, tree, np.uint32(7))
    assert counted.times == 3


@pytest.mark.parametrize("damage", [b"", b"half", None], ids=["empty", "cut", "flipped"])
def test_a_damaged_file_is_made_anew(folder, damage):
    counted, tree = Counted(), {"a": np.zeros(6, np.float32), "b": [np.zeros(6, np.float32)]}
    counted.start()(3, tree, np.uint32(7))
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]) if damage is None else damage)
    counted.start()(3, tree, np.uint32(7))
    assert counted.times == 2
    counted.start()(3, tree, np.uint32(7))
    assert counted.times == 2


def test_a_folder_that_is_gone_costs_nothing_but_time(folder):
    counted, tree = Counted(), {"a": np.zeros(6, np.float32), "b": [np.zeros(6, np.float32)]}
    folder.rmdir()
    counted.start()(3, tree, np.uint32(7))
    counted.start()(3, tree, np.uint32(7))
    assert counted.times == 2


def test_several_devices_keep_nothing(folder, monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 8)
    counted, tree = Counted(), {"a": np.zeros(6, np.float32), "b": [np.zeros(6, np.float32)]}
    counted.start()(3, tree, np.uint32(7))
    assert not list(folder.iterdir())


def test_expected_shapes_are_the_traced_ones(folder):
    config = presets.pali("vit-b/16+mt5-small")
    found = []
    for _ in range(2):
        pretrained._stacked.cache_clear()
        found.append(pretrained.expected_arrays(config))
    assert len(list(folder.iterdir())) == 1
    assert found[0] == found[1]
    stacked = merge.flatten(pretrained.expected_params(config))
    assert stacked == pretrained._traced(config)


def test_a_plan_of_memory_is_traced_once(folder, monkeypatch):
    traced, trace = [], activations._kept
    monkeypatch.setattr(activations, "_kept", lambda *args: traced.append(1) or trace(*args))
    config = memory.pretraining(presets.pali("vit-b/16+mt5-small"), memory.Work(2))
    parts = (activations.vit, activations._encoder_of, activations._decoder_of)
    plans, counts = [], []
    for _ in range(2):
        for part in parts:
            part.cache_clear()
        plans.append(memory.training(config, MeshConfig(1, 1, 1)))
        counts.append(len(traced))
    assert plans[0] == plans[1]
    assert counts[0] == counts[1] >= 3


def test_a_second_process_answers_alike_and_traces_no_layer(tmp_path):
    """Real processes; the second one's traces are counted by a hook into the model's own code."""
    code = """
import json
from pali.models import layers
times, project = [], layers.project
layers.project = lambda *a, **k: times.append(1) or project(*a, **k)
import numpy as np, pali
model = pali.load()
found = model.caption(np.zeros((72, 72, 3), np.uint8), "en,th")
print(json.dumps([len(times), {k: [v, v.log_prob] for k, v in found.items()}]))
"""
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    runs = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", code], env=environment, capture_output=True, check=True
            ).stdout
        )
        for _ in range(2)
    ]
    assert runs[0][0] > 0
    assert runs[1][0] == 0
    assert runs[0][1] == runs[1][1]
