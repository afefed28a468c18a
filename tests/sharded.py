# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What test_sharding.py runs in a process of its own, which has eight devices: prints JSON.

python tests/sharded.py
"""

import functools
import json
import os
import sys

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
import numpy as np

import pali
from pali import decoding, losses, sharding
from pali.checkpoints import merge, pretrained
from pali.config import MT5Config, PaLIConfig, ViTConfig
from pali.mesh_config import MeshConfig
from pali.models.pali import PaLI

CONFIG = PaLIConfig(
    ViTConfig(32, 2, 64, 4, 8, 16, class_token=True, class_token_visual=True),
    MT5Config(256, 32, 48, 4, 8, 2, 2),
)
MESHES = ((8, 1, 1), (1, 8, 1), (2, 2, 2))
ROWS, LENGTH = 16, 6


def random_params(config):
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: rng.normal(scale=0.3, size=leaf.shape).astype(np.float32),
        pretrained.expected_params(config),
    )


def random_batch(config):
    rng = np.random.default_rng(1)
    tokens = rng.integers(2, config.mt5.vocab_size, (3, ROWS, LENGTH))
    for row in range(ROWS):
        tokens[0, row, 2 + row % 5 :] = 0  # Prompts of several lengths.
    return {
        "image": rng.integers(0, 256, (ROWS, *config.vit.image_shape, 3)).astype(np.uint8),
        "image_mask": np.arange(ROWS) % 3 > 0,
        "encoder_input_tokens": tokens[0].astype(np.int32),
        "decoder_input_tokens": tokens[1].astype(np.int32),
        "decoder_target_tokens": tokens[2].astype(np.int32),
    }


def loss(config, params, batch):
    logits = PaLI(config).apply({"params": params}, batch)
    return losses.cross_entropy(logits, batch["decoder_target_tokens"]).mean()


def answer(config, params, batch):
    """Greedy ids."""
    apply = functools.partial(PaLI(config).apply, {"params": params})
    visual = apply(batch["image"], method="look")
    encoded = apply(visual, batch["image_mask"], batch["encoder_input_tokens"], method="encode")
    cache = apply(*encoded, LENGTH, method="init_cache")
    step = functools.partial(apply, method="decode_step")
    return decoding.greedy(step, cache, len(batch["image"]), LENGTH, eos_id=-1).tokens


def difference(tree, other):
    """The largest difference, relative to the largest number of the same array.

    A bias of keys changes no attention: its gradient is rounding, compared with that of queries.
    """
    ours, theirs = merge.flatten(tree), merge.flatten(other)
    found = {}
    for name, leaf in theirs.items():
        scale = np.abs(theirs[name.replace("key/bias", "query/bias")]).max()
        found[name] = float(np.abs(np.asarray(ours[name]) - leaf).max() / scale)
    worst = max(found, key=lambda name: found[name])
    return [worst, found[worst]]


def shards(tree):
    """{path: shape of what the first device holds}"""
    return {n: leaf.addressable_shards[0].data.shape for n, leaf in merge.flatten(tree).items()}


def captions(mesh):
    """What the embedded model says, and which share of its numbers lies on the first device."""
    model = pali.load(mesh=mesh)
    said = model.caption(pretrained.EMBEDDED / "examples" / "ring.png", "en,sw")
    leaves = jax.tree.leaves(model.params)
    first = sum(leaf.addressable_shards[0].data.size for leaf in leaves)
    return said, first / sum(leaf.size for leaf in leaves)


def main():
    """Everything on one device, and on each mesh."""
    params, batch = random_params(CONFIG), random_batch(CONFIG)
    grad = jax.value_and_grad(functools.partial(loss, CONFIG))
    value, grads = jax.tree.map(np.asarray, jax.jit(grad)(params, batch))
    found = {}
    for sizes in MESHES:
        mesh = sharding.make_mesh(MeshConfig(*sizes))
        placed = sharding.shardings(mesh, params)
        mine, rows = sharding.distribute(params, placed), sharding.global_batch(batch, mesh)
        with jax.set_mesh(mesh):
            compiled = jax.jit(grad, out_shardings=(None, placed)).lower(mine, rows).compile()
            ours, our_grads = compiled(mine, rows)
        found["x".join(map(str, sizes))] = {
            "loss": abs(float(ours) - float(value)) / float(value),
            "grads": difference(our_grads, grads),
            "params": shards(mine),
            "rows": rows["image"].addressable_shards[0].data.shape[0],
            "temporary": compiled.memory_analysis().temp_size_in_bytes,
        }
    answers = jax.jit(functools.partial(answer, CONFIG))
    alone = np.asarray(answers(params, batch))
    with jax.set_mesh(mesh):
        all_rows, one_row = answers(mine, rows), answers(mine, {n: a[:1] for n, a in batch.items()})
    found["ids"] = [ids.tolist() for ids in (alone, np.asarray(all_rows), np.asarray(one_row))]
    found["captions"] = [captions(mesh) for mesh in (None, MeshConfig(data=2, fsdp=4))]
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
