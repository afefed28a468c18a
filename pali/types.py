# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Names of axes and of batches, the same in every file.

Axis legend. Shape comments of pictures and tokens use words and small letters:
  b batch   h w c height, width, colour of a picture   p visual tokens   d width
Einsum equations use capitals:
  B batch   S source (visual tokens, then text)   T target   N heads   H width of a head
  D model width   F MLP width   V vocabulary   L layers (the leading axis of stacked parameters)
"""

from __future__ import annotations

from typing import Any, TypedDict

from jaxtyping import Array, Bool, Float, Int, UInt8

Params = dict[str, Any]
"""A nested dict of parameters, as Flax makes it."""

NOTHING, UNKNOWN = 0, -1
"""Of patch words: a patch shows nothing; it is not known what it shows."""

AUXILIARY = "auxiliary"
"""Key of the parameters that an objective learns beside the model's; no model keeps them."""


class Batch(TypedDict, total=False):
    """Model features: what the converter makes and the model reads.

    A picture comes either as pixels or as visual tokens that a frozen ViT made before.
    """

    image: UInt8[Array, "b h w 3"]
    visual_tokens: Float[Array, "b p d_vit"]
    image_mask: Bool[Array, " b"]
    """False: the example has no picture, and its visual tokens are hidden from attention."""
    encoder_input_tokens: Int[Array, "b s"]
    """0 is padding, here and in the two below."""
    decoder_input_tokens: Int[Array, "b t"]
    decoder_target_tokens: Int[Array, "b t"]
    decoder_loss_weights: Float[Array, "b t"]
    patch_words: Int[Array, "b p w"]
    """Words that each patch shows (pali/data/patch_words.py), where training wants to know."""
    label: Int[Array, " b"]
    """What is pictured: a class of the ViT's head where below `num_classes`, another number where
    it is a thing that the head does not know, -1 where that is not said."""
