# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Batches in parts: which task goes to which part, how many rows each part has."""

import dataclasses
import math
from dataclasses import dataclass

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from pali.checkpoints import pretrained
from pali.config import Config, DataConfig, MT5Config, PaLIConfig, ViTConfig
from pali.data.inputs import CUT_SAMPLE, Inputs, by_length
from pali.data.pipeline import Task
from pali.data.preprocessors import RenderPicture, TextToText, Tokenize
from pali.data.records import write_records
from pali.data.sources import DemoTexts


@dataclass(frozen=True)
class Texts:
    """Records of tokens: of every `size` records, `wide` have the second lengths."""

    lengths: tuple[int, int]
    other: tuple[int, int] = (1, 1)
    wide: int = 0
    size: int = CUT_SAMPLE

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        inputs, targets = self.other if index < self.wide else self.lengths
        return {"inputs": np.arange(2, 2 + inputs), "targets": np.arange(2, 2 + targets)}


DATA = DataConfig("m", batch_size=12, inputs_length=16, targets_length=24)


def places(data, **tasks):
    """{name: the lengths of the part in which it is}"""
    mixture = [(Task(name, source), 1.0) for name, source in tasks.items()]
    parts = by_length(mixture, data, seed=0)
    found = {task.name: lengths for lengths, part, _ in parts for task, _ in part}
    assert sum(len(part) for _, part, _ in parts) == len(found) == len(tasks)
    return found


def test_a_task_goes_to_the_first_lengths_that_hold_its_texts():
    data = dataclasses.replace(DATA, short=((8, 4), (16, 4), (12, 20)))
    found = places(
        data,
        tiny=Texts((8, 4)),
        long_prompt=Texts((9, 4)),
        long_target=Texts((8, 5)),
        both=Texts((13, 5)),
        longest=Texts((16, 24)),
    )
    assert found == {
        "tiny": (8, 4),
        "long_prompt": (16, 4),
        "long_target": (12, 20),
        "both": (16, 24),
        "longest": (16, 24),
    }


def test_one_text_in_a_hundred_may_be_cut_for_shorter_batches():
    data = dataclasses.replace(DATA, short=((8, 4),))
    found = places(
        data,
        two=Texts((8, 4), (8, 24), wide=2),  # of 256
        three=Texts((8, 4), (8, 24), wide=3),
        # What would be cut at the longest lengths as well is no reason for these.
        hopeless=Texts((8, 4), (99, 99), wide=100),
        more_hopeless=Texts((8, 4), (99, 99), wide=CUT_SAMPLE),
    )
    assert found == {
        "two": (8, 4),
        "three": (16, 24),
        "hopeless": (8, 4),
        "more_hopeless": (8, 4),
    }


def test_without_shorter_lengths_there_is_one_part():
    mixture = [(Task("a", Texts((2, 2))), 1.0), (Task("b", Texts((16, 24))), 3.0)]
    ((lengths, part, rows),) = by_length(mixture, DATA, seed=0)
    assert (lengths, part, rows) == ((16, 24), mixture, 12)


@hypothesis.given(
    rates=st.lists(st.floats(0.01, 100), min_size=4, max_size=4), batch_size=st.integers(1, 300)
)
@hypothesis.settings(max_examples=40)
def test_rows_are_shared_by_the_rates_and_are_the_batch(rates, batch_size):
    data = dataclasses.replace(DATA, short=((4, 4), (8, 8)), batch_size=batch_size)
    sources = (Texts((2, 2)), Texts((8, 3)), Texts((16, 3)), Texts((4, 4)))
    mixture = [(Task(str(i), s), r) for i, (s, r) in enumerate(zip(sources, rates, strict=True))]
    weights = [rates[0] + rates[3], rates[1], rates[2]]
    exact = [batch_size * weight / sum(weights) for weight in weights]
    if batch_size < 3:
        with pytest.raises(ValueError, match="has no row for the tasks of lengths"):
            by_length(mixture, data, seed=0)
        return
    try:
        parts = by_length(mixture, data, seed=0)
    except ValueError:
        assert min(exact) < 1
        return
    assert [lengths for lengths, _, _ in parts] == [(4, 4), (8, 8), (16, 24)]
    rows = [count for _, _, count in parts]
    assert sum(rows) == batch_size
    # Largest remainders: whole shares, and one row more for those that lack most of one.
    up = [share - math.floor(share) for share, n in zip(exact, rows, strict=True) if n > share]
    down = [share - math.floor(share) for share, n in zip(exact, rows, strict=True) if n <= share]
    assert all(abs(share - n) < 1 for share, n in zip(exact, rows, strict=True))
    # A whole share may come out a rounding below: then all may be rounded up.
    assert not up or not down or min(up) >= max(down) - 1e-9


def test_largest_remainders_by_hand():
    data = dataclasses.replace(DATA, short=((4, 4), (8, 8)), batch_size=10)
    rates = {"short": 4.6, "middle": 3.55, "long": 1.85}  # of 10 rows
    sources = {"short": Texts((4, 4)), "middle": Texts((8, 8)), "long": Texts((16, 24))}
    mixture = [(Task(name, sources[name]), rate) for name, rate in rates.items()]
    assert [rows for _, _, rows in by_length(mixture, data, seed=0)] == [5, 3, 2]
    data = dataclasses.replace(data, batch_size=32, rows_multiple=4)  # As a mesh of 4 wants it.
    assert [rows for _, _, rows in by_length(mixture, data, seed=0)] == [16, 12, 4]
    with pytest.raises(ValueError, match="batch_size 10 is no multiple of rows_multiple 4"):
        dataclasses.replace(data, batch_size=10)


def test_a_part_without_a_row_is_an_error_that_names_it():
    data = dataclasses.replace(DATA, short=((4, 4),))
    mixture = [(Task("a", Texts((2, 2))), 100.0), (Task("b", Texts((9, 9))), 1.0)]
    message = r"batch_size 12 has no row for the tasks of lengths \(16, 24\), whose rates are too s"
    with pytest.raises(ValueError, match=message):
        by_length(mixture, data, seed=0)


TOKENIZER = str(pretrained.EMBEDDED / pretrained.TOKENIZER)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Captions and longer keywords, three to one, as records; in parts of 6 and 2 rows."""
    folder = tmp_path_factory.mktemp("records")
    tasks = []
    for name, prompt, answer, rate in (
        ("captions", "caption", "name", 3.0),
        ("keywords", "keywords", "keywords", 1.0),
    ):
        functions = (RenderPicture(12), TextToText(prompt, answer), Tokenize(TOKENIZER))
        if answer == "keywords":
            functions = (functions[0], join_keywords, *functions[1:])
        tasks.append((Task(name, DemoTexts("held_out_pairs", ("en", "sw")), functions), rate))
    for split in ("train", "validation"):
        write_records(tasks, folder, split)
    return Config(
        PaLIConfig(ViTConfig(8, 1, 16, 2, 6, 12), MT5Config(8192, 8, 16, 2, 4, 1, 1)),
        DataConfig(
            "any",
            records=str(folder),
            batch_size=8,
            inputs_length=20,
            targets_length=80,
            short=((16, 16),),
        ),
        eval_batches=2,
        seed=3,
    )


def join_keywords(example):
    return example | {"keywords": ", ".join(example["keywords"] * 3)}


def assert_equal_parts(first, second):
    assert len(first) == len(second)
    for ours, theirs in zip(first, second, strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            np.testing.assert_array_equal(value, theirs[name])


def test_batches_in_parts_are_a_function_of_seed_and_step(config):
    with Inputs(config, {}) as data:
        batches = data.train(0)
        first = [next(batches) for _ in range(6)]
        evaluated = list(data.evaluate("validation"))
    assert [part["decoder_target_tokens"].shape for part in first[0]] == [(6, 16), (2, 80)]
    assert [part["encoder_input_tokens"].shape for part in first[0]] == [(6, 16), (2, 20)]
    assert len({part["decoder_target_tokens"].tobytes() for part, _ in first}) == 6
    with Inputs(dataclasses.replace(config, eval_batches=1), {}) as again:
        assert_equal_parts(next(again.train(4)), first[4])
        assert_equal_parts(next(again.evaluate("validation")), evaluated[0])
    with Inputs(config, {}, shares=((1,), 2)) as half:
        mine = [{k: v[len(v) // 2 :] for k, v in part.items()} for part in first[4]]
        assert_equal_parts(next(half.train(4)), mine)
    with pytest.raises(
        ValueError, match="a part of 6 of the 8 rows .* set data.rows_multiple to 4"
    ):
        Inputs(config, {}, shares=((1,), 4))
    assert len(evaluated) == 2
    with Inputs(dataclasses.replace(config, seed=4), {}) as other:
        found = next(other.train(0))[0]["decoder_target_tokens"]
        assert np.any(found != first[0][0]["decoder_target_tokens"])


def test_each_part_holds_the_texts_of_its_tasks(config):
    from pali.tokenizer import Tokenizer

    tokenizer = Tokenizer(TOKENIZER)
    with Inputs(config, {}) as data:
        short, long = next(data.train(0))
    for part, word in ((short, "alt_text"), (long, "keywords")):
        for row in part["encoder_input_tokens"]:
            assert tokenizer.decode(row.tolist()).startswith(f"Generate the {word} in ")


@dataclass(frozen=True)
class Numbers:
    """Each record has a number of its own as its target."""

    size: int

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return {"inputs": np.array([9]), "targets": np.array([10 + index, 1])}


@pytest.mark.parametrize(("records", "batches"), [(3, 1), (16, 2), (19, 3)])
def test_a_split_of_one_task_is_evaluated_once_and_padded(config, tmp_path, records, batches):
    write_records([(Task("numbers", Numbers(records)), 1.0)], tmp_path, "train")
    data = dataclasses.replace(config.data, records=str(tmp_path), short=())
    config = dataclasses.replace(config, data=data, eval_splits=("train",), eval_batches=9)

    def seen(shares):
        with Inputs(config, {}, shares=shares) as data:
            parts = [part for (part,) in data.evaluate("train")]
        assert len(parts) == batches
        assert {len(part["decoder_target_tokens"]) for part in parts} == {8 // shares[1]}
        real = [
            part["decoder_target_tokens"][part["decoder_loss_weights"].any(1)] for part in parts
        ]
        return np.concatenate(real)[:, 0].tolist()

    every = list(range(10, 10 + records))
    assert sorted(seen(((0,), 1))) == every
    assert sorted(seen(((0,), 2)) + seen(((1,), 2))) == every


def test_a_split_that_leaves_a_part_without_rows_fails_at_the_start(config):
    data = dataclasses.replace(config.data, batch_size=1)
    with pytest.raises(ValueError, match="has no row for the tasks of lengths"):
        Inputs(dataclasses.replace(config, data=data), {})
