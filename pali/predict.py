# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What `pali.load(...)` returns: pictures and prompts in, texts out.

    pictures --look--> visual tokens [n p d]  --generate, one prompt for each row--> texts
    caption(pictures, langs) = generate(look(pictures), the caption prompt of every language)

The ViT sees a picture once, however many languages or questions follow. Rows are padded to a few
batch sizes and prompt lengths, so that after the first calls nothing is compiled again; compiled
programs are kept on disk for the next start (pali/compilation_cache.py).
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast, overload

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt, UInt8
from PIL import Image

from pali import compilation_cache, decoding, prompts
from pali.checkpoints import pretrained
from pali.config import PaLIConfig
from pali.image import ImageError, load_image
from pali.languages import resolve_many
from pali.models.pali import PaLI
from pali.tokenizer import Tokenizer

MAX_BATCH = 64
"""Rows that run together; a power of two, as every smaller batch."""

MAX_LENGTH = 64
"""Longest answer in tokens unless another is asked for; decoding stops where the answers end."""

_SHORTEST_PROMPT = 16  # Prompts are padded to a power of two that is at least this.


@dataclass(frozen=True)
class Decoding:
    """How the answer is chosen: greedily, unless said otherwise."""

    method: Literal["greedy", "sample", "beam"] = "greedy"
    temperature: float = 1.0
    """Of "sample": below 1 sharper, above 1 more varied."""
    top_k: int | None = None
    """Of "sample": only the k likeliest tokens."""
    top_p: float | None = None
    """Of "sample": only the likeliest tokens that together have this probability."""
    seed: int = 0
    """Of "sample": the same seed, pictures and prompts give the same answers."""
    beam_size: int = 4
    """Of "beam"."""
    length_penalty: decoding.LengthPenalty = field(default_factory=decoding.LengthPenalty)
    """Of "beam": T5X's or Hugging Face's."""

    def __post_init__(self):
        methods = ("greedy", "sample", "beam")
        if self.method not in methods:
            raise ValueError(f"method is {self.method!r}; it must be one of {', '.join(methods)}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed is {self.seed}; it must be at least 0 and below 2**32")
        if not isinstance(self.length_penalty, decoding.LengthPenalty):
            raise TypeError(
                f"length_penalty is {self.length_penalty!r}; it must be a "
                "pali.decoding.LengthPenalty, which says by name whose formula it is"
            )


class Text(str):
    """An answer: a plain `str` that also knows how sure the model was."""

    log_prob: float
    """Sum over the tokens of their log-probability, the end token counted (natural logarithm)."""
    num_tokens: int
    """Tokens of the answer, the end token counted."""

    def __new__(cls, text: str, log_prob: float = 0.0, num_tokens: int = 0):
        """A string with two more facts."""
        self = super().__new__(cls, text)
        self.log_prob = log_prob
        self.num_tokens = num_tokens
        return self


@dataclass(frozen=True)
class VisualTokens:
    """Pictures as the language half sees them: made once by `look`, used for many prompts."""

    array: Float[np.ndarray, "n p d_vit"]

    def __len__(self) -> int:
        """How many pictures."""
        return len(self.array)

    def __repr__(self) -> str:
        return f"VisualTokens({'x'.join(map(str, self.array.shape))})"


Picture = str | os.PathLike[str] | bytes | Image.Image | np.ndarray
"""A path, the bytes of a file, a PIL image, or an array (see pali.image.decode_image)."""


class Model:
    """A PaLI with its weights and its tokenizer; made by `pali.load`."""

    def __init__(
        self,
        config: PaLIConfig,
        params: Mapping[str, Any],
        tokenizer: Tokenizer,
        metadata: pretrained.Metadata,
    ):
        """Puts the weights on the default device; `params` is in the form `config.*.scan` says."""
        self.config = config
        self.params = jax.device_put(params)
        self.tokenizer = tokenizer
        self.metadata = metadata

    def __repr__(self) -> str:
        count = sum(leaf.size for leaf in jax.tree.leaves(self.params))
        return f"<pali model: {count:,} parameters, {len(self.languages)} languages>"

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages the model was trained on; none where its folder does not say."""
        return self.metadata.languages

    @overload
    def caption(
        self, images: Picture, langs: str | Iterable[str] = ..., *, decoding: Decoding = ...
    ) -> dict[str, Text]: ...
    @overload
    def caption(
        self,
        images: Iterable[Picture] | VisualTokens,
        langs: str | Iterable[str] = ...,
        *,
        decoding: Decoding = ...,
    ) -> list[dict[str, Text]]: ...
    def caption(
        self,
        images: Picture | Iterable[Picture] | VisualTokens,
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
        codes = resolve_many(langs, self.languages or None)
        asked = [prompts.caption(code) for code in codes]
        tokens = self.look(images)
        rows = [row for row in range(len(tokens)) for _ in codes]
        texts = self._generate(tokens, rows, asked * len(tokens), MAX_LENGTH, decoding)
        captions = [
            dict(zip(codes, texts[start : start + len(codes)], strict=True))
            for start in range(0, len(texts), len(codes))
        ]
        return captions[0] if _one_picture(images) else captions

    def generate(
        self,
        images: Picture | Iterable[Picture] | VisualTokens,
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
        asked = [prompts] if isinstance(prompts, str) else list(prompts)
        tokens = self.look(images)
        rows = list(range(len(tokens)))
        if len(rows) == 1:
            rows *= len(asked)
        elif len(asked) == 1:
            asked *= len(rows)
        if len(rows) != len(asked):
            raise ValueError(
                f"{len(rows)} pictures and {len(asked)} prompts: give one prompt for each picture, "
                "one picture, or one prompt"
            )
        return self._generate(tokens, rows, asked, max_length, decoding)

    def look(self, images: Picture | Iterable[Picture] | VisualTokens) -> VisualTokens:
        """The pictures as visual tokens, for any number of calls of `caption` and `generate`.

        Raises:
          ImageError: a picture cannot be used.
        """
        vit = self.config.vit
        if isinstance(images, VisualTokens):
            if images.array.shape[1:] != (vit.num_visual_tokens, vit.width):
                raise ValueError(
                    f"these are the visual tokens of another model: {images}; this one makes "
                    f"{vit.num_visual_tokens} of width {vit.width}"
                )
            return images
        pictures: list[Any] = [images] if _one_picture(images) else list(cast("Any", images))
        made = [np.zeros((0, vit.num_visual_tokens, vit.width), np.float32)]
        for start, count, size in batches(len(pictures)):
            chosen = pictures[start : start + count]
            pixels = np.zeros((size, vit.image_size, vit.image_size, 3), np.uint8)
            for row, picture in enumerate(chosen):
                name = (
                    None if isinstance(picture, str | os.PathLike) else f"picture {start + row + 1}"
                )
                pixels[row] = load_image(picture, vit.image_size, name)
            seen = _look(self.config, self.params, pixels)
            made.append(np.asarray(seen[:count], np.float32))
        return VisualTokens(np.concatenate(made))

    def _generate(
        self,
        tokens: VisualTokens,
        rows: Sequence[int],
        asked: Sequence[str],
        max_length: int,
        chosen: Decoding,
    ) -> list[Text]:
        """One answer for each (picture number, prompt) of `rows` and `asked`."""
        encoded = [[*self.tokenizer.encode(prompt), self.tokenizer.eos_id] for prompt in asked]
        texts: list[Text] = []
        for start, count, size in batches(len(rows)):
            # The last row again as filler: an empty prompt might keep the loop going for longer.
            picked = [*range(start, start + count), *[start + count - 1] * (size - count)]
            answers = _answer(
                self.config,
                replace(chosen, seed=0),  # The seed comes as an array: another is no new program.
                max_length,
                self.params,
                tokens.array[[rows[i] for i in picked]],
                _pad([encoded[i] for i in picked]),
                np.uint32(chosen.seed),
                np.array(picked, np.uint32),
            )
            ids, log_probs, lengths = jax.device_get(answers)
            for row in range(count):
                text = self.tokenizer.decode(ids[row, : lengths[row]].tolist())
                texts.append(Text(text, float(log_probs[row]), int(lengths[row])))
        return texts


def load_model(path: str | os.PathLike[str] | None = None) -> Model:
    """The model in the folder `path`; by default the embedded one.

    Raises:
      FileNotFoundError: the folder is not a model; the message says what it lacks.
      ValueError: a file of it is damaged, or the weights do not fit its configuration.
    """
    compilation_cache.enable()
    loaded = pretrained.load_model(pretrained.EMBEDDED if path is None else path)
    tokenizer = Tokenizer(loaded.tokenizer_path)
    tokenizer.check_fits(loaded.config.mt5.vocab_size)
    return Model(loaded.config, loaded.params, tokenizer, loaded.metadata)


def batches(total: int) -> Iterator[tuple[int, int, int]]:
    """Cuts `total` rows into batches: (start, rows, size), sizes 1, 2, 4 … 64.

    A batch is filled up to the next size unless more than a quarter of it would be filler: 7 rows
    run as 8, but 36 as 32 and 4.
    """
    start = 0
    while start < total:
        left = min(total - start, MAX_BATCH)
        size = 1 << (left - 1).bit_length()
        if left < size and left * 4 < size * 3:
            size //= 2
        count = min(left, size)
        yield start, count, size
        start += count


@functools.partial(jax.jit, static_argnums=0)
def _look(
    config: PaLIConfig, params: Any, image: UInt8[Array, "b h w 3"]
) -> Float[Array, "b p d_vit"]:
    return cast("Array", PaLI(config).apply({"params": params}, image, method="look"))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _answer(
    config: PaLIConfig,
    chosen: Decoding,
    max_length: int,
    params: Any,
    visual_tokens: Float[Array, "b p d_vit"],
    prompt: Int[Array, "b s"],
    seed: Any,
    row: UInt[Array, " b"],
) -> decoding.Decoded:
    """One answer for each row; rows draw by their number, so that batching changes no sample."""

    def call(method: str, *args: Any) -> Any:
        return PaLI(config).apply({"params": params}, *args, method=method)

    batch = len(prompt)
    encoded, mask = call("encode", visual_tokens, jnp.ones(batch, bool), prompt)
    cache = call("init_cache", encoded, mask, max_length)
    step = functools.partial(call, "decode_step")
    if chosen.method == "greedy":
        return decoding.greedy(step, cache, batch, max_length)
    if chosen.method == "sample":
        keys = jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(seed)))(row)
        return decoding.sample(
            step,
            cache,
            batch,
            max_length,
            rng=keys,
            temperature=chosen.temperature,
            top_k=chosen.top_k,
            top_p=chosen.top_p,
        )
    return decoding.beam(
        step,
        cache,
        batch,
        max_length,
        beam_size=chosen.beam_size,
        length_penalty=chosen.length_penalty,
    )


def _pad(rows: Sequence[Sequence[int]]) -> Int[np.ndarray, "b s"]:
    """Prompts as one array, 0 where there is none, its width one of 16, 32, 64 …"""
    longest = max(_SHORTEST_PROMPT, *(len(row) for row in rows))
    padded = np.zeros((len(rows), 1 << (longest - 1).bit_length()), np.int32)
    for row, ids in enumerate(rows):
        padded[row, : len(ids)] = ids
    return padded


def _one_picture(images: Any) -> bool:
    """Whether this is a picture, not a list of pictures nor a batch of them in one array."""
    if isinstance(images, str | os.PathLike | bytes | bytearray | memoryview | Image.Image):
        return True
    if hasattr(images, "__array__"):
        return np.ndim(cast("Any", images)) < 4
    if not isinstance(images, Iterable | VisualTokens):
        raise ImageError(f"expected a picture or a list of pictures, not {images!r}")
    return False
