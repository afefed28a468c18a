# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Any metric on any references and predictions, by name: what `pali score` runs.

Scores are on the scale of the official scripts: CIDEr 1.419 and not 141.9, accuracies and error
rates 0.732 and not 73.2. Text of captions is tokenised here; all other text reaches its metric as
it was written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pali.metrics import (
    anls,
    answer_match,
    bleu,
    cider,
    error_rates,
    ptb,
    ptb_java,
    relaxed_accuracy,
    rouge_l,
    vqa_accuracy,
)
from pali.metrics.pairs import Pairs
from pali.metrics.signature import Signature

Texts = Sequence[Sequence[str]]
PerItem = list[float | None]
"""The score of each item, None for one that measures nothing."""
Scores = dict[str, float]
"""The score first, by the name of the metric; others follow."""


@dataclass(frozen=True)
class Metric:
    """One name of `pali score --metric`."""

    summary: str
    variants: tuple[str, ...]
    """The first is the default."""
    compute: Callable[[Texts, Sequence[str], str], tuple[Scores, PerItem]]
    """(references, predictions, variant) -> the scores, and those of each item."""
    described: Callable[[str], str] = lambda variant: variant
    """A variant as the signature has it."""
    tokenized: bool = False
    mean: bool = False
    """Whether the score of any part of the items is the mean of theirs; CIDEr's is not."""


@dataclass(frozen=True)
class Result:
    """A score, and what it is a score of."""

    score: float
    scores: Scores
    per_item: dict[str, float | None]
    signature: Signature
    notes: list[str]


TOKENIZERS = ("ptb", "ptb-java", "ptb-py", "none")


def score(
    pairs: Pairs, name: str, variant: str | None = None, tokenizer: str | None = None
) -> Result:
    """Scores what was read from two files.

    Args:
      pairs: of pali/metrics/pairs.py.
      name: one of METRICS.
      variant: one of the metric's; None is its first.
      tokenizer: of a metric on captions one of TOKENIZERS, None being "ptb": Stanford's where it is
        installed, else pali's own port, as the signature then says.

    Raises:
      ValueError: there is no such metric or variant, or the metric has no tokenizer.
      RuntimeError: "ptb-java" is asked for and not installed, or failed.
    """
    if name not in METRICS:
        raise ValueError(f"no metric {name!r}; there are {', '.join(METRICS)}")
    metric = METRICS[name]
    variant = variant or metric.variants[0]
    if variant not in metric.variants:
        raise ValueError(
            f"no variant {variant!r} of {name}; there {_are(metric.variants)}, the first by default"
        )
    if tokenizer is not None and not metric.tokenized:
        having = ", ".join(key for key, other in METRICS.items() if other.tokenized)
        raise ValueError(f"{name} does not split text into tokens; only {having} have a tokenizer")
    notes = [*pairs.notes, *remarks(name, pairs.references)]
    references: Texts = pairs.references
    predictions: Sequence[str] = pairs.predictions
    label = "none"
    if metric.tokenized:
        references, predictions, label, said = tokenized(references, predictions, tokenizer)
        notes += said
    scores, per_item = metric.compute(references, predictions, variant)
    signature = Signature(
        name,
        metric.described(variant),
        len(pairs.ids),
        tokenizer=label,
        partial=pairs.partial,
    )
    by_id = dict(zip(pairs.ids, per_item, strict=True))
    return Result(next(iter(scores.values())), scores, by_id, signature, notes)


def _are(names: Sequence[str]) -> str:
    return f"{'is' if len(names) == 1 else 'are'} {', '.join(names)}"


def tokenized(
    references: Texts, predictions: Sequence[str], tokenizer: str | None = None
) -> tuple[Texts, Sequence[str], str, list[str]]:
    """References and predictions as tokens, the tokenizer as the signature has it, notes.

    Raises:
      ValueError: there is no such tokenizer.
      RuntimeError: "ptb-java" is asked for and not installed, or failed.
    """
    tokenizer = tokenizer or "ptb"
    if tokenizer not in TOKENIZERS:
        raise ValueError(f"no tokenizer {tokenizer!r}; there are {', '.join(TOKENIZERS)}")
    notes = []
    if tokenizer == "ptb":
        missing = ptb_java.missing()
        tokenizer = "ptb-java" if missing is None else "ptb-py"
        if missing is not None:
            notes.append(f"tokens by pali's own port of Stanford's tokenizer, since {missing}")
    tokenize, label = {
        "ptb-java": (ptb_java.tokenize, f"ptb-java@{ptb_java.VERSION}"),
        "ptb-py": (ptb.tokenize, f"ptb-py@{ptb.VERSION}"),
        "none": (_on_one_line, "none"),
    }[tokenizer]
    # References and predictions in one run: Java takes most of a second to start.
    flat = [text for known in references for text in known]
    tokens = tokenize([*flat, *predictions])
    split, start = [], 0
    for known in references:
        split.append(tokens[start : start + len(known)])
        start += len(known)
    return split, tokens[start:], label, notes


def _on_one_line(captions: Sequence[str]) -> list[str]:
    return [ptb.LINE_BREAKS.sub(" ", caption) for caption in captions]


def remarks(name: str, references: Texts) -> list[str]:
    """What is unusual about these references for that metric."""
    if name == "cider" and len(references) == 1:
        return ["a single picture always has a CIDEr of 0: no n-gram is rarer than another"]
    if name.endswith("vqa_accuracy") or name in ("vizwiz_accuracy", "textvqa_accuracy"):
        usual = vqa_accuracy.ANSWERS
        others = sum(len(known) != usual for known in references)
        alone = sum(len(known) == 1 for known in references)
        if others:
            return [
                f"{others:,} of {len(references):,} questions do not have {usual} answers, as the "
                f"official data do; {alone:,} have one, which is left out when it is compared "
                "with the others, so that they score 0 whatever is said"
            ]
    return []


def _cider(references: Texts, predictions: Sequence[str], variant: str) -> tuple[Scores, PerItem]:
    each = cider.cider_per_item(references, predictions)
    return {"cider": float(each.mean())}, each.tolist()


def _bleu(references: Texts, predictions: Sequence[str], variant: str) -> tuple[Scores, PerItem]:
    order = int(variant[-1])
    scores = bleu.bleu(references, predictions)
    each = bleu.bleu_per_item(references, predictions)[:, order - 1]
    return {f"bleu_{order}": scores[f"bleu_{order}"]} | scores, each.tolist()


def _rouge_l(references: Texts, predictions: Sequence[str], variant: str) -> tuple[Scores, PerItem]:
    each = rouge_l.rouge_l_per_item(references, predictions)
    return {"rouge_l": float(each.mean())}, each.tolist()


def _mean_of(
    name: str, per_item: Callable[[Texts, Sequence[str], str], np.ndarray]
) -> Callable[[Texts, Sequence[str], str], tuple[Scores, PerItem]]:
    def compute(
        references: Texts, predictions: Sequence[str], variant: str
    ) -> tuple[Scores, PerItem]:
        each = per_item(references, predictions, variant)
        return {name: float(each.mean())}, each.tolist()

    return compute


def _error_rate(references: Texts, predictions: Sequence[str], name: str) -> tuple[Scores, PerItem]:
    units = {
        "cer": error_rates.characters,
        "cer_no_spaces": error_rates.characters_without_spaces,
        "wer": error_rates.words,
    }[name]
    counts = [
        error_rates.statistics(said, known, units)
        for known, said in zip(references, predictions, strict=True)
    ]
    edits, length = (sum(column) for column in zip(*counts, strict=True))
    if not length:
        raise ValueError("every reference is empty: there is no text to count errors in")
    return {name: edits / length}, [part / whole if whole else None for part, whole in counts]


METRICS = {
    "cider": Metric(
        "CIDEr-D of captions", ("cider-d",), _cider, lambda _: cider.VARIANT, tokenized=True
    ),
    "bleu": Metric(
        "BLEU of captions, on the corpus",
        ("bleu-4", "bleu-3", "bleu-2", "bleu-1"),
        _bleu,
        lambda variant: f"{bleu.VARIANT}|{variant}",
        tokenized=True,
    ),
    "rouge_l": Metric(
        "COCO's ROUGE-L of captions",
        ("coco",),
        _rouge_l,
        lambda _: rouge_l.VARIANT,
        tokenized=True,
        mean=True,
    ),
    "vqa_accuracy": Metric(
        "VQA accuracy against ten answers",
        ("official", "m4c", "vizwiz", "bv"),
        _mean_of("vqa_accuracy", vqa_accuracy.vqa_accuracy_per_item),
        mean=True,
    ),
    "vizwiz_accuracy": Metric(
        "the same as the API of VizWiz-VQA has it",
        ("vizwiz",),
        _mean_of("vizwiz_accuracy", vqa_accuracy.vqa_accuracy_per_item),
        mean=True,
    ),
    "textvqa_accuracy": Metric(
        "the same as mmf has it for TextVQA",
        ("m4c", "official"),
        _mean_of("textvqa_accuracy", vqa_accuracy.vqa_accuracy_per_item),
        mean=True,
    ),
    "anls": Metric(
        "similarity of answers read in documents",
        tuple(anls.VARIANTS),
        _mean_of("anls", anls.anls_per_item),
        mean=True,
    ),
    "relaxed_accuracy": Metric(
        "ChartQA: numbers may be off by 5 %",
        tuple(relaxed_accuracy.VARIANTS),
        _mean_of("relaxed_accuracy", relaxed_accuracy.relaxed_accuracy_per_item),
        mean=True,
    ),
    "cer": Metric(
        "character error rate",
        ("spaces", "no-spaces"),
        lambda known, said, variant: _error_rate(
            known, said, "cer" if variant == "spaces" else "cer_no_spaces"
        ),
        lambda v: error_rates.VARIANTS["cer" if v == "spaces" else "cer_no_spaces"],
    ),
    "wer": Metric(
        "word error rate",
        ("words",),
        lambda known, said, variant: _error_rate(known, said, "wer"),
        lambda _: error_rates.VARIANTS["wer"],
    ),
    "exact_match": Metric(
        "share of answers that are right",
        tuple(answer_match.RULES),
        _mean_of("exact_match", answer_match.answer_match_per_item),
        mean=True,
    ),
}
