# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`pali.evaluate` on a random model, a registered task of three languages, and real pictures."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import sacrebleu
from PIL import Image
from rich.console import Console

from pali import evaluate
from pali.checkpoints import pretrained
from pali.config import MT5Config, PaLIConfig, ViTConfig
from pali.data import benchmarks
from pali.data.demo_corpus import load_corpus
from pali.data.evaluation import read_splits
from pali.generation import MAX_LENGTH
from pali.metrics import wrong_language
from pali.metrics.wrong_language import installed_judge, share
from pali.tokenizer import Tokenizer
from tests.test_processes import finish, free_port

TASK = """
import os

import seqio
from pali.data.preprocessors import RenderPicture, TextToText, Tokenize
from pali.data.seqio_bridge import RecordSource, pali_features, per_example
from pali.data.sources import DemoTexts
from pali.metrics.chrf import chrf
from pali.metrics.error_rates import cer
from pali.metrics.exact_match import exact_match

def interrupted(example):
    if os.environ.get("STOP_AT") == example["image_key"]:
        raise KeyboardInterrupt
    return example


# Only pictures meet it: texts are read before the run begins.
interrupted.makes_image = True

seqio.TaskRegistry.add(
    "three_languages",
    source=RecordSource(
        {{
            split: DemoTexts(split, ("en", "hi", "sw"), 2)
            for split in ("train", "validation", "held_out_pairs", "never_seen")
        }}
    ),
    preprocessors=[
        per_example(
            interrupted,
            RenderPicture(72),
            TextToText("caption", "name"),
            Tokenize({tokenizer!r}),
        )
    ],
    output_features=pali_features({tokenizer!r}),
    metric_fns=[exact_match, chrf],
    shuffle_buffer_size=None,
)

seqio.TaskRegistry.add(
    "three_languages_read",
    source=RecordSource({{"validation": DemoTexts("validation", ("en", "hi", "sw"), 2)}}),
    preprocessors=[
        per_example(RenderPicture(72), TextToText("ocr", "name"), Tokenize({tokenizer!r}))
    ],
    output_features=pali_features({tokenizer!r}),
    metric_fns=[cer, exact_match],
    shuffle_buffer_size=None,
)
"""
LIMIT = 6


@pytest.fixture(scope="module")
def model(tmp_path_factory, tiny_tokenizer):
    """Random weights; a ViT with a classifier of the demo corpus' classes."""
    classes = len(load_corpus().core_train)
    sizes = {"width": 16, "mlp_dim": 32, "num_heads": 2}
    config = PaLIConfig(
        ViTConfig(depth=1, patch_size=16, image_size=32, pool="map", num_classes=classes, **sizes),
        MT5Config(
            vocab_size=Tokenizer(tiny_tokenizer).vocab_size,
            head_dim=8,
            encoder_layers=1,
            decoder_layers=1,
            **sizes,
        ),
    )
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: rng.normal(size=leaf.shape).astype(np.float32),
        pretrained.expected_params(config),
    )
    folder = tmp_path_factory.mktemp("models") / "random"
    metadata = pretrained.Metadata(languages=("en", "hi", "sw"))
    return pretrained.save_model(folder, config, params, tiny_tokenizer, metadata)


@pytest.fixture(scope="module")
def task_file(tmp_path_factory, tiny_tokenizer):
    path = tmp_path_factory.mktemp("tasks") / "three_languages.py"
    path.write_text(textwrap.dedent(TASK).format(tokenizer=str(tiny_tokenizer)))
    return str(path)


@pytest.fixture(scope="module", autouse=True)
def benchmark():
    """The task is judged as the demo captions are, with 5 choices."""
    with pytest.MonkeyPatch.context() as patch:
        judged = benchmarks.Benchmark(group="code", choices=5, baseline=benchmarks.ClassNames())
        patch.setitem(benchmarks.BENCHMARKS, "three_languages", judged)
        yield


@pytest.fixture(scope="module")
def run(model, task_file):
    def run(workdir, **changed):
        console = Console(file=io.StringIO(), width=changed.pop("width", 160))
        arguments = {"limit": LIMIT, "task_modules": [task_file], "console": console} | changed
        model_ = arguments.pop("model", model)
        tasks = arguments.pop("tasks", ["three_languages"])
        results = evaluate.main(model_, tasks, workdir, **arguments)
        return results, console.file.getvalue()

    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory, run):
    """A workdir that an uninterrupted run has filled; the tests below copy it or only read."""
    workdir = tmp_path_factory.mktemp("finished")
    results, printed = run(workdir)
    return workdir, results, printed


def lines_of(workdir):
    return [json.loads(line) for line in (workdir / "predictions.jsonl").read_text().splitlines()]


def scores_of(results):
    return {
        (r["split"], r["metric"], r["variant"], r["system"]): r["score"] for r in results["scores"]
    }


def test_every_example_is_predicted_once(finished):
    lines = lines_of(finished[0])
    assert len(lines) == 3 * 3 * LIMIT
    assert len({line["id"] for line in lines}) == len(lines)
    for line in lines:
        name = load_corpus().names(line["lang"])[line["group"]]
        assert line["references"] == [name]
        assert (
            line["prompt"] == f"Generate the alt_text in {line['lang'].upper()} at 0: <extra_id_0>"
        )
        assert line["image_key"].split("/")[1] == line["group"]
        assert line["log_prob"] < 0


def test_the_training_split_is_left_out(finished):
    assert {line["split"] for line in lines_of(finished[0])} == {
        "validation",
        "held_out_pairs",
        "never_seen",
    }


def test_predictions_are_what_the_model_writes(finished, model, task_file):
    import pali
    from pali.data.rendering import render

    loaded = pali.load(model)
    splits = read_splits(["three_languages"], 32, loaded.tokenizer, task_modules=[task_file])
    lengths = {split.name: split.max_length for split in splits}
    assert max(lengths.values()) > MAX_LENGTH, "names spelled in bytes are long"
    lines = lines_of(finished[0])
    for line in lines[::7]:
        art, code, view = line["image_key"].split("/")
        picture = render(art, code, int(view), 32)
        (text,) = loaded.generate(picture, line["prompt"], max_length=lengths[line["split"]])
        assert (text, text.num_tokens) == (line["prediction"], line["num_tokens"])
    # Random weights seldom end: they write as much as they may.
    for split, length in lengths.items():
        assert max(line["num_tokens"] for line in lines if line["split"] == split) == length


OWN = """
    import seqio
    from pali.data.preprocessors import DecodePicture, TextToText, Tokenize
    from pali.data.seqio_bridge import RecordSource, pali_features, per_example
    from pali.data.parquet import Parquet
    from pali.metrics.exact_match import exact_match

    seqio.TaskRegistry.add(
        "own_pictures",
        source=RecordSource({{"validation": Parquet("{rows}")}}),
        preprocessors=[
            per_example(
                DecodePicture(32),
                TextToText("caption", "caption"),
                Tokenize("{tokenizer}"),
                binary=("image",),
            )
        ],
        output_features=pali_features("{tokenizer}"),
        metric_fns=[exact_match],
        shuffle_buffer_size=None,
    )
"""


def test_records_that_cannot_be_asked_about_are_counted(run, tmp_path, tiny_tokenizer):
    files = []
    for shade in (0, 200):
        file = io.BytesIO()
        Image.new("RGB", (40, 30), (shade, 0, 0)).save(file, "PNG")
        files.append(file.getvalue())
    columns = {
        "image": [files[0], files[1], files[0]],
        "lang": ["en", "en", "sw"],
        "caption": ["dark", None, "giza"],
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "rows.parquet")
    own = textwrap.dedent(OWN).format(rows=tmp_path / "rows.parquet", tokenizer=tiny_tokenizer)
    (tmp_path / "own_pictures.py").write_text(own)
    module = str(tmp_path / "own_pictures.py")
    results, printed = run(tmp_path / "work", tasks=["own_pictures"], task_modules=[module])
    assert results["skipped"] == {"own_pictures/validation": {"text": 1}}
    assert "own_pictures/validation: left out, there is no text" in printed
    lines = lines_of(tmp_path / "work")
    assert [line["references"] for line in lines] == [["dark"], ["giza"]]
    (split,) = read_splits(["own_pictures"], 32, Tokenizer(tiny_tokenizer), task_modules=[module])
    # Their pictures are read again when their turn comes: a large split would not fit in memory.
    assert not any(isinstance(v, bytes) for e in split.examples for v in e.record.values())
    assert split.picture(split.examples[1])[0, 0, 0] == 0


def test_answers_may_be_twice_as_long_as_any_reference():
    tokenizer = Tokenizer(pretrained.EMBEDDED / pretrained.TOKENIZER)
    for task, least in (("demo_detection", 128), ("demo_vqg", 128), ("demo_vqa_colour", 64)):
        splits = read_splits([task], 32, tokenizer)
        limited = read_splits([task], 32, tokenizer, limit=1)
        assert [s.max_length for s in limited] == [s.max_length for s in splits]
        for split in splits:
            references = [text for example in split.examples for text in example.references]
            longest = max(len(tokenizer.encode(text)) + 1 for text in references)
            assert least <= 2 * longest <= split.max_length or split.max_length == least
            assert split.max_length < 4 * longest or split.max_length == MAX_LENGTH


def test_the_files_hold_what_is_returned(finished):
    workdir, results, _ = finished
    assert json.loads((workdir / "metrics.json").read_text()) == json.loads(json.dumps(results))


def test_scores_follow_from_the_predictions(finished):
    workdir, results, _ = finished
    lines, scores = lines_of(workdir), scores_of(results)
    for split in ("validation", "held_out_pairs", "never_seen"):
        by_language = {
            lang: [line for line in lines if (line["split"], line["lang"]) == (split, lang)]
            for lang in ("en", "hi", "sw")
        }
        for system, field in (("model", "prediction"), ("baseline", "baseline")):
            chrfs = [
                sacrebleu.corpus_chrf(
                    [line[field] for line in own], [[line["references"][0] for line in own]]
                ).score
                for own in by_language.values()
            ]
            key = (split, "chrf", "chrF2|nc:6|nw:0|space:no|nfkc", system)
            # References are NFC, and these names do not change under NFKC.
            assert scores[key] == pytest.approx(np.mean(chrfs), abs=1e-6)
            hits = [
                np.mean([line[field] == line["references"][0] for line in own])
                for own in by_language.values()
            ]
            exact = scores[split, "exact_match", "nfkc-space", system]
            assert exact == pytest.approx(100 * np.mean(hits))


def test_choices_are_among_the_answers_to_other_pictures(finished):
    lines = [line for line in lines_of(finished[0]) if "candidates" in line]
    assert len(lines) == 3 * 3 * 5
    for line in lines:
        assert len(set(line["candidates"])) == len(line["log_likelihoods"]) == 5
        assert line["candidates"][line["right_candidate"]] == line["references"][0]
    held_out = [line for line in lines if line["split"] == "held_out_pairs"]
    for line in held_out:
        corpus = load_corpus()
        names = {corpus.names(line["lang"])[code] for code in corpus.held_out(line["lang"])}
        assert set(line["candidates"]) <= names


def test_the_baseline_answers_by_the_class_of_the_vit(finished, model):
    import pali

    loaded = pali.load(model)
    corpus = load_corpus()
    from pali.data.rendering import render

    for line in lines_of(finished[0])[::9]:
        art, code, view = line["image_key"].split("/")
        _, scores = evaluate.see(loaded, render(art, code, int(view), 32)[None])
        best = corpus.core_train[int(scores[0].argmax())].code
        assert line["baseline"] == corpus.names(line["lang"]).get(best, "")
        known = code in corpus.class_index
        assert line["baseline_class_right"] == ((best == code) if known else None)


def test_concepts_without_a_class_have_no_classifier_scores(finished):
    _, results, _ = finished
    systems = {key for key in scores_of(results) if key[0] == "never_seen"}
    assert not any(key[1] == "vit_top_1" for key in systems)
    assert {key[3] for key in systems if key[1] == "choice"} == {"model", "shuffled"}


def test_the_report_and_the_terminal_show_the_scores(finished):
    workdir, results, printed = finished
    report = (workdir / "report.md").read_text()
    for record in results["scores"]:
        assert f"{record['score']:.1f}" in report
        assert f"{record['score']:.1f}" in printed
    for text in (
        "three_languages",
        "held_out_pairs",
        "choice, less prior",
        "ViT class → CLDR name",
    ):
        assert text in report
    assert evaluate.fingerprint(pretrained.Path(results["model"]["folder"])) in report


def test_the_wrong_language_is_scored_everywhere(finished):
    workdir, results, printed = finished
    own = [r for r in results["scores"] if r["metric"] == wrong_language.NAME]
    judge = installed_judge()
    assert {(r["split"], r["variant"]) for r in own if r["system"] == "model"} == {
        (split, judge.variant) for split in ("validation", "held_out_pairs", "never_seen")
    }
    for record in own:
        field = {"model": "prediction", "baseline": "baseline"}.get(record["system"])
        if field is None:
            continue
        lines = [line for line in lines_of(workdir) if line["split"] == record["split"]]
        shares = {}
        for lang in ("en", "hi", "sw"):
            texts = [line[field] for line in lines if line["lang"] == lang]
            shares[lang] = share(judge.verdicts(texts, [lang] * len(texts)))
        shares = {lang: 100 * value for lang, value in shares.items() if value is not None}
        assert record["per_language"] == pytest.approx(shares)
        # Of an untrained model some answers are no words at all.
        lettered = [any(c.isalpha() for c in line[field]) for line in lines]
        assert record["judged"] == sum(lettered) <= record["n"] == len(lines)
        assert record["signature"].endswith(f"|judged:{record['judged']}")
    report = (workdir / "report.md").read_text()
    for text in (report, printed):
        assert "↓ wrong language" in text
        assert "n the wrong language: at most" in " ".join(text.split())
        assert "open-pali[check]" not in text
    baseline = [r["score"] for r in own if r["system"] == "baseline"]
    assert baseline == [0, 0, 0], "names of the corpus are in the language asked for"


def test_two_processes_score_what_one_does(tmp_path, run, model, task_file):
    """They go on with a workdir that one process began, and only the first of them sees it."""
    task = "three_languages_read"
    two, port = tmp_path / "two", free_port()
    run(two, tasks=[task], limit=2)
    begun = lines_of(two)
    words = ["-m", "pali", "evaluate", "--model", str(model), "--module", task_file]
    own = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}", "JAX_NUM_PROCESSES": "2"}
    own |= {"PYTHONPATH": str(Path(__file__).parents[1]), "JAX_PLATFORMS": "cpu"}
    finish(
        [
            subprocess.Popen(
                [sys.executable, *words, "--tasks", task, "--limit", "5", "--workdir", workdir],
                env=os.environ | own | {"JAX_PROCESS_ID": str(rank)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank, workdir in enumerate((two, tmp_path / "elsewhere"))
        ]
    )
    one = tmp_path / "one"
    run(one, tasks=[task], limit=5)
    # An odd number of examples is left to them: one has more than the other, and nothing fills up.
    made = lines_of(two)
    assert (len(begun), len(made)) == (6, 15)
    assert made[:6] == begun
    assert sorted(line["id"] for line in made) == sorted(line["id"] for line in lines_of(one))
    assert json.loads((two / "metrics.json").read_text()) == json.loads(
        (one / "metrics.json").read_text()
    )
    assert not (tmp_path / "elsewhere").exists()


@pytest.fixture(scope="module")
def both(tmp_path_factory, run):
    """A run of two tasks, on a terminal of 80 columns."""
    workdir = tmp_path_factory.mktemp("both")
    tasks = ["three_languages", "three_languages_read"]
    results, printed = run(workdir, tasks=tasks, limit=3, width=80)
    return workdir, results, printed


def test_of_several_tasks_one_table_is_shown(both):
    _, results, printed = both
    lines = printed.splitlines()
    assert max(map(len, lines)) <= 80
    found = {
        (r["benchmark"], r["split"], r["metric"], r["variant"], r["system"]): r
        for r in results["scores"]
    }
    captions = [("validation", 9), ("held_out_pairs", 9), ("never_seen", 9)]
    exact, chosen = ("exact_match", "nfkc-space"), ("choice", "sum-minus-prior")
    expected = [("three_languages",)]
    for split, n in captions:
        key = ("three_languages", split)
        systems = (found[(*key, *exact, s)] for s in ("model", "majority", "shuffled"))
        numbers = [f"{record['score']:.1f}" for record in systems]
        expected.append((split, "exact", "match", *numbers, str(n), "3"))
        record = found[(*key, *chosen, "model")]
        shuffled = found[(*key, *chosen, "shuffled")]
        numbers = [f"{r['score']:.1f}" for r in (record, shuffled)]
        chance = f"{record['chance']:.1f}"
        # Up to five choose, whatever the limit: as many as are there.
        expected.append(("choice,", "less", "prior", *numbers, chance, str(record["n"]), "3"))
    key = ("three_languages_read", "validation", "cer", "levenshtein|nfkc|spaces")
    rates = [found[(*key, s)]["score"] for s in ("model", "majority", "shuffled")]
    # Random weights ramble: without a decimal the rates fit.
    numbers = [f"{rate:.1f}" if rate < 1000 else f"{rate:.0f}" for rate in rates]
    expected += [
        ("three_languages_read",),
        ("validation", "↓", "character", "errors", *numbers, "9", "3"),
        ("↓", "lower", "is", "better"),
    ]
    start = lines.index("three_languages")
    end = start + len(expected)
    assert [tuple(line.split()) for line in lines[start:end]] == expected
    assert lines[end].startswith("in the wrong language: at most ")


def test_the_summary_leads_to_every_section_of_the_report(both):
    report = (both[0] / "report.md").read_text()
    summary = report.index("## Summary")
    assert summary < report.index("## three_languages\n")
    headings = re.findall(r"^#+ (.*)$", report, re.M)
    # As GitHub makes anchors: lower case, punctuation left out, hyphens for spaces.
    anchors = [re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings]
    links = set(re.findall(r"\]\(#([^)]*)\)", report))
    assert len(links) == 4
    assert all(anchors.count(link) == 1 for link in links), (links, anchors)
    assert report.count("| en English |") == 2
    for record in both[1]["scores"]:
        if record["system"] == "model" and record["variant"] != "sum":
            assert all(f"{value:.1f}" in report for value in record["per_language"].values())


def test_all_are_the_tasks_that_answer_in_text(run, tmp_path, monkeypatch, task_file):
    from pali.data import seqio_bridge

    names = seqio_bridge.answering_tasks([task_file])
    assert {"three_languages", "three_languages_read", "demo_captions", "demo_ocr"} <= set(names)
    assert "demo_concepts" not in names
    asked = []

    def two_of_them(modules):
        asked.append(modules)
        return ["three_languages", "three_languages_read"]

    monkeypatch.setattr(seqio_bridge, "answering_tasks", two_of_them)
    results, _ = run(tmp_path, tasks=["all", "three_languages"], limit=1)
    assert asked == [(task_file,)]
    names = [record["benchmark"] for record in results["scores"]]
    assert list(dict.fromkeys(names)) == ["three_languages", "three_languages_read"]


def test_an_interrupted_run_goes_on_where_it_stopped(finished, run, tmp_path, monkeypatch):
    workdir, results, _ = finished
    monkeypatch.setattr(evaluate, "BLOCK", 10)  # It stops inside the second split.
    monkeypatch.setenv("STOP_AT", lines_of(workdir)[35]["image_key"])
    with pytest.raises(KeyboardInterrupt, match="the same command goes on"):
        run(tmp_path)
    path = tmp_path / "predictions.jsonl"
    kept = path.read_bytes()
    assert 0 < len(kept.splitlines()) < len(lines_of(workdir))
    assert not (tmp_path / "metrics.json").exists()
    path.write_bytes(kept + b'{"id": "three_languages/val')  # killed while it wrote a line
    monkeypatch.delenv("STOP_AT")
    again, _ = run(tmp_path)
    assert path.read_bytes().startswith(kept)
    assert again["scores"] == results["scores"]


def test_what_is_there_is_not_predicted_again(finished, run, tmp_path):
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    lines = lines_of(tmp_path)
    for line in lines:
        line["prediction"] = line["references"][0]
    (tmp_path / "predictions.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    again, _ = run(tmp_path)
    assert scores_of(again)["validation", "exact_match", "nfkc-space", "model"] == 100
    assert scores_of(again)["validation", "exact_match", "nfkc-space", "shuffled"] < 100


def test_a_smaller_limit_is_a_part_of_a_larger_one(finished, run, tmp_path):
    run(tmp_path, limit=2)
    small = lines_of(tmp_path)
    assert len(small) == 3 * 3 * 2
    again, _ = run(tmp_path)
    assert lines_of(tmp_path)[: len(small)] == small
    assert again["scores"] == finished[1]["scores"]


def test_another_model_is_refused(finished, run, tmp_path, model):
    shutil.copytree(finished[0], tmp_path / "work")
    shutil.copytree(model, tmp_path / "other")
    config = tmp_path / "other" / "config.json"
    config.write_text(config.read_text().replace('"hi"', '"fr"'))
    with pytest.raises(ValueError, match=r"results of another model .*--overwrite"):
        run(tmp_path / "work", model=tmp_path / "other")
    assert lines_of(tmp_path / "work") == lines_of(finished[0])
    earlier = tmp_path / "work" / "items" / "vqav2.validation.jsonl"  # Of a task not asked for now.
    earlier.parent.mkdir()
    earlier.touch()
    run(tmp_path / "work", model=tmp_path / "other", limit=2, overwrite=True)
    assert len(lines_of(tmp_path / "work")) == 3 * 3 * 2
    assert not earlier.exists()
    pages = [(folder / "report.html").read_text() for folder in (finished[0], tmp_path / "work")]
    for page, folder in zip(pages, (model, tmp_path / "other"), strict=True):
        assert evaluate.fingerprint(folder) in page
    assert "at most 2 of each split" in pages[1]
    assert evaluate.fingerprint(model) not in pages[1]


def test_of_a_run_that_is_begun_anew_no_page_is_left(finished, tmp_path, model):
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    evaluate.claim(tmp_path, model, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_predictions_of_nobody_are_refused(finished, run, tmp_path):
    shutil.copy(finished[0] / "predictions.jsonl", tmp_path)
    with pytest.raises(ValueError, match="no run.json"):
        run(tmp_path)


def test_other_data_are_refused(finished, run, tmp_path):
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    lines = lines_of(tmp_path)
    lines[3]["references"] = ["something else"]
    (tmp_path / "predictions.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    with pytest.raises(ValueError, match=r"references \['something else'\] there, and now it is"):
        run(tmp_path)


def test_a_damaged_line_is_named(finished, run, tmp_path):
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    path = tmp_path / "predictions.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    row = json.loads(lines[4])
    for junk in ("{", "[" * 100_000, {**row, "prediction": None}, {**row, "id": []}):
        lines[4] = (junk if isinstance(junk, str) else json.dumps(junk)) + "\n"
        path.write_text("".join(lines))
        with pytest.raises(ValueError, match="line 5 of .*predictions.jsonl is damaged"):
            evaluate.read_lines(path)
    with pytest.raises(ValueError, match="line 5 of .*predictions.jsonl is damaged"):
        run(tmp_path)


def test_a_folder_that_cannot_be_a_workdir_is_named(tmp_path, model):
    file = tmp_path / "file"
    file.touch()
    for folder, why in ((file, "File exists"), (file / "work", "Not a directory")):
        with pytest.raises(OSError, match=f"{folder} cannot be a workdir: {why}; name another"):
            evaluate.claim(folder, model)
    for junk in ("[]", "null", "{", "[" * 100_000):
        (tmp_path / "run.json").write_text(junk)
        with pytest.raises(ValueError, match=r"run.json is damaged; use --overwrite"):
            evaluate.claim(tmp_path, model)


def test_unknown_task(run, tmp_path):
    with pytest.raises(ValueError, match="'demo_caption'; nearest: demo_captions"):
        run(tmp_path / "work", tasks=["demo_caption"])
    assert not (tmp_path / "work").exists()


def test_a_task_that_asks_nothing(run, tmp_path):
    with pytest.raises(ValueError, match="'demo_concepts' has no prompt"):
        run(tmp_path, tasks=["demo_concepts"])


def test_no_task(run, tmp_path):
    with pytest.raises(ValueError, match="no task to evaluate"):
        run(tmp_path, tasks=[])


def test_not_a_model_folder(run, tmp_path):
    with pytest.raises(FileNotFoundError, match="not a model folder"):
        run(tmp_path / "work", model=tmp_path)


def test_limit_below_one(run, tmp_path):
    with pytest.raises(ValueError, match="limit is 0"):
        run(tmp_path, limit=0)


def test_a_vit_with_other_classes_is_no_baseline():
    classes = len(load_corpus().core_train)
    assert benchmarks.ClassNames().fits(classes)
    assert not benchmarks.ClassNames().fits(1000)
