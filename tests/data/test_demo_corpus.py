# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The committed corpus: splits follow from hashes, texts are clean, sources are named."""

import hashlib
import itertools
import json
import pickle
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from pali import languages
from pali.data import demo_corpus
from pali.data.demo_corpus import ALL_ART, TRAIN_ART, UNSEEN_ART, load_corpus

ROOT = Path(__file__).parents[2]
DATA = ROOT / "data" / "demo"
XM3600 = [languages.resolve(code) for code in languages.XM3600]
corpus = load_corpus()


def by_name(name: str) -> str:
    """The code of an English name."""
    return next(concept.code for concept in corpus.concepts if concept.name == name)


def test_size_is_what_the_demo_needs():
    assert len(corpus.core_train) >= 320
    assert 15 <= len(corpus.never_seen) <= 25
    assert len(corpus.languages) >= 100
    assert set(XM3600) <= set(corpus.languages)
    files = [path for path in DATA.rglob("*") if path.is_file()]
    tokenizer = ROOT / "pali" / "embedded" / "spiece.model"
    assert sum(path.stat().st_size for path in [*files, tokenizer]) < 14e6


def test_never_seen_concepts_are_those_with_a_small_hash():
    for concept in corpus.concepts:
        first = hashlib.sha256(concept.code.encode()).digest()[:8]
        small = int.from_bytes(first, "big") / 2**64 < 0.07
        assert (concept.split == "never_seen") == small, concept


def test_splits_share_nothing():
    train = {concept.code for concept in corpus.core_train}
    assert not train & {concept.code for concept in corpus.never_seen}
    for language in corpus.languages:
        assert corpus.held_out(language) <= train
        assert len(corpus.held_out(language)) == 20
    assert UNSEEN_ART not in TRAIN_ART
    assert {*TRAIN_ART, UNSEEN_ART} == set(ALL_ART)


def test_held_out_pairs_are_the_smallest_hashes_of_named_concepts():
    for language in ("sw", "zh", "qu", "om"):
        named = [c.code for c in corpus.core_train if c.code in corpus.names(language)]

        def rank(code, language=language):
            return hashlib.sha256(f"{language}/{code}".encode()).hexdigest()

        held_out = corpus.held_out(language)
        assert max(map(rank, held_out)) < min(map(rank, set(named) - held_out))
    pairs = [corpus.held_out(language) for language in XM3600]
    assert len(frozenset.union(*pairs)) > 250  # other concepts in each language


def test_class_index_is_the_order_of_the_file_and_does_not_change():
    assert list(corpus.class_index) == [concept.code for concept in corpus.core_train]
    lines = (DATA / "concepts.jsonl").read_text(encoding="utf-8").splitlines()
    first = [json.loads(line)["code"] for line in lines[: len(corpus.core_train)]]
    assert first == list(corpus.class_index)
    # Checkpoints depend on it.
    order = hashlib.sha256("\n".join(first).encode()).hexdigest()
    assert order == "170b4d2bd92ad7863499b737c1039230a87e26a525fa4b5178c74ea698c60c97"


def test_core_concepts_are_drawn_by_every_set_and_named_in_xm3600():
    core = [*corpus.core_train, *corpus.never_seen]
    for art in ALL_ART:
        assert {concept.code for concept in core} <= corpus.drawn(art)
    for language in XM3600:
        missing = [c.name for c in core if c.code not in corpus.names(language)]
        assert len(missing) <= 2, (language, missing)
        here = [corpus.names(language)[c.code] for c in core if c.code in corpus.names(language)]
        assert len(set(here)) == len(here), f"two concepts with one name in {language}"


def test_known_names():
    wolf = by_name("wolf")
    assert corpus.concept(wolf).char == "🐺"
    assert corpus.names("zh")[wolf] == "狼"
    assert corpus.names("fi")[wolf] == "susi"
    assert "loup" in corpus.names("fr")[wolf]
    assert corpus.keywords("en")[by_name("pizza")] == [
        "cheese",
        "food",
        "hungry",
        "pepperoni",
        "slice",
    ]


def test_texts_are_clean():
    for language in corpus.languages:
        names, keywords = corpus.names(language), corpus.keywords(language)
        for text in itertools.chain(names.values(), *keywords.values()):
            assert text
            assert text == " ".join(unicodedata.normalize("NFC", text).split())
        for code, words in keywords.items():
            assert len(set(words)) == len(words)
            assert names[code] not in words


def test_names_are_written_in_the_script_of_their_language():
    for language in XM3600:
        names = [corpus.names(language).get(concept.code) for concept in corpus.core_train]
        wrong = [name for name in names if name and not languages.in_script(name, language)]
        assert len(wrong) <= 1, (language, wrong)  # "CD" in Japanese


def test_pictures_that_say_something_are_not_mirrored():
    for name in ("hundred points", "right arrow", "three o’clock", "calendar", "crescent moon"):
        assert not corpus.concept(by_name(name)).mirrors, name
    for name in ("wolf", "pizza", "bicycle"):
        assert corpus.concept(by_name(name)).mirrors, name


def test_every_svg_is_a_square_document_of_its_own():
    for art in ALL_ART:
        for code in sorted(corpus.drawn(art))[::7]:
            svg = corpus.svg(art, code)
            box = re.match(r"<svg [^>]*viewBox=\"(\S+) (\S+) (\S+) (\S+)\"", svg)
            assert box, (art, code)
            assert box[3] == box[4]
            assert not re.search(r"href=\"(?!#|data:)", svg)


def test_sources_and_licences_are_named_where_people_look():
    manifest = json.loads((DATA / "manifest.json").read_text(encoding="utf-8"))
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    card = (ROOT / "docs" / "demo_corpus.md").read_text(encoding="utf-8")
    assert {f"{art}.zip" for art in manifest["art"]} == {p.name for p in (DATA / "art").iterdir()}
    for art, facts in manifest["art"].items():
        entry = notice[notice.index(f"{art}.zip") :]
        entry = entry[: entry.index("\n\n")]
        assert facts["licence"] in entry
        assert facts["url"] in entry
        row = next(line for line in card.splitlines() if line.startswith(f"| `{art}`"))
        assert f"`{facts['package']}` {facts['version']}" in row
        assert facts["licence"] in row
        assert f"{facts['pictures']:,}" in row
        assert facts["pictures"] == len(corpus.drawn(art))
    assert "SPDX-License-Identifier: Unicode-3.0" in notice


def test_data_card_counts_every_language():
    card = (ROOT / "docs" / "demo_corpus.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in card[card.index("## Languages") :].splitlines()]
    counts = {cells[1].strip(): cells for cells in rows if len(cells) == 9}
    core = {concept.code for concept in [*corpus.core_train, *corpus.never_seen]}
    for language in corpus.languages:
        names, words = corpus.names(language), corpus.keywords(language)
        expected = [len(core & set(names)), len(names), sum(map(len, words.values()))]
        assert [int(cell) for cell in counts[language][3:6]] == expected, language


def test_absent_folder_says_where_and_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PALI_DEMO_DATA", str(tmp_path / "nothing"))
    with pytest.raises(FileNotFoundError) as error:
        load_corpus()
    message = str(error.value)
    assert str(tmp_path / "nothing") in message
    assert "PALI_DEMO_DATA" in message
    assert "not of the installed package" in message


def test_another_folder_can_be_named(tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    copy.symlink_to(DATA)
    monkeypatch.setenv("PALI_DEMO_DATA", str(copy))
    assert load_corpus().folder == copy
    monkeypatch.delenv("PALI_DEMO_DATA")
    assert load_corpus().folder == DATA


def test_unknown_values_name_the_nearest():
    with pytest.raises(ValueError, match=r"language 'tlh'.*nearest"):
        corpus.names("tlh")
    with pytest.raises(ValueError, match=r"art set 'twemojis'.*twemoji"):
        corpus.svg("twemojis", by_name("wolf"))
    with pytest.raises(ValueError, match="concept code '1f43z'"):
        corpus.concept("1f43z")
    undrawn = next(c.code for c in corpus.concepts if c.code not in corpus.drawn("fxemoji"))
    with pytest.raises(ValueError, match=r"'fxemoji' has no picture"):
        corpus.svg("fxemoji", undrawn)


def test_corpus_travels_to_workers_as_its_folder():
    assert len(pickle.dumps(corpus)) < 1000
    assert pickle.loads(pickle.dumps(corpus)).core_train == corpus.core_train


def test_concepts_alone_read_no_texts_and_no_art():
    code = (
        "from pali.data.demo_corpus import load_corpus; c = load_corpus(); c.core_train;"
        "print(sorted(vars(c)))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert eval(output.stdout) == ["concepts", "core_train", "folder"]


def test_module_needs_no_heavy_import():
    heavy = ["tensorflow", "seqio", "torch", "transformers", "jax", "resvg_py", "PIL"]
    code = f"import sys, {demo_corpus.__name__}; print([m for m in {heavy} if m in sys.modules])"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert output.stdout.strip() == "[]"
