# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Rematerialisation by name: what a layer keeps of its forward pass, until the backward pass.

What is not kept is computed once more when its gradient is due. "none", "minimal" and "full" are
T5X's names; all others are those of `jax.checkpoint_policies`, which big_vision takes as well:

    none                              all is kept, and nothing computed again
    dots                              results of matrix products
    minimal                           the same without those of attention's two products, which grow
                                      with the square of the length
    full                              nothing but the input of each layer

Nothing here imports JAX; pali/models/layers.py applies a policy to a layer.
"""

from __future__ import annotations

import difflib

POLICIES: dict[str, str | None] = {
    "none": None,
    "dots": "dots_saveable",
    "minimal": "dots_with_no_batch_dims_saveable",
    "full": "nothing_saveable",
    "everything_saveable": "everything_saveable",
    "dots_saveable": "dots_saveable",
    "checkpoint_dots": "checkpoint_dots",
    "dots_with_no_batch_dims_saveable": "dots_with_no_batch_dims_saveable",
    "checkpoint_dots_with_no_batch_dims": "checkpoint_dots_with_no_batch_dims",
    "nothing_saveable": "nothing_saveable",
}
"""For each name that of the policy in `jax.checkpoint_policies`; None: no rematerialisation."""


def check(name: str) -> None:
    """Raises where `name` is no policy.

    Raises:
      ValueError: it names the nearest ones, or all.
    """
    if name not in POLICIES:
        near = difflib.get_close_matches(str(name), POLICIES, n=2)
        hint = f"did you mean {' or '.join(map(repr, near))}? There" if near else "there"
        raise ValueError(f"remat is {name!r}; {hint} are {', '.join(POLICIES)}")
