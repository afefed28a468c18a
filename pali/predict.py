# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What `pali.load(...)` returns: pictures and prompts in, texts out.

    pictures --look--> visual tokens [n p d]  --generate, one prompt for each row--> texts
                                              --rank, with candidates--> log-likelihoods
    caption, answer, ocr, detect = generate with the prompts of a task (pali/prompts.py)
    classify                     = rank with the labels as candidates
    explain                      = where the decoder looked for each word of a text

The ViT sees a picture once, however many languages or questions follow. For one picture the verbs
return one result, for a list of pictures or visual tokens a list; `generate` and `rank` always
return a list. Compiled programs are kept on disk for the next start (pali/compilation_cache.py).
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast, overload

import jax
import numpy as np
from jaxtyping import Float

from pali import (
    asking,
    attention,
    compilation_cache,
    generation,
    looking,
    prompts,
    ranking,
    sharding,
)
from pali import (
    precision as precisions,
)
from pali.attention import Attention
from pali.boxes import Box, in_whole, parse_boxes
from pali.checkpoints import pretrained
from pali.checkpoints.hub import locate
from pali.config import PaLIConfig, Precision
from pali.generation import MAX_LENGTH, Decoding, Text
from pali.languages import resolve, resolve_many
from pali.looking import Picture, Pictures, VisualTokens, one_picture
from pali.mesh_config import MeshConfig
from pali.tokenizer import Tokenizer
from pali.types import Params

MAX_DETECTION_LENGTH = 256
"""Longest answer of `detect` in tokens: a box takes about ten."""


class Label(NamedTuple):
    """One of the labels that `classify` was given."""

    name: str
    probability: float
    """Among the labels given, which sum to 1: high also where none fits and the others fit less."""
    log_likelihood: float
    """log p(name, end of text | picture, prompt), natural logarithm."""


class Detected(NamedTuple):
    """What `detect` found in one picture."""

    boxes: list[Box]
    """In shares of the picture's height and width, even if the ViT sees its middle alone; under the
    labels that the model wrote, which need not be among the classes asked for. They have no scores:
    the model gives none. Of visual tokens without regions: in shares of what the ViT saw."""
    unparsed: list[str]
    """The pieces of the answer that are no box, as written."""
    answer: Text
    """All that the model wrote."""


class Model:
    """A PaLI with its weights and its tokenizer; made by `pali.load`.

    Attributes:
      config, params, tokenizer, metadata: what its folder holds.
      prompts: name -> what it is asked by (pali/prompts.py); `generate` and `rank` take any text.
    """

    def __init__(
        self,
        config: PaLIConfig,
        params: Mapping[str, Any],
        tokenizer: Tokenizer,
        metadata: pretrained.Metadata,
        mesh: MeshConfig | None = None,
    ):
        """Puts the weights on the default device; `params` is in the form `config.*.scan` says.

        Those that are divided among processes stay where they are. With a `mesh`, all are divided
        among its devices (pali/sharding.py), and every method runs on these together.

        Raises:
          ValueError: the mesh cannot be laid over the devices, or cannot divide the model.
        """
        self.config = config
        self._mesh = sharding.make_mesh(mesh) if mesh is not None else None
        leaves = jax.tree.leaves(params)
        divided = any(isinstance(x, jax.Array) and not x.is_fully_addressable for x in leaves)
        if self._mesh is not None:
            sharding.check(sharding.mesh_config(self._mesh), params)
            self.params = sharding.distribute(params, sharding.shardings(self._mesh, params))
        else:
            self.params = dict(params) if divided else jax.device_put(params)
        self.tokenizer = tokenizer
        self.metadata = metadata
        self.prompts = prompts.worded(metadata.templates)

    def __repr__(self) -> str:
        count = sum(leaf.size for leaf in jax.tree.leaves(self.params))
        return f"<pali model: {count:,} parameters, {len(self.languages)} languages>"

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages the model was trained on; none where its folder does not say."""
        return self.metadata.languages

    @property
    def _choices(self) -> tuple[str, ...] | None:
        return self.languages or None

    @overload
    def caption(
        self, images: Picture, langs: str | Iterable[str] = ..., *, decoding: Decoding = ...
    ) -> dict[str, Text]: ...
    @overload
    def caption(
        self, images: Pictures, langs: str | Iterable[str] = ..., *, decoding: Decoding = ...
    ) -> list[dict[str, Text]]: ...
    def caption(
        self,
        images: Picture | Pictures,
        langs: str | Iterable[str] = "en",
        *,
        decoding: Decoding = Decoding(),
    ) -> dict[str, Text] | list[dict[str, Text]]:
        """Captions in one or many languages.

        >>> model.caption("dog.png", langs=["sw", "Hindi"])
        {'sw': 'mbwa', 'hi': 'कुत्ता'}
        >>> [captions["th"].log_prob for captions in model.caption(["a.jpg", "b.jpg"], "th,ar")]

        Args:
          images: one picture, or a list of pictures, or visual tokens.
          langs: codes, names or lists of languages ("sw", "Swahili", "xm3600", "all"), as a list
            or with commas.
          decoding: how the words are chosen.

        Returns:
          For one picture a dict {language code: caption} in the order asked for; for a list (or
          visual tokens) a list of such dicts. A caption is a `Text`: a str with `log_prob`.

        Raises:
          ImageError: a picture cannot be used.
          ValueError: a language is unknown, or the model was not trained on it.
        """
        codes = resolve_many(langs, self._choices)
        asked = {code: self._ask("caption", lang=code) for code in codes}
        self._remark("caption", asked.values())
        return self._by_language(images, asked, decoding)

    @overload
    def ocr(
        self, images: Picture, langs: str | Iterable[str] = ..., *, decoding: Decoding = ...
    ) -> dict[str, Text]: ...
    @overload
    def ocr(
        self, images: Pictures, langs: str | Iterable[str] = ..., *, decoding: Decoding = ...
    ) -> list[dict[str, Text]]: ...
    def ocr(
        self,
        images: Picture | Pictures,
        langs: str | Iterable[str] = "en",
        *,
        decoding: Decoding = Decoding(),
    ) -> dict[str, Text] | list[dict[str, Text]]:
        """The text in a picture that is in a language; arguments, results and errors of `caption`.

        >>> model.ocr("shop_sign.jpg", "th")
        {'th': 'ร้านกาแฟ'}
        """
        codes = resolve_many(langs, self._choices)
        asked = {code: self._ask("ocr", lang=code) for code in codes}
        self._remark("ocr", asked.values())
        return self._by_language(images, asked, decoding)

    @overload
    def answer(self, images: Picture, questions: str, *, decoding: Decoding = ...) -> Text: ...
    @overload
    def answer(
        self, images: Picture | Pictures, questions: Sequence[str], *, decoding: Decoding = ...
    ) -> list[Text]: ...
    def answer(
        self,
        images: Picture | Pictures,
        questions: str | Sequence[str],
        *,
        decoding: Decoding = Decoding(),
    ) -> Text | list[Text]:
        """Answers, in English, to questions in any language.

        >>> model.answer("street.jpg", "How many cars are there?")
        '2'
        >>> model.answer(["a.jpg", "b.jpg"], ["What is this?", "Is there a dog?"])
        ['a tram', 'Yes']

        Question i is asked about picture i. One picture can be asked many questions, and one
        question about many pictures.

        Returns:
          For one picture and one question the answer, else a list.

        Raises:
          ImageError: a picture cannot be used.
          ValueError: a question is empty, or their number fits neither one nor the pictures.
        """
        words = asking.questions(questions)
        asked = [self._ask("vqa", question=question) for question in words]
        self._remark("vqa", asked, words)
        answers = self.generate(images, asked, decoding=decoding)
        return answers[0] if isinstance(questions, str) and one_picture(images) else answers

    @overload
    def classify(self, images: Picture, labels: Iterable[str], lang: str = ...) -> list[Label]: ...
    @overload
    def classify(
        self, images: Pictures, labels: Iterable[str], lang: str = ...
    ) -> list[list[Label]]: ...
    def classify(
        self,
        images: Picture | Pictures,
        labels: Iterable[str],
        lang: str = "en",
    ) -> list[Label] | list[list[Label]]:
        """The labels, likeliest first.

        >>> model.classify("dog.png", ["cat", "dog", "tram"])[0].name
        'dog'

        A label is scored as PaLI does it without training examples (arXiv 2209.06794): the sum of
        the log-likelihoods of its tokens and of the end of text, after the prompt `class_name`.
        Nothing is divided by the length and no prior is subtracted, so that short and frequent
        names have an advantage; `rank` gives the numbers for other scores.

        Args:
          images: one picture, or a list of pictures, or visual tokens.
          labels: any number of names; one given twice counts once.
          lang: the language of the labels, by code or name.

        Returns:
          For one picture its labels, for a list (or visual tokens) a list of such lists.

        Raises:
          ImageError: a picture cannot be used.
          ValueError: there is no label or an empty one, or the language is unknown or not the
            model's.
        """
        names = asking.names(labels, "labels")
        asked = self._ask("class_name", lang=resolve(lang, self._choices))
        self._remark("class_name", [asked], names)
        found = [_labels(names, scores) for scores in self.rank(images, asked, names)]
        return found[0] if one_picture(images) else found

    @overload
    def detect(
        self, images: Picture, classes: Iterable[str], *, decoding: Decoding = ...
    ) -> Detected: ...
    @overload
    def detect(
        self, images: Pictures, classes: Iterable[str], *, decoding: Decoding = ...
    ) -> list[Detected]: ...
    def detect(
        self,
        images: Picture | Pictures,
        classes: Iterable[str],
        *,
        decoding: Decoding = Decoding(),
    ) -> Detected | list[Detected]:
        """Boxes of the things of some classes.

        >>> for box in model.detect("street.jpg", ["car", "dog"]).boxes:
        ...     print(box.label, box.ymin, box.xmin, box.ymax, box.xmax)  # 0 to 1

        Args:
          images: one picture, or a list of pictures, or visual tokens.
          classes: names of what to look for, all in one prompt; one given twice counts once.
          decoding: how the words are chosen.

        Returns:
          For one picture what was found; for a list (or visual tokens) a list.

        Raises:
          ImageError: a picture cannot be used.
          ValueError: there is no class, or an empty one.
        """
        names = asking.names(classes, "classes")
        asked = self._ask("detect", classes=names)
        self._remark("detect", [asked], names)
        tokens = self.look(images)
        texts = self.generate(tokens, asked, max_length=MAX_DETECTION_LENGTH, decoding=decoding)
        found = []
        for text, region in zip(texts, tokens.regions or [None] * len(texts), strict=True):
            boxes, unparsed = parse_boxes(text)
            found.append(Detected(in_whole(boxes, region) if region else boxes, unparsed, text))
        return found[0] if one_picture(images) else found

    def generate(
        self,
        images: Picture | Pictures,
        prompts: str | Sequence[str],
        *,
        max_length: int = MAX_LENGTH,
        decoding: Decoding = Decoding(),
    ) -> list[Text]:
        """Answers to prompts about pictures: prompt i is asked about picture i.

        One picture can be asked many prompts, and one prompt about many pictures. The prompts the
        model was trained on are in pali/prompts.py.

        Args:
          images: pictures, or what `look` made of them.
          prompts: texts in the form the model was trained on.
          max_length: longest answer in tokens, the end token counted; longer ones are cut.
          decoding: how the words are chosen.

        Raises:
          ImageError: a picture cannot be used.
          ValueError: the numbers of pictures and prompts differ and neither is one.
        """
        if not isinstance(max_length, int) or max_length < 1:
            raise ValueError(f"max_length is {max_length!r}; it must be at least 1 token")
        tokens = self.look(images)
        rows, asked = asking.paired(len(tokens), prompts)
        return self._generate(tokens, rows, asked, max_length, decoding)

    def rank(
        self,
        images: Picture | Pictures,
        prompts: str | Sequence[str],
        candidates: Sequence[str] | Sequence[Sequence[str]],
    ) -> list[Float[np.ndarray, " m"]]:
        """How likely the model finds given answers.

        >>> model.rank("dog.png", prompts.caption("sw"), ["mbwa", "paka"])
        [array([-0.4, -7.1], dtype=float32)]

        Args:
          images, prompts: as for `generate`.
          candidates: answers to compare, the same for every row; or a list of them for each row.

        Returns:
          For each row log p(candidate, end of text | picture, prompt), summed over the tokens
          (natural logarithm), in the order of its candidates. For a choice among names that are
          rare or of different length see pali/metrics/choice.py.

        Raises:
          ImageError: a picture cannot be used.
          ValueError: the numbers of pictures, prompts and lists of candidates differ.
        """
        tokens = self.look(images)
        rows, asked = asking.paired(len(tokens), prompts)
        if all(isinstance(candidate, str) for candidate in candidates):
            candidates = [cast("Sequence[str]", candidates)] * len(rows)
        if len(candidates) != len(rows):
            raise ValueError(
                f"{len(candidates)} lists of candidates for {len(rows)} pairs of picture and "
                "prompt: give one list for each, or one list of texts for all"
            )
        with self._on_devices():
            return ranking.log_likelihoods(
                self.config,
                self.params,
                self.tokenizer,
                tokens.array,
                rows,
                asked,
                cast("Sequence[Sequence[str]]", candidates),
            )

    def explain(self, images: Picture | Pictures, texts: Text | Sequence[Text]) -> list[Attention]:
        """Where the model looked while it wrote: text i about picture i, or all about one picture.

        >>> captions = model.caption("dog.png", "sw,th")
        >>> [word.patches.argmax() for word in model.explain("dog.png", captions["sw"])[0].words]

        Args:
          images: the pictures that the texts are about, or what `look` made of them.
          texts: what the other methods returned, however it was decoded.

        Returns:
          For each text how much its tokens and words looked at each patch (pali/attention.py).

        Raises:
          ImageError: a picture cannot be used.
          ValueError: a text is not a model's, or the numbers of pictures and texts differ.
        """
        tokens = self.look(images)
        rows, written = asking.paired(len(tokens), texts)
        with self._on_devices():
            return attention.explain(
                self.config, self.params, self.tokenizer, tokens.array, rows, cast("Any", written)
            )

    def look(self, images: Picture | Pictures) -> VisualTokens:
        """The pictures as visual tokens, for any number of calls of the other methods.

        Raises:
          ImageError: a picture cannot be used.
        """
        with self._on_devices():
            return looking.look(self.config, self.params, images)

    def _on_devices(self) -> contextlib.AbstractContextManager[Any]:
        """What computes in it does so on the model's mesh, if it has one."""
        return contextlib.nullcontext() if self._mesh is None else jax.set_mesh(self._mesh)

    def _by_language(
        self, images: Picture | Pictures, asked: Mapping[str, str], decoding: Decoding
    ) -> Any:
        """For each picture the answers to the prompts of `asked`, by their language."""
        tokens = self.look(images)
        rows = [row for row in range(len(tokens)) for _ in asked]
        texts = self._generate(tokens, rows, [*asked.values()] * len(tokens), MAX_LENGTH, decoding)
        found = [
            dict(zip(asked, texts[start : start + len(asked)], strict=True))
            for start in range(0, len(texts), len(asked))
        ]
        return found[0] if one_picture(images) else found

    def _generate(
        self,
        tokens: VisualTokens,
        rows: Sequence[int],
        asked: Sequence[str],
        max_length: int,
        chosen: Decoding,
    ) -> list[Text]:
        """One answer for each (picture number, prompt) of `rows` and `asked`."""
        given = (self.config, self.params, self.tokenizer, tokens.array)
        with self._on_devices():
            return generation.generate(*given, rows, asked, max_length, chosen, tokens.seen)

    def _ask(self, name: str, **fields: Any) -> str:
        """A prompt in the words that the model was trained on."""
        return self.prompts[name].fill(fields)

    def _remark(self, prompt: str, asked: Iterable[str], words: Sequence[str] = ()) -> None:
        """Warns of what the model may not be up to (pali/asking.py)."""
        for remark in asking.remarks(
            prompt,
            asked,
            words,
            tokenizer=self.tokenizer,
            trained_on=self.metadata.prompts,
            longest=self.metadata.prompt_length,
            untrained=self.metadata.untrained,
        ):
            warnings.warn(remark, asking.Notice, stacklevel=3)


def load_model(
    path: str | os.PathLike[str] | None = None,
    mesh: MeshConfig | None = None,
    precision: Precision | None = None,
) -> Model:
    """The model in the folder `path`; see `pali.load`."""
    compilation_cache.enable()

    def stored(config: PaLIConfig) -> tuple[PaLIConfig, Params]:
        chosen = precisions.configured(config, precision, mesh is not None)
        return chosen, precisions.stored(chosen, pretrained.expected_params(chosen))

    folder = pretrained.EMBEDDED if path is None else locate(path)
    loaded = pretrained.load_model(folder, stored)
    tokenizer = Tokenizer(loaded.tokenizer_path)
    tokenizer.check_fits(loaded.config.mt5.vocab_size)
    params = precisions.laid_out(loaded.params, precision)
    return Model(loaded.config, params, tokenizer, loaded.metadata, mesh)


def _labels(names: Sequence[str], scores: Float[np.ndarray, " m"]) -> list[Label]:
    """Likeliest first, of equals the one named first; probabilities by softmax."""
    shares = np.exp(scores.astype(np.float64) - scores.max())
    shares /= shares.sum()
    order: list[int] = np.argsort(-scores, kind="stable").tolist()
    return [Label(names[i], float(shares[i]), float(scores[i])) for i in order]
