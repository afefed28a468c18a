# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Captions as an Apache Beam transform: what `pali caption` writes, on many machines.

    pictures --RunInference(PictureHandler(…))--> for each picture a list of rows

A picture is its path, or a pair (name, path or bytes); a path with "://" is opened by Beam's own
file systems. Rows are those of the command, {"picture", "lang", "caption", "log_prob"}, or for a
picture that cannot be used one {"picture", "error"}: no picture stops a pipeline. A worker loads
the model once. The only file that imports Beam, of the extra `beam`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from apache_beam.io.filesystems import FileSystems  # pyright: ignore[reportMissingImports]
from apache_beam.ml.inference.base import ModelHandler  # pyright: ignore[reportMissingImports]

from pali.commands import by_language, decoding_flags, pictures
from pali.commands.rows import Row
from pali.config import Precision
from pali.generation import MAX_LENGTH, Decoding, Text, check
from pali.image import display_name
from pali.languages import resolve_many
from pali.predict import Model, load_model

Element = str | tuple[str, str | bytes]

_KEYS = {"caption": "caption", "ocr": "text"}


class PictureHandler(ModelHandler[Element, list[Row], Model]):
    """What `RunInference` needs to ask a model about pictures.

    >>> paths | RunInference(PictureHandler("caption", "en,sw")) | beam.FlatMap(lambda rows: rows)
    """

    def __init__(
        self,
        verb: str = "caption",
        langs: str | Iterable[str] = "en",
        model: str | None = None,
        precision: Precision | None = None,
        decoding: Decoding = Decoding(),
    ):
        """Says what to ask; nothing is loaded.

        Args:
          verb: the command whose rows are wanted, "caption" or "ocr".
          langs: codes, names or lists of languages, as of `pali caption`.
          model: a model folder that every worker can read, or a repository on the Hugging Face
            hub; by default the embedded model.
          precision: as of `pali.load`.
          decoding: how the words are chosen. Rows have besides what the options of the command
            add: the others of `n_best`, and what a shortlist and `ensure_language` say.

        Raises:
          ValueError: the verb or a language is unknown.
        """
        super().__init__()
        if verb not in _KEYS:
            raise ValueError(f"verb is {verb!r}; it must be one of {', '.join(_KEYS)}")
        self._together = by_language.together(len(resolve_many(langs)))
        self._verb, self._model, self._decoding = verb, model, decoding
        self._precision: Precision | None = precision
        self._langs = langs if isinstance(langs, str) else tuple(langs)

    def load_model(self) -> Model:
        """The model, once for each process of a worker.

        Raises:
          FileNotFoundError: there is no model in the folder.
          ValueError: the model was not trained on one of the languages, or cannot decode so.
        """
        model = load_model(self._model, precision=self._precision)
        codes = resolve_many(self._langs, model.languages or None)
        check(model.tokenizer, self._decoding, MAX_LENGTH, codes)
        return model

    def run_inference(
        self,
        batch: Sequence[Element],
        model: Model,
        inference_args: Mapping[str, Any] | None = None,
    ) -> Iterable[list[Row]]:
        """For each picture its rows, in order; there are no `inference_args`."""
        codes, key = resolve_many(self._langs, model.languages or None), _KEYS[self._verb]
        ask = functools.partial(getattr(model, self._verb), decoding=self._decoding)
        verb = by_language.verb(model, codes, key, ask, functools.partial(self._besides, key))
        items, vit = [_item(element) for element in batch], model.config.vit
        for seen in pictures.decoded(items, verb.together, vit.image_size, vit.pixels):
            yield from pictures.rows_of(verb, seen)

    def _besides(self, key: str, text: Text) -> Row:
        """What a row says of a text where `decoding` asks for more."""
        chosen = self._decoding
        names = decoding_flags.facts(
            n_best=chosen.n_best > 1,
            shortlist=chosen.shortlist is not None,
            ensure=chosen.ensure_language,
        )
        return decoding_flags.row_facts(names, key, text)

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        """At most as many pictures at once as the command takes."""
        return {"max_batch_size": self._together}

    def get_metrics_namespace(self) -> str:
        """Under which Beam counts what the handler does."""
        return "pali"


def _item(element: Element) -> pictures.Item:
    """A picture as the commands know it."""
    name, source = (element, element) if isinstance(element, str) else element
    name = display_name(name)
    if not isinstance(source, str) or "://" not in source:
        return pictures.Item(name, source)
    try:
        with FileSystems.open(source) as file:
            return pictures.Item(name, file.read())
    except Exception as error:  # Each file system has errors of its own.
        return pictures.Item(name, error=f"{name} cannot be read: {error}")
