# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A small run on tokenised records of the real demo corpus, with a very small model."""

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from pali.checkpoints import pretrained
from pali.config import Config, DataConfig, MT5Config, OptimConfig, PaLIConfig, ViTConfig
from pali.data.pipeline import Task
from pali.data.preprocessors import RenderPicture, TextToText, Tokenize
from pali.data.records import write_records
from pali.data.sources import DemoPictures, DemoTexts

TOKENIZER = str(pretrained.EMBEDDED / pretrained.TOKENIZER)
MODEL = PaLIConfig(
    vit=ViTConfig(16, 2, 32, 2, 12, 24, pool="map", num_classes=343, dropout=0.1, scan=False),
    mt5=MT5Config(8192, 16, 32, 2, 8, 1, 1, dropout=0.1, scan=False),
)


class Some:
    """Every n-th record of a source."""

    def __init__(self, source, every):
        self.source, self.every = source, every

    def __len__(self):
        return len(self.source) // self.every

    def __getitem__(self, index):
        return self.source[index * self.every]


def thrice(example):
    """A name three times, which makes it long."""
    return example | {"name": " ".join([example["name"]] * 3)}


@pytest.fixture(scope="package", autouse=True)
def programs_compiled_once(tmp_path_factory):
    """Most runs here compile the same programs: each is compiled once; returns their folder."""
    folder = str(tmp_path_factory.mktemp("programs"))
    settings = {
        "jax_compilation_cache_dir": folder,
        "jax_persistent_cache_min_compile_time_secs": 0.1,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield folder
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture(scope="session")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    texts = (RenderPicture(24), TextToText(prompt="caption", answer="name"), Tokenize(TOKENIZER))
    for split, every in (("train", 131), ("validation", 13)):
        texts_source = Some(DemoTexts(split, ("en", "sw"), views=2), every)
        task = Task("captions", texts_source, texts)
        write_records([(task, 1.0)], folder / "text", split)
        both = [(task, 3.0), (Task("thrice", texts_source, (texts[0], thrice, *texts[1:])), 1.0)]
        write_records(both, folder / "two", split)
    pictures = Some(DemoPictures(stop=2), 97)
    for split in ("train", "validation"):
        task = Task("concepts", pictures, (RenderPicture(24),))
        write_records([(task, 1.0)], folder / "concepts", split)
    return folder


@pytest.fixture(scope="session")
def config(records):
    return Config(
        model=MODEL,
        data=DataConfig("captions", records=str(records / "text"), batch_size=8),
        optim=OptimConfig(warmup_steps=2, freeze=("vit/.*",)),
        steps=4,
        log_every=1,
        eval_every=2,
        eval_batches=1,
        checkpoint_every=2,
        languages=("en", "sw"),
    )
