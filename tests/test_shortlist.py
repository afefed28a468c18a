# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Vocabulary shortlists: what is in them, what they lose, their file, and `pali data shortlist`."""

import json
import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pali import shortlist
from pali.checkpoints import pretrained
from pali.cli import main
from pali.data import shortlist_texts
from pali.languages import in_script, script_of
from pali.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    """The embedded model's, which has pieces of many scripts."""
    return Tokenizer(pretrained.EMBEDDED / pretrained.TOKENIZER)


@pytest.fixture(scope="module")
def embedded(tokenizer):
    return shortlist.beside(pretrained.EMBEDDED / pretrained.TOKENIZER, tokenizer)


@given(st.lists(st.text(max_size=20), min_size=1, max_size=5))
def test_nothing_is_lost_of_what_a_list_is_made_from(tokenizer, texts):
    mask = shortlist.derive(tokenizer, {"en": texts}).mask("en")
    assert shortlist.lost(tokenizer, mask, texts)[2:] == (0, 0)


def test_every_list_has_specials_bytes_digits_and_punctuation(tokenizer):
    mask = shortlist.derive(tokenizer, {"th": []}).mask("th")
    assert mask[:3].all()
    assert mask[[tokenizer.sentinel(0), tokenizer.sentinel(99)]].all()
    # Whatever is not in a list can be spelled in bytes: this has no pieces at all.
    rare = tokenizer.encode("𐎀")
    assert sum(tokenizer.unspelled(rare)) >= 4
    assert mask[rare[1:]].all()
    for text in ("0 1 2 3 4 5 6 7 8 9", ". , ! ? - ( ) % +"):
        assert mask[tokenizer.encode(text)].all(), text
    assert not mask[tokenizer.encode("แมว")].any()
    assert mask.sum() < 600


def test_what_is_lost_is_counted_by_tokens_and_texts(tokenizer):
    mask = shortlist.derive(tokenizer, {"en": ["cat"]}).mask("en")
    found = shortlist.lost(tokenizer, mask, ["cat", "cat 7", "แมว cat"])
    outside = [token for token in tokenizer.encode("แมว cat") if not mask[token]]
    assert (found.texts, found.texts_outside) == (3, 1)
    assert found.tokens_outside == len(outside) > 0
    assert found.tokens == sum(map(len, tokenizer.encode_batch(["cat", "cat 7", "แมว cat"])))


def test_a_file_says_again_what_was_written(tokenizer, tmp_path):
    made = shortlist.derive(tokenizer, {"sw": ["mbwa"], "th": ["แมว"]})
    made = shortlist.Shortlists(made.masks, made.tokenizer, {"note": "é"})
    made.write(tmp_path / "some.npz")
    found = shortlist.read(tmp_path / "some.npz")
    found.check(tokenizer)
    assert (list(found.masks), found.about) == (["sw", "th"], {"note": "é"})
    for name, mask in made.masks.items():
        np.testing.assert_array_equal(found.masks[name], mask)


def test_a_file_that_is_none_is_refused(tokenizer, tiny_tokenizer, tmp_path):
    path = tmp_path / "some.npz"
    shortlist.derive(tokenizer, {"sw": ["mbwa"]}).write(path)
    whole = path.read_bytes()
    for content in (b"", b"words", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="some.npz holds no shortlists"):
            shortlist.read(path)
    np.savez(path, other=np.zeros(2))
    with pytest.raises(ValueError, match="some.npz holds no shortlists"):
        shortlist.read(path)
    path.write_bytes(whole)
    with pytest.raises(ValueError, match="made for another tokenizer"):
        shortlist.read(path).check(Tokenizer(tiny_tokenizer))


def test_a_language_has_its_own_list_or_that_of_its_scripts(tokenizer):
    lists = shortlist.derive(tokenizer, {"Latn": ["cat"], "sw": ["mbwa"]})
    assert lists.mask("sw") is lists.masks["sw"]
    assert lists.mask("de") is lists.masks["Latn"]
    with pytest.raises(ValueError, match=r"none for Thai \(th\), but for Latn, sw"):
        lists.mask("th")


@pytest.mark.parametrize("lang", ["hi", "th", "ja", "sw", "sr"])
def test_the_pieces_of_a_script_have_no_letters_of_others(tokenizer, embedded, lang):
    mask = shortlist.of_script(tokenizer, lang)
    ids = np.flatnonzero(mask).tolist()
    pieces = [tokenizer.piece(token) for token in ids if not tokenizer.is_special(token)]
    letters = {c for piece in pieces for c in piece if unicodedata.category(c)[0] == "L"}
    assert len(letters) > 20
    assert [c for c in letters if script_of(c) != "Zyyy" and not in_script(c, lang)] == []
    # Nothing that the language needs is missing, but words of others in its texts.
    listed = embedded.mask(lang)
    assert (listed & mask).sum() > 0.5 * listed.sum()


def test_the_embedded_model_has_a_list_for_each_of_its_languages(tokenizer, embedded, tmp_path):
    """The committed file is what the command makes of the demo corpus."""
    output = tmp_path / shortlist.FILE
    assert main(["data", "shortlist", "--demo", "--output", str(output)]) == 0
    assert output.read_bytes() == (pretrained.EMBEDDED / shortlist.FILE).read_bytes()
    languages = json.loads((pretrained.EMBEDDED / pretrained.CONFIG).read_text())["languages"]
    assert set(languages) <= set(embedded.masks)
    losses = embedded.about["held_out"]
    assert set(losses) == set(embedded.masks)
    assert all(loss["tokens_outside"] < 0.05 * loss["tokens"] for loss in losses.values())


def test_texts_held_out_of_the_demo_corpus_are_not_in_its_lists():
    kept, held_out = shortlist_texts.demo_texts()
    assert "skull" in kept["en"]
    for lang in ("en", "th"):
        assert len(held_out[lang]) > 100
        assert not set(kept[lang]) & set(held_out[lang])


@pytest.fixture
def files(tmp_path):
    """Rows of two languages in two spellings, and a held-out file."""
    words = ["mbwa", "paka", "nyumba", "gari", "mti", "ndege", "samaki", "kitabu"]
    rows = [{"lang": "Swahili", "caption": f"{a} na {b}"} for a in words for b in words]
    rows += [{"lang": "en", "text": "a dog"}]
    lines = "\n".join(json.dumps(row) for row in rows)
    (tmp_path / "rows.jsonl").write_text(f"{lines}\n\n", encoding="utf-8")
    held = {"lang": "sw", "caption": "mbwa quux"}, {"lang": "fr", "caption": "le chien"}
    (tmp_path / "held.jsonl").write_text("\n".join(map(json.dumps, held)), encoding="utf-8")
    return tmp_path


def test_the_command_measures_with_texts_that_it_did_not_read(files, capsys):
    output = files / "some.npz"
    words = ["data", "shortlist", str(files / "rows.jsonl"), "--output", str(output)]
    assert main(words) == 0
    lists = shortlist.read(output)
    kept, held = shortlist_texts.parted(shortlist_texts.read_texts(str(files / "rows.jsonl")))
    assert 0 < len(held["sw"]) < len(kept["sw"])
    assert lists.about["held_out"]["sw"]["texts"] == len(held["sw"])
    assert re.search(
        rf"^sw +{lists.masks['sw'].sum():,} +{len(held['sw'])} ", capsys.readouterr().out, re.M
    )
    held_out = ["--held-out", str(files / "held.jsonl"), "--overwrite", "--by", "script"]
    assert main([*words, *held_out]) == 0
    lists = shortlist.read(output)
    assert list(lists.masks) == ["Latn"]
    assert lists.about["held_out"]["Latn"]["texts"] == 2
    assert main([*words, *held_out[:3]]) == 0
    assert "held-out texts of fr have no list" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "give files of texts, or --demo, and not both"),
        (["rows.jsonl", "--demo"], "give files of texts, or --demo, and not both"),
        (["--demo", "--held-out", "held.jsonl"], "--demo has held-out texts of its own"),
        (["none.jsonl"], "No such file"),
        (["bad.jsonl"], "bad.jsonl, line 2 is no JSON"),
        (["odd.jsonl"], 'odd.jsonl, line 1 lacks "lang", or one of caption and text'),
        (["tongue.jsonl"], "tongue.jsonl, line 1: "),
        (["empty.jsonl"], "empty.jsonl has no rows"),
        (["rows.jsonl", "--output", "rows.jsonl", "--overwrite"], "is one of the pictures"),
        (["rows.jsonl", "--model", "nowhere"], "nowhere"),
    ],
)
def test_texts_that_cannot_be_used_are_refused(files, monkeypatch, capsys, words, says):
    monkeypatch.chdir(files)
    (files / "bad.jsonl").write_text('{"lang": "en", "text": "a"}\n{\n')
    (files / "odd.jsonl").write_text('{"lang": "en"}\n')
    (files / "tongue.jsonl").write_text('{"lang": "Klingon", "text": "a"}\n')
    (files / "empty.jsonl").write_text("\n")
    output = [] if "--output" in words else ["--output", "some.npz"]
    assert main(["data", "shortlist", *words, *output]) == 2
    assert says in capsys.readouterr().err
    assert not (files / "some.npz").exists()
