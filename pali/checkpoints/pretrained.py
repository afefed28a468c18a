# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A model folder, what `pali.load` reads and `pali train` exports.

    config.json        format_version, the model's configuration, what it was trained on, notes
    model.safetensors  the parameters, named `mt5/encoder/layers_0/attention/query/kernel` …
    spiece.model       the sentencepiece tokenizer
    README.md          the model card (not needed to load)
    shortlists.npz     the pieces of each language (pali/shortlist.py; not needed to load)

The parameter names are those of `merge.py` with separate layers, whatever form the model has in
memory; arrays are bfloat16 or float32. Over 5 GB the weights are in several files, with an index
`model.safetensors.index.json`. They are memory-mapped and read one array at a time, and nothing is
ever unpickled.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp

from pali import kept, shortlist
from pali.checkpoints import containers, merge
from pali.checkpoints.weights import Component, Tensor, separate_layers
from pali.config import MT5Config, PaLIConfig, from_json, to_json
from pali.languages import resolve
from pali.models.mt5 import MT5
from pali.models.pali import init_params
from pali.types import Params

FORMAT_VERSION = 1
"""Raised when older code could no longer read what is written; older versions stay readable."""

EMBEDDED = Path(__file__).parents[1] / "embedded"
"""The model folder that the package carries."""

CONFIG, WEIGHTS, TOKENIZER, CARD = "config.json", "model.safetensors", "spiece.model", "README.md"

_INDEX = f"{WEIGHTS}.index.json"

_WHAT_IT_IS = f"A model folder holds {CONFIG}, {WEIGHTS} and {TOKENIZER}"


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a part of a converted model comes from."""

    part: str
    """"vit", "mt5" or "pali"."""
    origin: str
    """Architecture, file and place."""
    licence: str
    """As the source's own card names it; empty where it does not."""


@dataclasses.dataclass(frozen=True)
class Metadata:
    """What a model folder says about itself besides its configuration."""

    languages: tuple[str, ...] = ()
    """Codes of the languages it was trained to write."""
    notes: str = ""
    """One or two sentences for people: what it was trained on, what it is for."""
    prompts: tuple[str, ...] = ()
    """Names of the prompts it was trained on (pali/prompts.py); empty where that is not known."""
    templates: tuple[tuple[str, str], ...] = ()
    """(name, template) of those it was asked in other words than pali/prompts.py has."""
    prompt_length: int = 0
    """Tokens of the longest prompt it was trained on, the end counted; 0 where not known."""
    sources: tuple[Source, ...] = ()
    """Of a converted model."""
    untrained: bool = False
    """What joins its ViT to its mT5 is still random: no answer means anything."""


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """A model folder in memory."""

    config: PaLIConfig
    params: Params
    """Nested dict of NumPy arrays, in the form the configuration asks for (`scan` or not)."""
    tokenizer_path: Path
    metadata: Metadata


def save_model(
    folder: str | os.PathLike,
    config: PaLIConfig,
    params: Params,
    tokenizer_path: str | os.PathLike,
    metadata: Metadata,
    *,
    card: str | None = None,
    dtype: Literal["bfloat16", "float32"] = "bfloat16",
) -> Path:
    """Writes a model folder; the parts that are there already are replaced.

    Args:
      folder: where; created with its parents.
      config: the configuration that `params` belong to.
      params: nested dict of arrays, layers separate or stacked.
      tokenizer_path: the sentencepiece model, copied to `spiece.model`; shortlists beside it go
        with it.
      metadata: languages, notes, what it was trained to answer.
      card: text of the model card in Markdown; None leaves README.md as it is.
      dtype: how floating-point arrays are stored.

    Returns:
      The folder.

    Raises:
      MismatchError: `params` are not those of `config`; nothing is written.
    """
    fitted = merge.fit(params, expected_params(config))
    tensors = {
        name: Tensor.of(leaf).astype(dtype, name)
        for name, leaf in merge.flatten(merge.unstack_layers(fitted)).items()
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    containers.save(folder, tensors, {"format": "pali"})
    if Path(tokenizer_path).resolve() != (folder / TOKENIZER).resolve():
        shutil.copyfile(tokenizer_path, folder / TOKENIZER)
        shortlist.copy_beside(tokenizer_path, folder)
    write_config(folder, config, metadata)
    if card is not None:
        (folder / CARD).write_text(card, encoding="utf-8")
    return folder


def write_config(folder: Path, config: PaLIConfig, metadata: Metadata) -> None:
    """The config.json of a model folder."""
    description = {
        "format_version": FORMAT_VERSION,
        "model": json.loads(to_json(config)),
        **dataclasses.asdict(metadata),
    }
    text = json.dumps(description, indent=2, ensure_ascii=False) + "\n"
    (folder / CONFIG).write_text(text, encoding="utf-8")


def as_it_is(config: PaLIConfig) -> tuple[PaLIConfig, Params]:
    """The configuration of a folder, and its parameters in float32."""
    return config, expected_params(config)


def load_model(
    folder: str | os.PathLike, stored: Callable[[PaLIConfig], tuple[PaLIConfig, Params]] = as_it_is
) -> LoadedModel:
    """Reads a model folder.

    Args:
      folder: path of the folder.
      stored: makes of its configuration the wanted one, and the wanted structure, shapes and types
        of the parameters.

    Returns:
      The model, its parameters as NumPy arrays, in float32 unless `stored` wants another type.

    Raises:
      FileNotFoundError: there is no such folder, or it is not a model folder; the message says what
        was found and what to do.
      ValueError: a file is damaged, was written by a later version, or the configuration is wrong.
      MismatchError: the weights do not fit the configuration; lists every path.
    """
    folder = Path(folder)
    tensors, config, metadata = look(folder)
    config, wanted = stored(config)
    params = merge.fill(tensors, wanted, str(folder))
    return LoadedModel(config, params, folder / TOKENIZER, metadata)


def look(folder: Path) -> tuple[dict[str, Tensor], PaLIConfig, Metadata]:
    """What a model folder holds, found to fit; raises as `load_model` does, but reads no number."""
    tensors, config, metadata = _open(folder)
    try:
        merge.check_shapes(tensors, expected_arrays(config))
    except merge.MismatchError as error:
        raise error.about(
            f"The weights are {folder / WEIGHTS}, the configuration is {CONFIG} beside it."
        ) from None
    return tensors, config, metadata


def is_folder(folder: Path) -> bool:
    """Whether it has the config.json of a model folder."""
    try:
        return "format_version" in json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def open_model(folder: Path) -> Component:
    """A model folder of which no array is read yet; raises as `load_model` does."""
    tensors, config, _ = _open(folder)
    origin = f"a PaLI in {folder}"
    return Component(config, tensors, origin, tokenizer=folder / TOKENIZER, folder=folder)


def about(folder: Path) -> tuple[Metadata, str]:
    """What a model folder says of itself: in its config.json, and in its model card."""
    card = folder / CARD
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    return _read_config(folder / CONFIG)[1], text


def stub_card(how: str, sources: Iterable[Source], note: str = "") -> str:
    """The beginning of a model card: what a model is made of, and under which licences."""
    parts = {"vit": "Vision", "mt5": "Language", "pali": "Model"}
    lines = [
        f"- **{parts[s.part]}**: {s.origin}; licence: {s.licence or 'not stated there'}"
        for s in sources
    ]
    return f"# A PaLI\n\n{how} by pali from:\n\n" + "\n".join(lines) + "\n" + note


def _open(folder: Path) -> tuple[dict[str, Tensor], PaLIConfig, Metadata]:
    _check_files(folder)
    config, metadata = _read_config(folder / CONFIG)
    tensors = separate_layers(containers.open_folder(folder)[0], 0, str(folder))
    return tensors, config, metadata


def expected_params(config: PaLIConfig | MT5Config) -> Params:
    """Structure, shapes and dtypes of the parameters of a configuration; computes nothing."""
    if isinstance(config, MT5Config):
        traced = _stacked(_in_one_form(config))
        return traced if config.scan else merge.unstack_layers(traced)
    halves = {"vit": config.vit, "mt5": config.mt5}
    alike = {name: _in_one_form(half) for name, half in halves.items()}
    traced = _stacked(dataclasses.replace(config, **alike))
    apart = {n: merge.unstack_layers(traced[n]) for n, half in halves.items() if not half.scan}
    return {**traced, **apart}


def _in_one_form(half: Any) -> Any:
    """With what does not change the parameters always the same."""
    return dataclasses.replace(half, scan=True, dtype="float32", dropout=0.0, remat="none")


@functools.cache
def _stacked(config: PaLIConfig | MT5Config) -> Params:
    """Of layers that are in a stack one is traced for all: that takes a tenth of the time."""
    return merge.unflatten(kept.shapes(_traced, config))


def _traced(config: PaLIConfig | MT5Config) -> dict[str, jax.ShapeDtypeStruct]:
    key = jax.random.key(0)
    if isinstance(config, PaLIConfig):
        return merge.flatten(jax.eval_shape(functools.partial(init_params, config), key))
    tokens = jnp.ones((1, 1), jnp.int32)
    return merge.flatten(jax.eval_shape(MT5(config).init, key, tokens, tokens)["params"])


def expected_arrays(config: PaLIConfig | MT5Config) -> dict[str, jax.ShapeDtypeStruct]:
    """The same by name, with separate layers: what people and files see."""
    return merge.flatten(merge.unstack_layers(expected_params(config)))


def _check_files(folder: Path) -> None:
    if not folder.exists():
        raise FileNotFoundError(f"There is no folder {os.fspath(folder)!r}. {_WHAT_IT_IS}.")
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{os.fspath(folder)!r} is a file, not a model folder. {_WHAT_IT_IS}; give the folder."
        )
    weights = _INDEX if (folder / _INDEX).is_file() else WEIGHTS
    missing = [name for name in (CONFIG, weights, TOKENIZER) if not (folder / name).is_file()]
    if not missing:
        return
    found = sorted(f"{path.name}/" if path.is_dir() else path.name for path in folder.iterdir())
    listed = ", ".join(found[:5]) + (", …" if len(found) > 5 else "")
    raise FileNotFoundError(
        f"{os.fspath(folder)!r} is not a model folder: it lacks {', '.join(missing)}.\n"
        f"It holds: {listed or 'nothing'}.\n{_WHAT_IT_IS}.{_advice(folder, found)}"
    )


def _advice(folder: Path, found: list[str]) -> str:
    inside = [path.parent for path in sorted(folder.glob(f"*/{CONFIG}"))]
    if inside:
        return f"\nDid you mean {os.fspath(inside[0])!r}?"
    if "checkpoints/" in found or "_CHECKPOINT_METADATA" in found or "state/" in found:
        return (
            "\nThis looks like the training checkpoints of a run. `pali train` writes the model "
            "folder of a run to <workdir>/model when the run ends: give that one. If the run was "
            "cut short, the same `pali train` command goes on where it stopped."
        )
    return ""


def _read_config(path: Path) -> tuple[PaLIConfig, Metadata]:
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is damaged, it is not JSON: {error}") from error
    version = description.get("format_version") if isinstance(description, dict) else None
    if version is None or "model" not in description:
        raise ValueError(
            f"{path} is not the configuration of a pali model: it lacks format_version or model. "
            "Of a folder of Hugging Face's, `pali convert` makes a model folder."
        )
    if not isinstance(version, int) or not 1 <= version <= FORMAT_VERSION:
        raise ValueError(
            f"{path} has format_version {version!r}; this pali reads 1 to {FORMAT_VERSION}. "
            "Upgrade: pip install --upgrade open-pali"
        )
    known = {field.name for field in dataclasses.fields(Metadata)}
    said = {name: value for name, value in description.items() if name in known}
    try:
        config = from_json(PaLIConfig, json.dumps(description["model"]))
        metadata = from_json(Metadata, json.dumps(said))
        languages = tuple(resolve(language) for language in metadata.languages)
    except ValueError as error:
        raise ValueError(f"{path} does not describe a model: {error}") from error
    return config, dataclasses.replace(metadata, languages=languages)
