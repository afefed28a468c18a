# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What training minimises: (parameters, batch, dropout key) -> sums over the batch.

An objective returns totals, so that batches and parts of batches add up exactly:

    loss, count        nats, and the weights they were summed with
    correct            the same weights, where the likeliest token or class is the right one
    examples           rows of the batch, without those that were skipped
    exact              of these, rows of which every token is right
    class_loss, class_correct, class_count         of the rows whose class is known
    patch_loss, patch_count                        of the patches of which it is known what they
                                                   show
    contrast_loss, contrast_count                  of the rows whose label is known and that have
                                                   words

`minimised` makes of them the number whose gradient is taken. A batch comes in parts of different
lengths (pali/data/inputs.py); the ViT sees all pictures at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from pali import lora, losses, vocabulary_loss
from pali.config import Config
from pali.models.layers import project
from pali.models.pali import PaLI
from pali.models.vit import Seen, ViT
from pali.types import AUXILIARY, NOTHING, UNKNOWN, Batch, Params

Sums = dict[str, Array]
Objective = Callable[[Params, Sequence[Batch], Array | None], Sums]
"""(params, parts of a batch, dropout key or None) -> sums."""


def of(config: Config) -> Objective:
    """The objective that a config names; of parameters with adapters where it asks for them."""
    objective = {"classify": classify, "generate": generate}[config.objective](config)
    return lambda params, *rest: objective(lora.scaled(config.lora, params), *rest)


def minimised(config: Config, sums: Sums) -> Array:
    """The mean loss, and the means of what the config weighs beside it."""
    loss = sums["loss"] / jnp.maximum(sums["count"], 1)
    if config.class_weight:
        loss += config.class_weight * sums["class_loss"] / jnp.maximum(sums["class_count"], 1)
    if config.contrast_weight:
        count = jnp.maximum(sums["contrast_count"], 1)
        loss += config.contrast_weight * sums["contrast_loss"] / count
    if config.patch_weight:
        loss += config.patch_weight * sums["patch_loss"] / jnp.maximum(sums["patch_count"], 1)
    return loss


def counts(config: Config, parts: Sequence[Batch]) -> Sums:
    """What the sums of a batch will be divided by, known before anything is computed from it.

    Only of objectives whose loss is a sum over rows: see `Config.accumulate`.
    """
    found: Sums = {}
    if config.objective == "generate":
        found["count"] = sum((_weights(config, part).sum() for part in parts), jnp.zeros(()))
    if config.objective == "classify" or config.class_weight:
        known = _known(config, jnp.concatenate([part["label"] for part in parts])).sum()
        found["count" if config.objective == "classify" else "class_count"] = known
    return found


def auxiliary_params(config: Config) -> Params:
    """What the objective learns beside the model: a temperature, a head for patches."""
    learned: Params = {}
    if config.contrast_weight:
        learned["temperature"] = jnp.asarray(losses.START_TEMPERATURE)
    if config.patch_weight:
        words, width = config.model.mt5.vocab_size, config.model.vit.width
        head = {"kernel": jnp.zeros((words, width)), "bias": jnp.zeros(words)}
        learned["patches"] = {"head": head}
    return {AUXILIARY: learned} if learned else {}


def classify(config: Config) -> Objective:
    """The ViT alone: cross-entropy of its own head over class labels.

    Beside it, the words that patches show (`patch_weight`); a batch may then hold pictures that
    are of no class.
    """
    vit = ViT(config.model.vit)

    def sums(params: Params, parts: Sequence[Batch], dropout: Array | None) -> Sums:
        (batch,) = parts
        seen = _apply(vit, params["vit"], dropout, batch["image"])
        found = _classes(config, seen, batch["label"])
        total = {name.removeprefix("class_"): value for name, value in found.items()}
        total["examples"] = jnp.asarray(len(batch["label"]))
        if config.patch_weight:
            total |= _patches(params, seen, batch["patch_words"])
        return total

    return sums


def generate(config: Config) -> Objective:
    """Cross-entropy of the target tokens; "exact" counts targets that greedy decoding would write.

    Under teacher forcing every token of a target is the likeliest one exactly when greedy decoding
    produces that target, so the exact match of the captions needs no decoding.

    While the ViT is trained as well, its class head, a contrast of pictures with their names, and
    the words that patches show can be trained beside it (`class_weight`, `contrast_weight`,
    `patch_weight`).
    """
    model, vit = PaLI(config.model), ViT(config.model.vit)

    def sums(params: Params, parts: Sequence[Batch], dropout: Array | None) -> Sums:
        total: Sums = {}
        if "image" in parts[0]:
            images = jnp.concatenate([part["image"] for part in parts])
            seen: Seen = _apply(vit, params["vit"], dropout, images)
            rows = np.cumsum([len(part["image"]) for part in parts])[:-1]
            tokens = jnp.split(seen.tokens, rows)
            parts = [
                {**part, "visual_tokens": own} for part, own in zip(parts, tokens, strict=True)
            ]
            labels = jnp.concatenate([part["label"] for part in parts])
            if config.class_weight:
                total |= _classes(config, seen, labels)
            if config.contrast_weight:
                total |= _contrast(model, params, seen, labels, parts)
            if config.patch_weight:
                words = jnp.concatenate([part["patch_words"] for part in parts])
                total |= _patches(params, seen, words)
        for number, part in enumerate(parts):
            key = None if dropout is None else jax.random.fold_in(dropout, number)
            states = _apply(model, _only_model(params), key, part, "decoder_states")
            for name, value in _tokens(config, params, states, part).items():
                total[name] = total.get(name, 0) + value
        return total

    return sums


def _tokens(config: Config, params: Params, states: Float[Array, "b t D"], batch: Batch) -> Sums:
    weights = _weights(config, batch)
    found = vocabulary_loss.vocabulary_loss(
        states,
        params["mt5"]["decoder"]["logits_dense"]["kernel"],
        batch["decoder_target_tokens"],
        weights,
        dtype=config.model.mt5.dtype,
        chunks=config.loss_chunks,
        label_smoothing=config.label_smoothing,
        z_loss=config.z_loss,
    )
    padding = batch["decoder_loss_weights"] == 0
    right, skipped = found.right | padding, padding.all(-1)
    return {
        "loss": found.loss,
        "correct": (right * weights).sum(),
        "count": weights.sum(),
        "exact": (right.all(-1) & ~skipped).sum(),
        "examples": (~skipped).sum(),
    }


def _weights(config: Config, batch: Batch) -> Float[Array, "b t"]:
    real = batch["decoder_loss_weights"]
    if config.weigh == "targets":
        return real / jnp.maximum(real.sum(-1, keepdims=True), 1)
    return real


def _known(config: Config, labels: Int[Array, " b"]) -> Bool[Array, " b"]:
    """Which rows are of a class that the ViT's head knows."""
    return (labels >= 0) & (labels < config.model.vit.num_classes)


def _classes(config: Config, seen: Seen, labels: Array) -> Sums:
    if seen.classes is None:
        raise ValueError(
            'the ViT has no classes to learn: its config needs pool="map", num_classes'
        )
    known = _known(config, labels)
    loss = losses.cross_entropy(
        seen.classes,
        jnp.where(known, labels, 0),
        label_smoothing=config.label_smoothing,
        z_loss=config.z_loss,
    )
    return {
        "class_loss": (loss * known).sum(),
        "class_correct": ((seen.classes.argmax(-1) == labels) & known).sum(),
        "class_count": known.sum(),
    }


WORDS = 512
"""Different words of a batch that pictures are compared with; what there is beyond is left out."""


def _contrast(
    model: PaLI, params: Params, seen: Seen, labels: Array, parts: Sequence[Batch]
) -> Sums:
    """Patches, as PaLI's projection brings them to the text embeddings, against names.

    Only of rows with a label, whose target names or spells what the picture shows. One thing may be
    in a batch several times, named in several languages: all these names are right for all.
    """
    own, temperature = _only_model(params), params[AUXILIARY]["temperature"]

    def run(method: Callable[[Any, Any], Any], inputs: Any) -> Any:
        return model.apply({"params": own}, inputs, method=method)

    patches = run(lambda pali, x: pali.projection(x), seen.tokens)
    longest = max(part["decoder_target_tokens"].shape[1] for part in parts)
    targets = [part["decoder_target_tokens"] for part in parts]
    tokens = jnp.concatenate([jnp.pad(t, ((0, 0), (0, longest - t.shape[1]))) for t in targets])
    known = labels >= 0
    tokens = jnp.where(known[:, None] & (tokens > 1), tokens, 0)  # 1 is the end
    words = jnp.unique(tokens, size=WORDS, fill_value=0)
    in_text = (tokens[:, :, None] == words).any(1) & (words > 0)
    same = (labels[:, None] == labels) & known
    right = same.astype(jnp.float32) @ in_text.astype(jnp.float32) > 0
    vectors = run(lambda pali, x: pali.mt5.embed(x), words)
    loss = losses.word_contrast(patches, vectors, words > 0, right, temperature)
    return {"contrast_loss": loss.sum(), "contrast_count": right.any(-1).sum()}


BLANK_WEIGHT = 0.1
"""Of a patch that shows nothing, against one that shows something: most show nothing."""


def _patches(params: Params, seen: Seen, patch_words: Int[Array, "b p w"]) -> Sums:
    """Each patch against the words that some patch of the batch shows, on a head of its own.

    The right words of a patch share the probability evenly. What shows nothing is the padding
    token.
    """
    head = params[AUXILIARY]["patches"]["head"]
    shown = patch_words.reshape(-1, patch_words.shape[-1])
    words = jnp.unique(shown, size=WORDS, fill_value=UNKNOWN)
    right = ((shown[:, :, None] == words) & (words != UNKNOWN)).any(1)
    # Only the rows of the head that are asked for.
    kernel, bias = head["kernel"][jnp.maximum(words, 0)], head["bias"][jnp.maximum(words, 0)]
    tokens = seen.tokens.reshape(-1, seen.tokens.shape[-1])
    logits = project(tokens, kernel.T, seen.tokens.dtype) + bias
    loss = losses.even_cross_entropy(logits, words != UNKNOWN, right)
    weights = right.any(-1) * jnp.where(shown[:, 0] == NOTHING, BLANK_WEIGHT, 1.0)
    return {"patch_loss": (loss * weights).sum(), "patch_count": weights.sum()}


def _only_model(params: Params) -> Params:
    return {name: part for name, part in params.items() if name != AUXILIARY}


def _apply(
    model: Any, params: Params, dropout: Array | None, inputs: Any, method: str = "__call__"
) -> Any:
    rngs = {} if dropout is None else {"dropout": dropout}
    given = {"deterministic": dropout is None, "rngs": rngs, "method": method}
    return model.apply({"params": params}, inputs, **given)
