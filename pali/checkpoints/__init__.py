# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Weights in and out: training state, model folders, and fitting one tree of names to another.

- `merge.py`: nested dicts <-> `a/b/c` names, stacked <-> separate layers, `fit` with a full report.
- `store.py`: the training state of a run, written by Orbax, kept and restored by step.
- `pretrained.py`: a model folder (config, safetensors, tokenizer, card), what `pali.load` reads.
- `weights.py`: what a reader of a foreign format returns: arrays by pali's names, not read yet.
- `t5x.py`, `t5x_files.py`: mT5 and umT5 from and to T5X. `big_vision.py`: ViTs of big_vision.
- `initial.py`: what a run starts from. `positions.py`: a ViT's positions for another grid.
"""
