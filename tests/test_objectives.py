# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""pali.objectives: what the sums mean, and that cutting a batch in parts changes none of them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pali import losses, objectives
from pali.config import Config, DataConfig, MT5Config, PaLIConfig, ViTConfig
from pali.data.converter import EncoderDecoderFeatures
from pali.models.pali import PaLI, init_params
from pali.types import AUXILIARY, NOTHING, UNKNOWN

CLASSES = 5
MODEL = PaLIConfig(
    ViTConfig(8, 1, 16, 2, 4, 8, pool="map", num_classes=CLASSES),
    MT5Config(40, 12, 16, 2, 6, 1, 1),
)
PLAIN = Config(MODEL, DataConfig("no data are read"))
EVERYTHING = dataclasses.replace(
    PLAIN,
    class_weight=0.7,
    contrast_weight=0.3,
    patch_weight=0.4,
    label_smoothing=0.1,
    z_loss=1e-3,
)

LABELS = (3, -1, 0, 3, CLASSES + 2, 1, -1, 4)
"""Classes; a thing that the head does not know; nothing said. Two rows show the same."""
LENGTHS = ((3, 2), (9, 7), (4, 3), (2, 1), (10, 8), (3, 4), (8, 5), (9, 6))
"""Of each row's prompt and target."""


@pytest.fixture(scope="module")
def examples():
    rng = np.random.default_rng(0)
    found = []
    for label, (inputs, targets) in zip(LABELS, LENGTHS, strict=True):
        example = {
            "image": rng.integers(0, 256, (8, 8, 3), dtype=np.uint8),
            "inputs": np.append(rng.integers(2, 40, inputs - 1), 1).astype(np.int32),
            "targets": np.append(rng.integers(2, 40, targets - 1), 1).astype(np.int32),
            "patch_words": np.array(
                [[5, 9], [UNKNOWN] * 2, [NOTHING, UNKNOWN], [label + 8, UNKNOWN]]
            ),
        }
        found.append(example | ({} if label < 0 else {"label": label}))
    del found[6]["image"]  # text alone
    return found


def part(examples, inputs=10, targets=8):
    """Some examples as one part of a batch, padded to these lengths."""
    convert = EncoderDecoderFeatures(inputs, targets, image_size=8)
    rows = [convert(example) for example in examples]
    return {name: jnp.asarray(np.stack([row[name] for row in rows])) for name in rows[0]}


@pytest.fixture(scope="module")
def params():
    params = jax.jit(init_params, static_argnums=0)(MODEL, jax.random.key(0))
    rng = np.random.default_rng(1)
    # Beginnings are zeros and ones in places, through which little would show.
    return jax.tree.map(
        lambda leaf: leaf + jnp.asarray(rng.normal(0, 0.2, leaf.shape), "f4"), params
    )


def with_extras(params, config=EVERYTHING):
    return params | objectives.auxiliary_params(config)


def test_a_batch_cut_in_parts_has_the_sums_and_gradients_of_the_whole(params, examples):
    objective = objectives.generate(EVERYTHING)

    def loss(params, parts):
        sums = objective(params, parts, None)
        return objectives.minimised(EVERYTHING, sums), sums

    grad = jax.jit(jax.grad(loss, has_aux=True))
    whole, sums = grad(with_extras(params), (part(examples),))
    # Padded in another way as well, longer or just long enough.
    parts = (part(examples[:1], 5, 2), part(examples[1:3], 16, 12), part(examples[3:], 10, 8))
    cut, sums_of_parts = grad(with_extras(params), parts)
    assert sums.keys() == sums_of_parts.keys()
    for name, value in sums.items():
        np.testing.assert_allclose(sums_of_parts[name], value, rtol=1e-5, err_msg=name)
    for (path, ours), theirs in zip(
        jax.tree_util.tree_leaves_with_path(cut), jax.tree.leaves(whole), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6, err_msg=str(path))
        assert np.abs(ours).max() > 0, path


def test_the_class_part_is_what_training_the_vit_alone_computes(params, examples):
    beside = objectives.generate(
        dataclasses.replace(EVERYTHING, contrast_weight=0.0, patch_weight=0.0)
    )
    sums = beside(params, (part(examples[:3]), part(examples[3:])), None)
    known = [i for i, label in enumerate(LABELS) if 0 <= label < CLASSES]
    alone = objectives.classify(dataclasses.replace(EVERYTHING, objective="classify", **NO_EXTRAS))
    pictures = part([examples[i] for i in known])
    batch = {name: pictures[name] for name in ("image", "label")}
    expected = alone({"vit": params["vit"]}, (batch,), None)
    assert expected["count"] == expected["examples"] == len(known) == 5
    for name in ("loss", "correct", "count"):
        np.testing.assert_allclose(sums[f"class_{name}"], expected[name], rtol=1e-5, err_msg=name)


NO_EXTRAS = {"class_weight": 0.0, "contrast_weight": 0.0, "patch_weight": 0.0}


def log_probabilities(params, batch):
    """Of every token of the targets, in float64; zero where there is none."""
    logits = np.asarray(PaLI(MODEL).apply({"params": params}, batch), np.float64)
    logits -= logits.max(-1, keepdims=True)
    table = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    targets = np.asarray(batch["decoder_target_tokens"])
    return np.take_along_axis(table, targets[..., None], -1)[..., 0] * (targets > 0), table


@pytest.mark.parametrize("weigh", ["tokens", "targets"])
def test_what_counts_alike(params, examples, weigh):
    batch = part(examples)
    config = dataclasses.replace(PLAIN, weigh=weigh)
    sums = objectives.generate(config)(params, (batch,), None)
    each, table = log_probabilities(params, batch)
    lengths = np.array([targets for _, targets in LENGTHS])
    right = (table.argmax(-1) == batch["decoder_target_tokens"]) & (each != 0)
    if weigh == "tokens":
        loss, count, correct = -each.sum(), lengths.sum(), right.sum()
    else:
        loss, count = -(each.sum(1) / lengths).sum(), len(examples)
        correct = (right.sum(1) / lengths).sum()
    np.testing.assert_allclose(sums["loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(sums["count"], count, rtol=1e-6)
    np.testing.assert_allclose(sums["correct"], correct, rtol=1e-6)
    np.testing.assert_allclose(objectives.minimised(config, sums), loss / count, rtol=1e-5)
    assert sums["examples"] == len(examples)


def test_a_short_target_weighs_as_a_long_one_does(params, examples):
    """Twice the same row in one part, longer ones beside it: the means move as they should."""
    config = dataclasses.replace(PLAIN, weigh="targets")
    objective = objectives.generate(config)

    def mean(rows):
        sums = objective(params, (part(rows),), None)
        return float(objectives.minimised(config, sums))

    long, short = examples[4], examples[3]
    np.testing.assert_allclose(mean([long, short]), (mean([long]) + mean([short])) / 2, rtol=1e-5)


def test_exact_counts_rows_and_right_tokens_follow_the_argmax(params, examples):
    """Targets that are what the model finds likeliest, in some rows but for their last token."""
    batch = dict(part(examples))
    logits = PaLI(MODEL).apply({"params": params}, batch)
    likeliest = np.where(batch["decoder_target_tokens"] > 0, logits.argmax(-1), 0)
    broken = likeliest.copy()
    for row in (1, 4):
        broken[row, LENGTHS[row][1] - 1] = 39 - broken[row, LENGTHS[row][1] - 1]
    # What the decoder reads stays as it is, so that its logits do.
    batch["decoder_target_tokens"] = jnp.asarray(broken)
    sums = objectives.generate(PLAIN)(params, (batch,), None)
    assert sums["exact"] == len(examples) - 2
    assert sums["correct"] == sums["count"] - 2


def test_a_skipped_row_is_no_example_and_not_exact(params, examples):
    """Else a run whose pictures are gone would seem to answer them all."""
    batch = dict(part(examples))
    batch["decoder_loss_weights"] = batch["decoder_loss_weights"].at[2:4].set(0.0)
    sums = objectives.generate(PLAIN)(params, (batch,), None)
    alone = objectives.generate(PLAIN)(params, (part(examples[:2] + examples[4:]),), None)
    assert sums["examples"] == alone["examples"] == len(examples) - 2
    assert sums["exact"] == alone["exact"] == 0


def projected(params, examples):
    """Visual tokens as they stand before the text embeddings, [b p D], and the table of those."""
    tokens = PaLI(MODEL).apply({"params": params}, part(examples)["image"], method="look")
    projection = params["projection"]
    patches = tokens @ projection["kernel"] + projection["bias"]
    return patches, params["mt5"]["token_embedder"]["embedding"]


def test_the_contrast_asks_pictures_for_the_words_of_their_names(params, examples):
    config = dataclasses.replace(PLAIN, contrast_weight=1.0)
    own = params | {AUXILIARY: {"temperature": jnp.asarray(0.4)}}
    sums = objectives.generate(config)(own, (part(examples[:3]), part(examples[3:])), None)
    patches, table = projected(params, examples)
    # By thing, in any of its names; the end of a text and rows that name nothing are left out.
    named: dict[int, set[int]] = {}
    for label, example in zip(LABELS, examples, strict=True):
        if label >= 0:
            named.setdefault(label, set()).update(example["targets"][:-1].tolist())
    words = sorted(set().union(*named.values()))
    right = np.array([[word in named.get(label, ()) for word in words] for label in LABELS])
    asked, temperature = jnp.ones(len(words), bool), jnp.asarray(0.4)
    expected = losses.word_contrast(
        patches, table[np.array(words)], asked, jnp.asarray(right), temperature
    )
    np.testing.assert_allclose(sums["contrast_loss"], expected.sum(), rtol=1e-4)
    assert sums["contrast_count"] == sum(label >= 0 for label in LABELS)


def test_patches_are_asked_for_the_words_they_show(params, examples):
    config = dataclasses.replace(PLAIN, patch_weight=1.0)
    own = with_extras(params, config)
    head = own[AUXILIARY]["patches"]["head"]
    rng = np.random.default_rng(2)
    head["kernel"] += jnp.asarray(rng.normal(size=head["kernel"].shape), "f4")
    head["bias"] += jnp.asarray(rng.normal(size=head["bias"].shape), "f4")
    sums = objectives.generate(config)(own, (part(examples[:3]), part(examples[3:])), None)
    tokens = PaLI(MODEL).apply({"params": params}, part(examples)["image"], method="look")
    shown = np.stack([example["patch_words"] for example in examples])
    words = np.unique(shown[shown != UNKNOWN])
    logits = (tokens @ head["kernel"].T + head["bias"])[..., words]
    shares = np.asarray(jax.nn.log_softmax(logits))
    total = weights = 0.0
    for own_shares, ids in zip(shares.reshape(-1, len(words)), shown.reshape(-1, 2), strict=True):
        if set(ids) != {UNKNOWN}:
            weight = objectives.BLANK_WEIGHT if ids[0] == NOTHING else 1.0
            total -= weight * own_shares[np.isin(words, ids)].mean()
            weights += weight
    np.testing.assert_allclose(sums["patch_loss"], total, rtol=1e-4)
    np.testing.assert_allclose(sums["patch_count"], weights, rtol=1e-6)


def test_the_vit_alone_learns_patches_as_it_does_beside_the_texts(params, examples):
    config = dataclasses.replace(PLAIN, patch_weight=0.5)
    alone = dataclasses.replace(config, objective="classify")
    own = with_extras(params, config)
    batch = part(examples)
    both = objectives.generate(config)(own, (batch,), None)
    pictures = {name: batch[name] for name in ("image", "label", "patch_words")}
    vit = {"vit": own["vit"], AUXILIARY: own[AUXILIARY]}
    sums = objectives.classify(alone)(vit, (pictures,), None)
    for name in ("patch_loss", "patch_count"):
        np.testing.assert_allclose(sums[name], both[name], rtol=1e-6)
    expected = sums["loss"] / 5 + 0.5 * sums["patch_loss"] / sums["patch_count"]
    np.testing.assert_allclose(objectives.minimised(alone, sums), expected, rtol=1e-6)
    nameless = pictures | {"label": jnp.full(len(examples), -1)}
    left = objectives.classify(alone)(vit, (nameless,), None)
    expected = 0.5 * sums["patch_loss"] / sums["patch_count"]
    np.testing.assert_allclose(objectives.minimised(alone, left), expected, rtol=1e-6)


def test_what_is_minimised_is_a_sum_of_means(params, examples):
    sums = objectives.generate(EVERYTHING)(with_extras(params), (part(examples),), None)
    expected = (
        sums["loss"] / sums["count"]
        + 0.7 * sums["class_loss"] / 5
        + 0.3 * sums["contrast_loss"] / sums["contrast_count"]
        + 0.4 * sums["patch_loss"] / sums["patch_count"]
    )
    np.testing.assert_allclose(objectives.minimised(EVERYTHING, sums), expected, rtol=1e-6)


def test_a_batch_of_which_nothing_is_known_adds_nothing(params, examples):
    unknown = [dict(example) for example in examples]
    for example in unknown:
        example.pop("label", None)
        example["patch_words"] = np.full((4, 2), UNKNOWN)
    sums = objectives.generate(EVERYTHING)(with_extras(params), (part(unknown),), None)
    assert sums["class_count"] == sums["contrast_count"] == sums["patch_count"] == 0
    plain = objectives.minimised(PLAIN, sums)
    np.testing.assert_array_equal(objectives.minimised(EVERYTHING, sums), plain)


def test_what_an_objective_learns_for_itself():
    assert objectives.auxiliary_params(PLAIN) == {}
    found = objectives.auxiliary_params(EVERYTHING)[AUXILIARY]
    np.testing.assert_allclose(jnp.exp(found["temperature"]), 10, rtol=1e-6)
    assert found["patches"]["head"]["kernel"].shape == (40, 8)
