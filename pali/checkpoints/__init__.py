# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Weights in and out: training state, model folders, and fitting one tree of names to another.

- `merge.py`: nested dicts <-> `a/b/c` names, stacked <-> separate layers, `fit` with a full report.
- `store.py`: the training state of a run, written by Orbax, kept and restored by step.
- `pretrained.py`: a model folder (config, safetensors, tokenizer, card), what `pali.load` reads.
"""
