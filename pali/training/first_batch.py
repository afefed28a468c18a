# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The first batch as a person can check it: pictures with prompts and targets, on one page.

Most mistakes in data (a wrong column, a prompt that is cut, pictures upside down) show at a glance
here, and otherwise only in what was learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from pali import sheet
from pali.tokenizer import Tokenizer
from pali.types import Batch

FILE = "first_batch.html"
ROWS = 32
"""Examples on the page, shared among the parts of the batch."""


def write(workdir: Path, parts: Sequence[Batch], tokenizer: Tokenizer) -> Path:
    """Writes the page and returns its path.

    Args:
      workdir: its folder.
      parts: the batch, as the model gets it; texts that are cut are shown cut.
      tokenizer: makes text of it again.
    """
    shown = [
        _row(part, row, tokenizer)
        for part in parts
        for row in range(min(_rows(part), max(1, ROWS // len(parts))))
    ]
    path = workdir / FILE
    page = sheet.page("The first batch, as the model reads it", shown)
    path.write_text(page, encoding="utf-8")
    return path


def _rows(part: Batch) -> int:
    return len(cast("Any", next(iter(part.values()))))


def _row(part: Batch, row: int, tokenizer: Tokenizer) -> sheet.Shown:
    """One example; what is padding is left out."""
    pictured = bool(part["image_mask"][row]) if "image_mask" in part else True
    image = np.asarray(part["image"][row]) if "image" in part and pictured else None
    if "encoder_input_tokens" not in part:
        return sheet.Shown("", "", f"class {int(part['label'][row])}", image)
    real = np.asarray(part["decoder_loss_weights"][row]) > 0
    targets = np.asarray(part["decoder_target_tokens"][row])[real]
    if not real.any():
        return sheet.Shown("skipped: it cannot be used, and weighs nothing", "", "", image)
    prompt = np.asarray(part["encoder_input_tokens"][row])
    count = f"{np.count_nonzero(prompt)} + {len(targets)} tokens"
    return sheet.Shown(count, _text(tokenizer, prompt), _text(tokenizer, targets), image)


def _text(tokenizer: Tokenizer, tokens: np.ndarray) -> str:
    return tokenizer.decode([int(token) for token in tokens if token])
