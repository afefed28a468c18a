# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Cache of the visual tokens of a frozen ViT: image_key -> bf16[p d], computed once, read by all.

A frozen ViT gives the same tokens for the same picture at every visit, so training on this cache is
the same training, without the ViT in the step. A cache is a folder:

  tokens.npy  u16[pictures p d], the bits of bfloat16, memory-mapped
  cache.json  {"format", "fingerprint", "keys": [row -> image_key], "done": rows filled}

The fingerprint says which weights and which way of making pictures the tokens come from; a cache
of any other is refused. An interrupted build goes on where it stopped.
"""

from __future__ import annotations

import functools
import json
import os
import pathlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

import ml_dtypes
import numpy as np
from jaxtyping import Float, UInt8
from rich.progress import track

from pali.checkpoints import merge
from pali.data.pipeline import Example, Mixture, apply
from pali.data.skipping import RecordError

FORMAT = 1
SAVE_EVERY = 16
"""Batches between two points from which an interrupted build can go on."""

MakeImage = Callable[[], UInt8[np.ndarray, "h w 3"]]
Encode = Callable[[UInt8[np.ndarray, "b h w 3"]], Float[Any, "b p d"]]


@dataclass(frozen=True)
class LookUpVisualTokens:
    """Per-example function image_key -> visual_tokens bf16[p d], instead of one that makes "image".

    Picklable: worker processes map the same file.
    """

    folder: str
    makes_image: ClassVar[bool] = True

    def __call__(self, example: Example) -> Example:
        """Adds "visual_tokens"; ValueError names a picture that the cache does not have."""
        tokens, rows = _open(self.folder)
        key = example["image_key"]
        if key not in rows:
            raise ValueError(
                f"the visual-token cache {self.folder} has no picture {key!r}: it was built for "
                "other pictures; delete the folder to build it anew"
            )
        return example | {"visual_tokens": tokens[rows[key]].view(ml_dtypes.bfloat16)}


def pictures(mixture: Mixture) -> dict[str, MakeImage]:
    """{image_key: function that makes the picture} of every different picture in a mixture.

    A source with an attribute `pictures` (a source of its different pictures) is not read through.
    Records that cannot be read have none.
    """
    found: dict[str, MakeImage] = {}
    for task, _ in mixture:
        makers = [f for f in task.functions if getattr(f, "makes_image", False)]
        if not makers:
            continue
        source = getattr(task.source, "pictures", task.source)
        for index in range(len(source)):
            try:
                key = source[index]["image_key"]
            except RecordError:  # The pipeline skips it as well, and never asks for its picture.
                continue
            if key not in found:
                found[key] = functools.partial(_make, source, index, tuple(makers))
    return found


def vit_fingerprint(params: Mapping[str, Any], **settings: Any) -> dict[str, str]:
    """What visual tokens depend on: a hash of the ViT's parameters, and settings as text.

    Args:
      params: nested dict of the ViT's arrays.
      settings: whatever else changes the tokens: `config=vit_config`, `image=RenderPicture(72)`.
    """
    return {
        "params": merge.fingerprint(params),
        **{name: repr(value) for name, value in settings.items()},
    }


def build(
    folder: str | os.PathLike[str],
    fingerprint: Mapping[str, str],
    pictures: Mapping[str, MakeImage],
    encode: Encode,
    *,
    batch_size: int = 256,
    progress: bool = True,
) -> LookUpVisualTokens:
    """Fills the cache in `folder`, or what it lacks, and returns the function that reads it.

    Args:
      folder: made when absent; nothing happens when it has all the pictures already.
      fingerprint: of the ViT and of how pictures are made (`vit_fingerprint`).
      pictures: image_key -> function that makes the picture (`pictures`).
      encode: pixels -> visual tokens, a whole batch each time (the last one is filled up), so that
        it is compiled once.
      batch_size: pictures per call of `encode`.
      progress: whether to draw a progress bar.

    Raises:
      ValueError: the folder holds tokens of other weights, settings or pictures.
    """
    path = pathlib.Path(folder)
    keys = list(pictures)
    if not keys:
        raise ValueError("there is no picture to encode")
    meta = _read_meta(path, fingerprint)
    if meta is None:
        meta = {"format": FORMAT, "fingerprint": dict(fingerprint), "keys": keys, "done": 0}
    if set(keys) <= set(meta["keys"][: meta["done"]]):
        return LookUpVisualTokens(str(path))
    if meta["keys"] != keys:
        raise ValueError(
            f"the visual-token cache {path} was built for {len(meta['keys'])} pictures, which are "
            f"not the {len(keys)} asked for; delete the folder, or give another one"
        )
    path.mkdir(parents=True, exist_ok=True)
    tokens = np.load(path / "tokens.npy", mmap_mode="r+") if meta["done"] else None
    starts = range(meta["done"], len(keys), batch_size)
    batches = (list(pictures.values())[start : start + batch_size] for start in starts)
    steps = zip(starts, _ahead(batches), strict=True)
    shown = track(steps, "Visual tokens", total=len(starts), disable=not progress)
    for number, (start, images) in enumerate(shown, 1):
        filled = np.concatenate([images, np.repeat(images[-1:], batch_size - len(images), 0)])
        rows = np.asarray(encode(filled), dtype=ml_dtypes.bfloat16)[: len(images)]
        if tokens is None:
            shape = (len(keys), *rows.shape[1:])
            file = path / "tokens.npy"
            tokens = np.lib.format.open_memmap(file, "w+", dtype=np.uint16, shape=shape)
            if hasattr(os, "posix_fallocate"):  # A full disk says so now, not by a signal later.
                with file.open("r+b") as opened:
                    os.posix_fallocate(opened.fileno(), 0, os.path.getsize(file))
        tokens[start : start + len(images)] = rows.view(np.uint16)
        if number % SAVE_EVERY == 0 or start + len(images) == len(keys):
            tokens.flush()
            _write_meta(path, meta | {"done": start + len(images)})
    return LookUpVisualTokens(str(path))


def _make(source: Any, index: int, makers: tuple[Any, ...]) -> UInt8[np.ndarray, "h w 3"]:
    return apply(makers, source[index])["image"]


def _ahead(batches: Iterable[Sequence[MakeImage]]) -> Iterator[UInt8[np.ndarray, "b h w 3"]]:
    """Stacks of pictures; the next one is being made while the caller works on one."""

    def stack(makers: Sequence[MakeImage]) -> np.ndarray:
        return np.stack([make() for make in makers])

    with ThreadPoolExecutor(1) as pool:
        pending: deque[Future[np.ndarray]] = deque()
        for makers in batches:
            pending.append(pool.submit(stack, makers))
            if len(pending) == 2:
                yield pending.popleft().result()
        for last in pending:
            yield last.result()


def _read_meta(path: pathlib.Path, expected: Mapping[str, str]) -> dict[str, Any] | None:
    try:
        meta = json.loads((path / "cache.json").read_text(encoding="utf-8"))
        form, found = meta["format"], meta["fingerprint"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path / 'cache.json'} is damaged; delete the folder") from None
    if form != FORMAT or found != dict(expected):
        differing = [
            f"{name}: {found.get(name)} there, {expected.get(name)} here"
            for name in sorted({*found, *expected})
            if found.get(name) != expected.get(name)
        ]
        raise ValueError(
            f"the visual-token cache {path} comes from another ViT or other pictures "
            f"({'; '.join(differing) or 'another format'}); delete the folder, or give another one"
        )
    return meta


def _write_meta(path: pathlib.Path, meta: Mapping[str, Any]) -> None:
    # Written beside and renamed: a build that is killed here leaves the previous state.
    new = path / "cache.json.new"
    new.write_text(json.dumps(meta, ensure_ascii=False), encoding="utf-8")
    new.replace(path / "cache.json")


@functools.cache
def _open(folder: str) -> tuple[np.ndarray, dict[str, int]]:
    path = pathlib.Path(folder)
    try:
        meta = json.loads((path / "cache.json").read_text(encoding="utf-8"))
        tokens = np.load(path / "tokens.npy", mmap_mode="r")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{folder} is not a visual-token cache: {error}") from None
    rows = {key: row for row, key in enumerate(meta["keys"][: meta["done"]])}
    return tokens, rows
