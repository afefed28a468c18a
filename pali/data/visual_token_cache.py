# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Training on visual tokens that a frozen ViT made beforehand, once for each different picture.

    survey   every record of the mixture: which pictures there are, and which the cache lacks
    fill     these are made, go through the ViT, and are kept (pali/data/visual_token_store.py)
    look up  in place of the function that makes "image", for the rest of the run

A picture is known by its content, by the functions that make pixels of it and by the number of the
view (pali/data/picture_content.py); so all captions, questions and languages about it share its
tokens, and a picture that has changed is another. Tokens of another ViT, or kept otherwise, lie in
a folder of their own. Of a cache that is there some pictures are made again and compared; what is
read is checked by its checksum. A build that was interrupted goes on with what is lacking.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, UInt8
from rich.console import Console
from rich.progress import track

from pali.data import picture_content
from pali.data.drawing import number_of
from pali.data.pipeline import Example, Function, Mixture, Task, apply
from pali.data.skipping import UNUSABLE, RecordError, code, skipped
from pali.data.visual_token_store import ENTRY, META, Origin, Store, Writer

SURVEYED = "surveyed.jsonl"
"""Which mixtures the cache has every picture of, so that the next start need not look."""

CHECKED = 4
"""Pictures of each task that are made again when the cache is there already."""

Encode = Callable[[UInt8[np.ndarray, "b h w 3"]], Float[Any, "b p d"]]


@dataclass(frozen=True)
class LookUpVisualTokens:
    """Per-example function: what `makers` would make an image of -> visual_tokens bf16[p d].

    Picklable: worker processes open the same folder.
    """

    folder: str
    origin: Origin
    makers: tuple[Function, ...]
    views: int
    """Fixed views of each picture, of which a visit draws one by example["draw"]."""
    makes_image: ClassVar[bool] = True

    def __call__(self, example: Example) -> Example:
        """Adds "visual_tokens".

        Raises:
          RecordError: the picture cannot be used.
          ValueError: the cache does not have it, or its tokens are damaged.
        """
        key = self.key(example, self.view(example))
        store = _open(self.folder, self.origin)
        if key in store.unusable:
            raise RecordError(*store.unusable[key])
        place = store.find(key)
        if place is None:
            path = Path(self.folder) / SURVEYED
            name = example.get("image_key", "of this record")
            raise ValueError(
                f"the visual tokens in {self.folder} have no picture {name}, which was not there, "
                f"or was another one, when they were computed; delete {path}, and the next run "
                "looks for pictures anew"
            )
        return example | {"visual_tokens": store.tokens(place)}

    def view(self, example: Example) -> int:
        """Which view this visit draws."""
        return number_of(f"{example['draw']}/view") % self.views if self.views > 1 else 0

    def content(self, example: Example) -> str:
        """What the picture is."""
        return picture_content.content_of(self.makers, example)

    def key(self, example: Example, view: int) -> bytes:
        """Under which a view of a picture is kept."""
        return picture_content.key_of(self.makers, self.content(example), view)

    def picture(self, example: Example, view: int) -> UInt8[np.ndarray, "h w 3"]:
        """A view of a picture, the same every time and wherever the picture occurs."""
        if picture_content.draws(self.makers):
            example = example | {"draw": f"view/{view}/{self.content(example)}"}
        return apply(self.makers, example)["image"]


@dataclass(frozen=True)
class Pictures:
    """The pictures of a task: its records, and what becomes of them until they are pictures."""

    task: Task
    before: tuple[Function, ...]
    look_up: LookUpVisualTokens

    def __len__(self) -> int:
        """Records, of which several may show the same picture."""
        return len(self.source)

    @property
    def source(self) -> Any:
        """One that has an attribute `pictures`, a source of its different pictures, is not read
        through."""
        return getattr(self.task.source, "pictures", self.task.source)

    def example(self, index: int) -> Example | None:
        """A record as it is when its picture is to be made; None: it cannot be used."""
        try:
            record = self.source[index] | {"draw": f"views/{self.task.name}/{index}/0"}
            return None if code(record) else apply(self.before, record)
        except UNUSABLE:  # The pipeline skips it as well, and never asks for its picture.
            return None

    def name(self) -> str | None:
        """What is surveyed, as text; None where that cannot be said."""
        source, look_up = self.source, self.look_up
        name = json.dumps(
            [
                *(repr(source), len(source), repr(self.before)),
                *(picture_content.name_of(look_up.makers), look_up.views),
            ]
        )
        return None if " at 0x" in name else name


@dataclass(frozen=True)
class ShowView:
    """Per-example function: in place of visual tokens, the picture that they were made of."""

    look_up: LookUpVisualTokens
    makes_image: ClassVar[bool] = True

    def __call__(self, example: Example) -> Example:
        """Adds "image" u8[h w 3], unless records left it out; raises what making it raises."""
        if any(getattr(maker, "left_out", False) for maker in self.look_up.makers):
            return example
        return example | {"image": self.look_up.picture(example, self.look_up.view(example))}


Lacking = dict[bytes, tuple[Pictures, int, int]]
"""Key -> whose picture it is, its record, its view."""


def use_cache(
    mixture: Mixture,
    folder: str | os.PathLike[str],
    origin: Origin,
    encode: Encode,
    *,
    views: int = 1,
    batch_size: int = 128,
    share: tuple[int, int] = (0, 1),
    wait: Callable[[], None] = lambda: None,
) -> list[tuple[Task, float]]:
    """The mixture with visual tokens in place of pictures; what the cache lacks is computed first.

    Args:
      mixture: tasks and rates; those of text alone stay as they are.
      folder: DIR, below which the tokens of each ViT have a folder of their own.
      origin: what the tokens come from, and how they are kept.
      encode: pixels -> visual tokens, always of as many pictures (the last batch is filled up), so
        that it is compiled once; what it returns beyond these is left.
      views: fixed views of each picture that is drawn anew at every visit.
      batch_size: pictures per call of `encode`, at most.
      share: number of this process, and how many fill the cache together.
      wait: returns when all these processes have called it as often.

    Raises:
      ValueError: the cache is damaged or stale, or `views` do not fit the mixture.
      OSError: the disk has no room.
    """
    home = Path(folder) / origin.name
    parts = [_pictures(task, str(home), origin, views) for task, _ in mixture]
    found = [part for part in parts if part is not None]
    drawn = [part for part in found if picture_content.draws(part.look_up.makers)]
    if views > 1 and not drawn:
        raise ValueError(
            f"data.visual_token_views is {views}, and no picture of {_names(found)} is another at "
            "another visit: set it to 1, or let DecodeRandomCrop make the pictures"
        )
    if views == 1 and drawn:
        raise ValueError(
            f"the pictures of {_names(drawn)} are drawn anew at every visit, and cached visual "
            "tokens are not: set data.visual_token_views to how many views of each are to be kept, "
            "or data.visual_token_cache to None"
        )
    number, count = share
    quiet = number > 0
    store = Store(home, origin) if (home / META).exists() else None
    if store is not None and store.lost:
        _say(f"{store.lost:,} pictures are lost in {home}, and are computed again", quiet)
    survey = _survey_name(found)
    complete = store is not None and _check_current(found, store) and _surveyed(store, survey)
    wait()  # Or one would already see what another computes, and not what is lacking.
    if store is None or not complete:
        lacking, total = _lacking(found, store, quiet)
        _say(_need(Path(folder), origin, len(lacking), total), quiet)
        mine = {key: own for key, own in lacking.items() if key[0] % count == number}
        _fill(home, origin, mine, encode, batch_size, quiet)
        wait()
        store = Store(home, origin)
        if absent := sum(key not in store for key in lacking):
            raise ValueError(
                f"{absent:,} of {len(lacking):,} pictures are not in {home} after they were "
                "computed: give data.visual_token_cache a folder that all processes share"
            )
        if len(store.errors):
            _say(
                f"visual tokens are kept as {origin.dtype}: off by {store.errors.mean():.2%} on "
                f"average, {store.errors.max():.2%} at most; {len(store.unusable):,} pictures "
                "cannot be used",
                quiet,
            )
        if number == 0 and survey is not None:
            with (home / SURVEYED).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"survey": survey, "count": store.count}) + "\n")
    _open.cache_clear()
    return [
        (task if part is None else _with_tokens(part), rate)
        for (task, rate), part in zip(mixture, parts, strict=True)
    ]


def with_pictures(mixture: Mixture) -> list[tuple[Task, float]]:
    """The mixture of `use_cache` with the pictures again that its visual tokens were made of."""

    def shown(function: Function) -> Function:
        return ShowView(function) if isinstance(function, LookUpVisualTokens) else function

    return [
        (replace(task, functions=tuple(shown(f) for f in task.functions)), rate)
        for task, rate in mixture
    ]


def _pictures(task: Task, home: str, origin: Origin, views: int) -> Pictures | None:
    makers = tuple(f for f in task.functions if getattr(f, "makes_image", False))
    if not makers:
        return None
    before = task.functions[: task.functions.index(makers[0])]
    own = views if picture_content.draws(makers) else 1
    return Pictures(task, before, LookUpVisualTokens(home, origin, makers, own))


def _with_tokens(pictures: Pictures) -> Task:
    task, makers = pictures.task, pictures.look_up.makers
    first = task.functions.index(makers[0])
    rest = tuple(f for f in task.functions[first:] if f not in makers)
    return replace(task, functions=(*pictures.before, pictures.look_up, *rest))


def _names(parts: Sequence[Pictures]) -> str:
    return ", ".join(part.task.name for part in parts)


def _check_current(parts: Sequence[Pictures], store: Store) -> bool:
    """Whether some pictures of each task are there.

    Raises:
      ValueError: one is no longer made as it was when its tokens were computed.
    """
    complete = True
    for part in parts:
        if any(getattr(maker, "left_out", False) for maker in part.look_up.makers):
            continue
        for i in range(min(CHECKED, len(part))):
            example = part.example(i * len(part) // CHECKED)
            try:
                if example is None or (key := part.look_up.key(example, 0)) in store.unusable:
                    continue
                if (place := store.find(key)) is None:
                    complete = False
                    continue
                image = part.look_up.picture(example, 0)
            except UNUSABLE:
                continue
            if picture_content.pixels_hash(image) != store.pixels(place):
                raise ValueError(
                    f"{store.folder} is stale: {picture_content.name_of(part.look_up.makers)} "
                    f"makes other pixels of {example.get('image_key', 'a picture')} than when its "
                    "visual tokens were computed (its code, a drawing or the version of Pillow is "
                    "another). Delete this folder; the next run computes it anew"
                )
    return complete


def _survey_name(parts: Sequence[Pictures]) -> str | None:
    names = [part.name() for part in parts]
    if None in names:
        return None
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()


def _surveyed(store: Store, survey: str | None) -> bool:
    """Whether all pictures were found there, and none was lost since."""
    path = store.folder / SURVEYED
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            said = json.loads(line)
            if survey is not None and said["survey"] == survey and said["count"] <= store.count:
                return True
        except (ValueError, KeyError, TypeError):
            continue
    return False


def _lacking(parts: Sequence[Pictures], store: Store | None, quiet: bool) -> tuple[Lacking, int]:
    """Pictures of which there are no tokens, and how many different ones there are in all."""
    lacking: Lacking = {}
    known: set[bytes] = set()
    records = ((part, index) for part in parts for index in range(len(part)))
    for part, index in _shown(records, "Pictures", sum(map(len, parts)), quiet):
        example = part.example(index)
        if example is None:
            continue
        try:
            keys = [part.look_up.key(example, view) for view in range(part.look_up.views)]
        except UNUSABLE:
            continue
        for view, key in enumerate(keys):
            if key in known:
                continue
            known.add(key)
            if store is None or key not in store:
                lacking[key] = (part, index, view)
    if not known:
        raise ValueError("data.visual_token_cache has nothing to keep: no record has a picture")
    return lacking, len(known)


def _need(folder: Path, origin: Origin, lacking: int, total: int) -> str:
    """The room that is needed; an OSError if it is not there."""
    each = origin.row_bytes + ENTRY.itemsize
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    said = (
        f"visual tokens of {total:,} pictures in {folder}: {each:,} bytes each, "
        f"{_size(each * total)} in all; {lacking:,} are to be computed, {_size(each * lacking)}, "
        f"and {_size(free)} are free"
    )
    if each * lacking > free:
        less = 'data.visual_token_dtype "int8", ' if origin.dtype == "bfloat16" else ""
        raise OSError(
            f"{said}. Give data.visual_token_cache a folder with more room, or make the need "
            f"smaller: {less}fewer data.visual_token_views"
        )
    return said


def _size(count: int) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:,} bytes"


def _fill(
    home: Path, origin: Origin, lacking: Lacking, encode: Encode, batch_size: int, quiet: bool
) -> None:
    keys = list(lacking)
    batch_size = min(batch_size, max(1, len(keys)))
    starts = range(0, len(keys), batch_size)
    batches = (keys[start : start + batch_size] for start in starts)
    with Writer(home, origin) as writer:
        made = _made(batches, lacking)
        for own, images, unusable in _shown(made, "Visual tokens", len(starts), quiet):
            for key, error in unusable:
                said = skipped(error)
                writer.add_unusable(key, said["skipped"], said["error"])
            if not own:
                continue
            filled = np.concatenate([images, np.repeat(images[-1:], batch_size - len(images), 0)])
            tokens = np.asarray(encode(filled))[: len(images)]
            writer.add(own, [picture_content.pixels_hash(image) for image in images], tokens)


Made = tuple[list[bytes], UInt8[np.ndarray, "b h w 3"], list[tuple[bytes, Exception]]]
"""Keys of a batch, their pictures, and keys of pictures that cannot be made."""


def _made(batches: Iterator[Sequence[bytes]], lacking: Lacking) -> Iterator[Made]:
    """Batches of pictures; the next ones are being made while the caller works on one."""

    def make(keys: Sequence[bytes]) -> Made:
        own, images, unusable = [], [], []
        for key in keys:
            part, index, view = lacking[key]
            example = part.example(index)
            if example is None:
                raise ValueError(f"a record of {part.task.name} changed while it was being read")
            try:
                images.append(part.look_up.picture(example, view))
                own.append(key)
            except UNUSABLE as error:
                unusable.append((key, error))
        return own, np.stack(images) if images else np.zeros(0, np.uint8), unusable

    threads = max(1, (os.cpu_count() or 2) // 2)
    with ThreadPoolExecutor(threads) as pool:
        pending: deque[Future[Made]] = deque()
        for keys in batches:
            pending.append(pool.submit(make, keys))
            if len(pending) > threads:
                yield pending.popleft().result()
        for last in pending:
            yield last.result()


def _shown(steps: Any, what: str, total: int, quiet: bool) -> Iterator[Any]:
    """The steps, with a bar where somebody watches."""
    return iter(track(steps, what, total=total, console=Console(stderr=True), disable=quiet))


def _say(line: str, quiet: bool) -> None:
    if not quiet:
        sys.stderr.write(line + "\n")


@functools.cache
def _open(folder: str, origin: Origin) -> Store:
    return Store(Path(folder), origin)
