# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics: pure functions on strings and scores, without JAX.

    exact_match.py   the whole answer is right                    exact_match(targets, predictions)
    chrf.py          character n-gram F-score, as sacrebleu       chrf(targets, predictions)
    error_rates.py   edits per character, per word, as jiwer      cer(targets, predictions)
    script.py        the answer is in the language's script       right_script_share(texts, langs)
    detection.py     boxes found at IoU 0.5                       detection(targets, predictions)
    choice.py        the right one of 20 by likelihood; top-k     credit(scores, truth)
    aggregate.py     macro average over languages, bootstrap, shuffled control
    records.py       a run's predictions -> score records

Functions of (targets, predictions) can stand in `metric_fns` of a SeqIO task. Every module names
the variant of what it computes in `VARIANT`; a score is never reported without it.
"""
