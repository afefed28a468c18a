# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Character and word error rate: how many edits make the answer the text in the picture.

Formula: `100 * edits summed over examples / characters (or words) of the references summed`, edits
being the Levenshtein distance (insertions, deletions and substitutions, each one). As jiwer has it:
corpus sums and not a mean of ratios, so a long text weighs more; lower is better, and more than 100
is possible. Of several references the one with the lowest rate counts.

Variants, after NFKC and single spaces (`normalise` of exact_match.py), where jiwer's numbers are
equal to these:

  nfkc|spaces      characters are code points, a space is one
  nfkc|no-spaces   all white space removed: for scripts whose spaces and line breaks say little
  nfkc|words       words are what stands between spaces

A reference that is empty then measures nothing, and is left out.
"""

from collections.abc import Callable, Sequence

from rapidfuzz.distance import Levenshtein

from pali.metrics.exact_match import as_references, check_lengths, normalise

VARIANTS = {
    "cer": "levenshtein|nfkc|spaces",
    "cer_no_spaces": "levenshtein|nfkc|no-spaces",
    "wer": "levenshtein|nfkc|words",
}

Units = Callable[[str], Sequence[str]]


def characters(text: str) -> str:
    """The units of `cer`."""
    return normalise(text)


def characters_without_spaces(text: str) -> str:
    """The units of `cer_no_spaces`."""
    return "".join(normalise(text).split())


def words(text: str) -> list[str]:
    """The units of `wer`."""
    return normalise(text).split()


def statistics(prediction: str, references: Sequence[str], units: Units) -> tuple[int, int]:
    """(edits, units of the reference) of one example; (0, 0) where every reference is empty."""
    said = units(prediction)
    known = [reference for reference in map(units, references) if reference]
    counts = [(Levenshtein.distance(said, reference), len(reference)) for reference in known]
    return min(counts, key=lambda count: count[0] / count[1], default=(0, 0))


def cer(targets: Sequence[str | Sequence[str]], predictions: Sequence[str]) -> dict[str, float]:
    """Character error rate over a whole split; the signature SeqIO asks of a metric function.

    Args:
      targets: per example one reference or several.
      predictions: per example one string.

    Returns:
      `{"cer": x}` in per cent.

    Raises:
      ValueError: the two differ in length or are empty, or all references are.
    """
    return {"cer": _rate(targets, predictions, characters)}


def cer_no_spaces(
    targets: Sequence[str | Sequence[str]], predictions: Sequence[str]
) -> dict[str, float]:
    """As `cer`, white space on both sides removed."""
    return {"cer_no_spaces": _rate(targets, predictions, characters_without_spaces)}


def wer(targets: Sequence[str | Sequence[str]], predictions: Sequence[str]) -> dict[str, float]:
    """As `cer`, of words."""
    return {"wer": _rate(targets, predictions, words)}


def _rate(
    targets: Sequence[str | Sequence[str]], predictions: Sequence[str], units: Units
) -> float:
    check_lengths(targets, predictions)
    pairs = zip(targets, predictions, strict=True)
    counts = [statistics(said, as_references(target), units) for target, said in pairs]
    edits, length = (sum(column) for column in zip(*counts, strict=True))
    if not length:
        raise ValueError("every reference is empty: there is no text to count errors in")
    return 100.0 * edits / length
