# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The batch of step k: a function of (seed, k) and of nothing else."""

import json
import os
import pathlib
import subprocess
import sys
import textwrap
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest

import pali
from pali.data.pipeline import (
    MAX_RECORDS,
    Task,
    batch_dataset,
    fit_to_model,
    iterate,
    mixture_dataset,
    replace_image_function,
    task_dataset,
)
from pali.data.preprocessors import RenderPicture, TextToText, Tokenize

BATCH = 12


@dataclass
class Numbers:
    """Records 0 … length - 1, and a note of which were read."""

    length: int
    read: list = field(default_factory=list)

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        assert 0 <= index < self.length
        self.read.append(index)
        return {"number": np.int64(index)}


def named(name):
    return lambda example: example | {"task": name}


def keep_number(example):
    return {"number": example["number"]}


def mixture(**lengths_and_rates):
    return [
        (Task(name, Numbers(length), (named(name),)), rate)
        for name, (length, rate) in lengths_and_rates.items()
    ]


def batches(seed=0, shares=((0,), 1)):
    examples = mixture_dataset(mixture(a=(50, 3.0), b=(20, 1.0)), seed)
    return batch_dataset(examples, keep_number, BATCH, shares)


@pytest.mark.parametrize("num_hosts", [2, 3, 4, 12])
@pytest.mark.parametrize("step", [0, 1, 123_456])
def test_slices_of_the_hosts_make_up_the_batch_of_one_host(num_hosts, step):
    slices = [batches(shares=((h,), num_hosts))[step]["number"] for h in range(num_hosts)]
    assert all(len(part) == BATCH / num_hosts for part in slices)
    np.testing.assert_array_equal(np.concatenate(slices), batches()[step]["number"])


@pytest.mark.parametrize("settings", [{"threads": 0}, {"threads": 1}, {"threads": 3}])
def test_starting_late_and_reading_ahead_change_nothing(settings):
    iterator = iterate(batches(), 5, **settings)
    for step in range(5, 15):
        np.testing.assert_array_equal(next(iterator)["number"], batches()[step]["number"])
    iterator.close()


def test_a_late_step_reads_its_own_records_only():
    source = Numbers(1000)
    late = batch_dataset(mixture_dataset([(Task("a", source), 1.0)], 0), keep_number, BATCH)
    iterator = iterate(late, 10**9, threads=0)
    next(iterator)
    iterator.close()
    assert len(source.read) == BATCH


def test_other_seeds_give_other_batches():
    first, second = (batches(seed)[0]["number"].tolist() for seed in (0, 1))
    assert first != second


def test_rates_are_kept_all_along():
    examples = mixture_dataset(mixture(a=(50, 3.0), b=(20, 1.0)), 0)
    for start in (0, 4000):
        drawn = Counter(examples[i]["task"] for i in range(start, start + 400))
        assert drawn == {"a": 300, "b": 100}


def test_an_epoch_has_every_record_once_and_the_next_one_another_order():
    examples = mixture_dataset(mixture(a=(50, 1.0)), 0)
    epochs = [[int(examples[e * 50 + i]["number"]) for i in range(50)] for e in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(50))
    assert epochs[0] != epochs[1]
    assert epochs[0] != sorted(epochs[0])


def test_a_new_task_does_not_change_the_order_of_the_others():
    def order(examples):
        drawn = (examples[i] for i in range(300))
        return [int(e["number"]) for e in drawn if e["task"] == "a"][:60]

    alone = mixture_dataset(mixture(a=(50, 1.0)), 0)
    mixed = mixture_dataset(mixture(b=(20, 1.0), a=(50, 1.0)), 0)
    assert order(alone) == order(mixed)


def test_two_tasks_of_equal_size_are_shuffled_differently():
    examples = mixture_dataset(mixture(a=(50, 1.0), b=(50, 1.0)), 0)
    drawn = [examples[i] for i in range(100)]
    orders = [[int(e["number"]) for e in drawn if e["task"] == name] for name in "ab"]
    assert orders[0] != orders[1]


def test_a_task_can_be_read_in_the_order_of_its_source():
    task = Task("a", Numbers(29), (named("a"),))
    assert [(e["number"], e["task"]) for e in task_dataset(task)] == [(i, "a") for i in range(29)]


def test_visual_tokens_replace_the_function_that_makes_the_image_and_no_other():
    text = TextToText("caption", "name")
    before = [(Task("a", Numbers(1), (text, RenderPicture(8))), 2.0), (Task("b", Numbers(1)), 1.0)]
    (first, rate), (second, _) = replace_image_function(before, keep_number)
    assert first.functions == (text, keep_number)
    assert rate == 2.0
    assert second == before[1][0]


def test_the_model_decides_size_and_tokenizer():
    functions = (RenderPicture(8), TextToText("caption", "name"), Tokenize("theirs"), keep_number)
    ((task, _),) = fit_to_model(
        [(Task("a", Numbers(1), functions), 1.0)], image_size=32, tokenizer="ours"
    )
    assert task.functions == (RenderPicture(32), functions[1], Tokenize("ours"), keep_number)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([], "has no task"),
        (mixture(a=(5, 0.0)), "'a' has rate 0.0; it must be positive"),
        (mixture(a=(5, float("nan"))), "'a' has rate nan"),
        (mixture(a=(0, 1.0)), "'a' has 0 records"),
        (mixture(a=(MAX_RECORDS + 1, 1.0)), f"'a' has {MAX_RECORDS + 1} records"),
    ],
)
def test_bad_mixtures_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        mixture_dataset(bad, 0)


def test_a_host_reads_any_shares_one_after_the_other():
    alone, mine = batches()[3]["number"], batches(shares=((0, 3), 4))[3]["number"]
    assert mine.tolist() == [*alone[:3], *alone[9:]]


def test_bad_shares_are_refused():
    with pytest.raises(
        ValueError, match="12 cannot be divided into 5 equal shares; .* has 15 rows"
    ):
        batches(shares=((0,), 5))
    for mine in ((4,), (), (1, 0), (1, 1)):
        with pytest.raises(ValueError, match="are no shares of 4: give numbers from 0 to 3"):
            batches(shares=(mine, 4))


def test_the_largest_source_is_shuffled_through_its_whole_range():
    # Beyond 32 bits Grain's permutation would silently wrap around.
    source = Numbers(MAX_RECORDS)
    examples = mixture_dataset([(Task("a", source), 1.0)], 0)
    for i in range(64):
        examples[i]
    assert max(source.read) > MAX_RECORDS // 2
    assert len(set(source.read)) == 64


def test_worker_processes_give_the_same_batches_without_tensorflow(tmp_path):
    script = """
        import json, sys
        import numpy as np
        from pali.data.converter import ClassificationFeatures
        from pali.data.pipeline import Task, batch_dataset, iterate, mixture_dataset
        from pali.data.preprocessors import RenderPicture
        from pali.data.sources import DemoPictures

        HEAVY = ("tensorflow", "seqio", "torch", "transformers")

        def note_imports(example):
            return example | {"label": sum(name in sys.modules for name in HEAVY)}

        if __name__ == "__main__":
            functions = (RenderPicture(16), note_imports)
            mixture = [(Task("pictures", DemoPictures(), functions), 1.0)]
            batches = batch_dataset(mixture_dataset(mixture, 0), ClassificationFeatures(16), 4)
            iterator = iterate(batches, 7, workers=2)
            found = [next(iterator) for _ in range(4)]
            iterator.close()
            print(json.dumps({
                "equal": all(np.array_equal(found[i]["image"], batches[7 + i]["image"])
                             for i in range(4)),
                "heavy": int(sum(batch["label"].sum() for batch in found)),
            }))
    """
    file = tmp_path / "script.py"  # A worker process imports the file that started it.
    file.write_text(textwrap.dedent(script))
    done = subprocess.run(
        [sys.executable, str(file)],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
        env=os.environ | {"PYTHONPATH": str(pathlib.Path(pali.__file__).parents[1])},
    )
    assert json.loads(done.stdout) == {"equal": True, "heavy": 0}
