# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""One of the processes of test_processes.py: trains for two steps on its own rows of the batches,
after a word with the others.

    python tests/process.py OUT.npz

The environment says how many there are. Together they have four devices, which XLA_FLAGS sees to.
The process of rank 0 writes what came out: the losses, and every parameter after the second step.
"""

import sys

import grain
import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from pali import losses, processes, sharding
from pali.checkpoints import merge, pretrained
from pali.config import MT5Config, PaLIConfig, ViTConfig
from pali.data.pipeline import batch_dataset
from pali.mesh_config import MeshConfig
from pali.models.pali import PaLI

CONFIG = PaLIConfig(ViTConfig(16, 1, 16, 2, 8, 16), MT5Config(64, 16, 32, 2, 8, 1, 1, scan=False))
BATCH, LENGTH = 8, 4


class Examples:
    """Random ones, by number."""

    def __len__(self):
        return 100

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        tokens = rng.integers(2, CONFIG.mt5.vocab_size, (3, LENGTH)).astype(np.int32)
        return {
            "visual_tokens": rng.normal(size=(4, CONFIG.vit.width)).astype(np.float32),
            "image_mask": np.bool_(index % 3),
            "encoder_input_tokens": tokens[0],
            "decoder_input_tokens": tokens[1],
            "decoder_target_tokens": tokens[2],
        }


def step(params, batch):
    """Loss and parameters after it, by plain descent."""

    def loss(params):
        logits = PaLI(CONFIG).apply({"params": params}, batch)
        return losses.cross_entropy(logits, batch["decoder_target_tokens"]).mean()

    value, grads = jax.value_and_grad(loss)(params)
    return value, jax.tree.map(lambda leaf, grad: leaf - 0.1 * grad, params, grads)


def meet(rank, count):
    """What processes make apart is known to all, and so is that one of them could not."""
    rows = processes.gather(lambda: ["ẅ" * rank, rank / 3])  # Of different lengths.
    assert rows == [["ẅ" * other, other / 3] for other in range(count)]
    assert processes.once(lambda: f"made by {rank}") == "made by 0"

    def last_cannot():
        if rank == count - 1:
            raise OSError("the picture has gone")

    with pytest.raises(OSError if rank == count - 1 else ValueError, match="the picture has gone"):
        processes.gather(last_cannot)


def main():
    """Two steps on a mesh over all processes."""
    processes.join()
    rank, count = jax.process_index(), jax.process_count()
    meet(rank, count)
    # The second and the third device change places: the shares of a process lie apart.
    devices = [jax.devices()[i] for i in (0, 2, 1, 3)]
    mesh = sharding.make_mesh(MeshConfig(fsdp=2), devices)
    shares = sharding.process_shares(mesh)
    assert shares == {2: ((rank, rank + 2), 4), 1: ((0, 1, 2, 3), 4)}[count]

    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: rng.normal(scale=0.3, size=leaf.shape).astype(np.float32),
        {n: leaf for n, leaf in pretrained.expected_params(CONFIG).items() if n != "vit"},
    )
    placed = sharding.shardings(mesh, params)
    params = sharding.distribute(params, placed)
    examples = grain.MapDataset.source(Examples())
    batches = batch_dataset(examples, lambda example: example, BATCH, shares)
    run = jax.jit(step, out_shardings=(None, placed), donate_argnums=0)
    values = []
    with jax.set_mesh(mesh):
        for number in range(2):
            value, params = run(params, sharding.global_batch(batches[number], mesh))
            values.append(float(value))
        whole = NamedSharding(mesh, PartitionSpec())
        params = jax.jit(lambda tree: tree, out_shardings=whole)(params)
    if rank == 0:
        arrays = {name: np.asarray(leaf) for name, leaf in merge.flatten(params).items()}
        np.savez(sys.argv[1], losses=values, **arrays)
    if count > 1:
        jax.distributed.shutdown()


if __name__ == "__main__":
    main()
