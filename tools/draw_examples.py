# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Draws the example pictures of `pali demo`, with what people wrote about them.

    python tools/draw_examples.py

Which concepts, and how they are rendered, is decided by the seed below alone, before any model was
trained: four pictures of art that training sees, in renderings that it does not, and two of the art
set that it never sees (docs/demo_corpus.md has the licences). The references are CLDR's names.
"""

import json
import random
from pathlib import Path

from PIL import Image

from pali.checkpoints.pretrained import EMBEDDED
from pali.data.demo_corpus import FIRST_UNSEEN_VIEW, TRAIN_ART, UNSEEN_ART, load_corpus
from pali.data.rendering import render

SEED = 0
SIZE = 144
"""Pixels; the model reads 72, so that resizing is part of the example."""


def main(folder: Path) -> None:
    """Writes the pictures and index.json."""
    corpus, draw = load_corpus(), random.Random(SEED)
    folder.mkdir(parents=True, exist_ok=True)
    arts = [*draw.sample(TRAIN_ART, 4), UNSEEN_ART, UNSEEN_ART]
    index = []
    for art, concept in zip(arts, draw.sample(corpus.core_train, len(arts)), strict=True):
        view = FIRST_UNSEEN_VIEW + draw.randrange(1_000_000)
        file = f"{concept.name.replace(' ', '_')}.png"
        Image.fromarray(render(art, concept.code, view, SIZE)).save(folder / file, optimize=True)
        references = {
            lang: names[concept.code]
            for lang in corpus.languages
            if concept.code in (names := corpus.names(lang))
        }
        index.append(
            {"file": file, "code": concept.code, "art": art, "view": view, "references": references}
        )
    text = json.dumps(index, ensure_ascii=False, indent=1)
    (folder / "index.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(EMBEDDED / "examples")
