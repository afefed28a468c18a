# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Per-example functions: a dict of strings, numbers and arrays -> the next dict.

Each is a frozen dataclass that is called with one example and returns a new one. What is drawn at
random is drawn by example["draw"], and none imports TensorFlow, so the same object serves Grain,
its worker processes and (lifted by pali/data/seqio_bridge.py) SeqIO. Write your own as a
module-level function or such a class; a function that makes "image" says so by `makes_image =
True`, so that training on cached visual tokens can leave it out, and by a method `content` of what
it makes it (pali/data/picture_content.py).
"""

from __future__ import annotations

import functools
import hashlib
import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from jaxtyping import UInt8

from pali import prompts
from pali.config import ImageSize, PixelConfig
from pali.data.demo_corpus import load_corpus
from pali.data.demo_flags import FLAG_ART, load_flags
from pali.data.drawing import number_of, seeded
from pali.data.picture_content import content_of_file, content_of_path, content_of_pixels
from pali.data.rendering import render
from pali.data.scenes import describe, render_scene
from pali.data.skipping import RecordError, named, text_of, texts_of
from pali.data.typesetting import typeset
from pali.data.word_units import word_units
from pali.image import check_is_file, decode_image, display_name, load_image, resize
from pali.languages import resolve
from pali.tokenizer import load_tokenizer

Example = dict[str, Any]


@dataclass(frozen=True)
class RenderPicture:
    """art, code, view -> image u8[size size 3], a pure function of the three."""

    size: int
    makes_image: ClassVar[bool] = True

    def __call__(self, example: Example) -> Example:
        """Adds "image"."""
        image = render(example["art"], example["code"], example["view"], self.size)
        return example | {"image": image}

    def content(self, example: Example) -> str:
        """What is drawn (pali/data/picture_content.py)."""
        names = (example["art"], example["code"])
        return f"{_drawing(*names)} {'/'.join(names)}/{example['view']}"


@dataclass(frozen=True)
class TypesetPicture:
    """text, lang, view -> image u8[size size 3], a pure function of the three."""

    size: int
    makes_image: ClassVar[bool] = True

    def __call__(self, example: Example) -> Example:
        """Adds "image"."""
        image = typeset(example["text"], example["lang"], example["view"], self.size)
        return example | {"image": image}

    def content(self, example: Example) -> str:
        """What is set."""
        return f"text {example['lang']} {example['view']} {example['text']}"


@dataclass(frozen=True)
class RenderScene:
    """split, scene -> image u8[size size 3] of that scene, a pure function of the two."""

    size: int
    makes_image: ClassVar[bool] = True

    def __call__(self, example: Example) -> Example:
        """Adds "image"."""
        scene = describe(example["split"], example["scene"])
        return example | {"image": render_scene(scene, self.size)}

    def content(self, example: Example) -> str:
        """Which scene is drawn."""
        return describe(example["split"], example["scene"]).key


@dataclass(frozen=True)
class DecodePicture:
    """A picture file -> image u8[h w 3]: its bytes in "image", else the path in "image_key"."""

    size: ImageSize
    pixels: PixelConfig = field(default_factory=PixelConfig)
    makes_image: ClassVar[bool] = True

    def __call__(self, example: Example) -> Example:
        """Makes "image" pixels.

        Raises:
          ImageError: the file cannot be read; named by "image_key", which bytes may do without.
          RecordError: there are neither bytes nor a path.
        """
        source, name = _picture(example)
        return example | {"image": load_image(source, self.size, self.pixels, name)}

    def content(self, example: Example) -> str:
        """Which file is read: a hash of its bytes. Without a file it raises what a call does."""
        content, key = example.get("image"), example.get("image_key")
        if isinstance(content, bytes):
            return content_of_file(content)
        if isinstance(key, str):
            return content_of_path(key)
        return content_of_pixels(decode_picture(example))


@dataclass(frozen=True)
class DecodeRandomCrop:
    """A picture file as DecodePicture reads it -> image u8[h w 3] of a part, drawn at every visit.

    The part has the ratio of sides of the whole.
    """

    size: ImageSize
    pixels: PixelConfig = field(default_factory=PixelConfig)
    least: float = 0.7
    """Area of the part in shares of the whole; it is drawn evenly from here to 1."""
    makes_image: ClassVar[bool] = True
    draws: ClassVar[bool] = True

    def __call__(self, example: Example) -> Example:
        """Makes "image" pixels; it raises what DecodePicture raises."""
        image = decode_picture(example)
        generator = seeded(f"{example['draw']}/crop")
        scale = math.sqrt(generator.uniform(self.least, 1))
        height, width = (max(1, round(scale * side)) for side in image.shape[:2])
        top = int(generator.integers(image.shape[0] - height + 1))
        left = int(generator.integers(image.shape[1] - width + 1))
        part = image[top : top + height, left : left + width]
        return example | {"image": resize(part, self.size, self.pixels)}

    def content(self, example: Example) -> str:
        """Which file is read."""
        return DecodePicture(self.size, self.pixels).content(example)


def decode_picture(example: Example) -> UInt8[np.ndarray, "h w 3"]:
    """The whole picture of a record, at its own size: of its bytes in "image", else "image_key".

    Raises:
      ImageError: the file cannot be read.
      RecordError: there are neither bytes nor a path.
    """
    return decode_image(*_picture(example))


def _picture(example: Example) -> tuple[Any, str | None]:
    """What `decode_image` is to read, and the name to call it by."""
    content, key = example.get("image"), example.get("image_key")
    if isinstance(content, bytes):
        return content, None if key is None else display_name(key)
    if key is None:
        message = f"the record with {', '.join(example)} has no picture"
        raise RecordError("picture", f'{message}: neither bytes in "image" nor an "image_key"')
    if isinstance(key, str):
        check_is_file(key)
    return key, None


@functools.lru_cache(maxsize=8192)
def _drawing(art: str, code: str) -> str:
    """A hash of a drawing: art sets change."""
    svg = load_flags().svg(art, code) if art in FLAG_ART else load_corpus().svg(art, code)
    return hashlib.blake2b(svg.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class TextToText:
    """Makes "inputs" and "targets", both text: a prompt filled by the record, and its answer.

    `prompt` is a name of pali/prompts.py, whose fields are keys of the record; `answer` is the key
    of the answer. An answer that is a list becomes one text with commas.
    """

    prompt: str
    answer: str
    template: str | None = None
    """The prompt in other words."""

    def __call__(self, example: Example) -> Example:
        """Adds "inputs" and "targets".

        Raises:
          RecordError: the record has no such answer or an empty one, no language, half a character,
            or None or NaN in a field of the prompt, as where a table has no value. It names the
            record.
          ValueError: there is no such field at all: a mistake in the task.
        """
        prompt = self._prompt
        answer = example.get(self.answer)
        if isinstance(answer, list | tuple) and all(isinstance(part, str) for part in answer):
            answer = ", ".join(answer)
        if not isinstance(answer, str):
            raise RecordError(
                "text",
                f"{named(example)} has {self.answer!r}: {answer!r}; the answer to prompt "
                f"{self.prompt!r} must be a text or a list of texts",
            )
        if not (answer.strip() or prompt.says_nothing):
            raise RecordError("text", f"{named(example)} has an empty {self.answer!r}")
        asked = _ask(prompt, example)
        try:
            f"{asked}{answer}".encode()
        except UnicodeEncodeError as error:
            half = error.object[error.start]
            message = f"{named(example)} has half a character in its text, {half!a}"
            raise RecordError("text", message) from None
        return example | {"inputs": asked, "targets": answer}

    @functools.cached_property
    def _prompt(self) -> prompts.Prompt:
        prompt = prompts.get(self.prompt)
        return prompt if self.template is None else prompt.worded(self.template)


def _ask(prompt: prompts.Prompt, example: Example) -> str:
    """The prompt, filled. A field that no record has is a mistake in the task: a ValueError."""
    empty = [name for name in prompt.fields if name in example and _nothing(example[name])]
    if empty:
        raise RecordError("row", f"{named(example)} has nothing in {', '.join(empty)}")
    if "lang" in prompt.fields:
        lang = example.get("lang")
        try:
            if not isinstance(lang, str):
                raise ValueError(f"{lang!r} is no code or name of a language")
            resolve(lang)
        except ValueError as error:
            raise RecordError("row", f"{named(example)}: its 'lang': {error}") from None
    try:
        return prompt.fill(example)
    except TypeError:  # A list of something else than texts.
        fields = {name: example[name] for name in prompt.fields}
        message = f"{named(example)} has {fields}; prompt {prompt.name!r} needs texts"
        raise RecordError("row", message) from None


def _nothing(value: Any) -> bool:
    """What a table has for a value that is not there."""
    return value is None or (isinstance(value, float) and math.isnan(value))


@dataclass(frozen=True)
class SomeOf:
    """A few items of a list, others for every view of a picture, in the order of the list.

    Long lists would be cut at the same place every time; so each item gets its turn.
    """

    key: str
    """The list."""
    count: int
    to: str
    """Where the chosen items go."""

    def __call__(self, example: Example) -> Example:
        """Adds `to`: up to `count` items, chosen by a hash of the picture and the item.

        Raises:
          RecordError: it is no list of texts.
        """
        items = texts_of(example, self.key)

        def rank(item: str) -> bytes:
            name = f"{example['image_key']}/{item}".encode("utf-8", "surrogatepass")
            return hashlib.blake2b(name, digest_size=8).digest()

        chosen = set(sorted(items, key=rank)[: self.count])
        return example | {self.to: [item for item in items if item in chosen]}


@dataclass(frozen=True)
class CutList:
    """Cuts a list of at least two items in two, at another place for every view of a picture.

    The cut is between items, and its position counts them: the one unit that lists have in every
    script, whereas words are not marked in Chinese, Japanese or Thai. Neither part is empty.
    """

    key: str
    """The list."""

    def __call__(self, example: Example) -> Example:
        """Adds "position" and the lists "before" and "after".

        Raises:
          RecordError: it is no list of texts, or too short.
        """
        items = texts_of(example, self.key)
        if len(items) < 2:
            message = f"{self.key} of {example['image_key']} is {items}: too short to cut"
            raise RecordError("text", message)
        position = 1 + number_of(f"{example['image_key']}/cut") % (len(items) - 1)
        parts = {"before": items[:position], "after": items[position:]}
        return example | parts | {"position": position}


@dataclass(frozen=True)
class SplitCaption:
    """Cuts a text in two between words, at another place in every epoch: PaLI's split captions.

    The place is drawn uniformly from 0 to the number of words less one, so that the first part may
    be empty and the second is not. Words are those of pali/data/word_units.py in every script, and
    the position counts them. The space at the cut belongs to neither part.
    """

    key: str
    """The text."""

    def __call__(self, example: Example) -> Example:
        """Adds "before", "after" and "position"; RecordError for an empty text, or none."""
        words = word_units(text_of(example, self.key))
        if not words:
            message = f"{self.key} of {example.get('image_key', 'a record')} is empty"
            raise RecordError("text", message)
        position = number_of(f"{example['draw']}/split_caption") % len(words)
        before, after = "".join(words[:position]), "".join(words[position:])
        return example | {"before": before.strip(), "after": after.strip(), "position": position}


@dataclass(frozen=True)
class Tokenize:
    """Text -> i32[length] in "inputs" and "targets", each ended by eos, as T5X's append_eos does.

    Only the path travels to worker processes; each loads the SentencePiece model once.
    """

    tokenizer: str

    def __call__(self, example: Example) -> Example:
        """Replaces both texts by their ids; RecordError where one is none."""
        tokenizer = load_tokenizer(self.tokenizer)
        ids = {
            key: np.array([*tokenizer.encode(text_of(example, key)), tokenizer.eos_id], np.int32)
            for key in ("inputs", "targets")
        }
        return example | ids
