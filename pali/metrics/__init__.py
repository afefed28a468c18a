# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics: pure functions on strings, boxes and scores, without JAX.

    cider.py bleu.py rouge_l.py   captions, as coco-caption scores them; of tokens, by
    ptb.py           Penn Treebank tokens (ptb_characters.py), or ptb_java.py, Stanford's own
    vqa_accuracy.py  agreement with ten people, vqa_normalisation.py how answers are spelled
    anls.py relaxed_accuracy.py ocrbench.py squad.py   answers about documents, charts, text
    answer_match.py  exact match by the rules of benchmarks
    referring.py coco_ap.py   boxes: the one that is meant; average precision
    label_names.py   classes by the likelihood of their names
    signature.py     what a score is a score of
    pairs.py scoring.py   any metric on two JSONL files
    exact_match.py   the whole answer is right                    exact_match(targets, predictions)
    chrf.py          character n-gram F-score, as sacrebleu       chrf(targets, predictions)
    error_rates.py   edits per character, per word, as jiwer      cer(targets, predictions)
    script.py        the answer is in the language's script       right_script_share(texts, langs)
    wrong_language.py  answers in another language than asked for; text_language.py, what judges
    detection.py     boxes found at IoU 0.5                       detection(targets, predictions)
    choice.py        the right one of 20 by likelihood; top-k     credit(scores, truth)
    aggregate.py     macro average over languages, bootstrap, shuffled control
    records.py       a run's predictions -> score records

Functions of (targets, predictions) can stand in `metric_fns` of a SeqIO task. Every module names
the variant of what it computes in `VARIANT`, or several in `VARIANTS`; a score is never reported
without it. Each says its scale: that of the official script, or per cent where there is none.
"""
