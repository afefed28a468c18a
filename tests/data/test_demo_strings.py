# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The committed strings, fonts and flags: clean, set by their faces, split by hash, attributed."""

import hashlib
import io
import json
import re
import unicodedata
from pathlib import Path

import pytest
from PIL import ImageFont

from pali import languages
from pali.data.demo_corpus import load_corpus
from pali.data.demo_flags import FLAG_ART, load_flags
from pali.data.demo_strings import KINDS, faces, is_unseen, load_strings
from pali.data.rendering import canonical

ROOT = Path(__file__).parents[2]
DATA = ROOT / "data" / "demo"
strings = load_strings()
flags = load_flags()
manifest = json.loads((DATA / "text_manifest.json").read_text(encoding="utf-8"))


def scripts_of(text: str) -> set[str]:
    return {languages.script_of(c) for c in text if unicodedata.category(c)[0] == "L"} - {"Zyyy"}


def test_nearly_every_language_of_the_corpus_has_strings_in_26_scripts():
    assert set(load_corpus().languages) - set(strings.languages) == {"ba", "quc", "shn"}
    assert {languages.resolve(code) for code in languages.XM3600} <= set(strings.languages)
    found = {
        s for lang in strings.languages for text in strings.texts(lang) for s in scripts_of(text)
    }
    assert len(found) == 26
    assert {"Arab", "Hebr", "Deva", "Thai", "Khmr", "Mymr", "Hang", "Hani", "Kana"} <= found


def test_known_strings():
    assert strings.named("sw", "territory")["KE"] == "Kenya"
    assert strings.named("hi", "day")["0"] == "सोमवार"
    assert strings.named("cs", "month")["1"] == "leden"  # as it stands alone, not "ledna"
    assert strings.named("ru", "language")["en"] == "английский"
    assert set(strings.named("zh", "month")) == {str(month) for month in range(1, 13)}


def test_texts_are_clean_and_in_the_script_of_their_language():
    for lang in strings.languages:
        known = set(languages.LANGUAGES[lang].scripts)
        for text in strings.texts(lang):
            assert text == " ".join(unicodedata.normalize("NFC", text).split())
            assert scripts_of(text), (lang, text)
            assert scripts_of(text) <= known, (lang, text)
            # What nobody sees nobody can read; but joiners choose the shape of letters.
            assert not [
                c for c in text if unicodedata.category(c) == "Cf" and c not in "\u200c\u200d"
            ]


def test_months_and_days_are_of_their_language_and_of_no_other():
    # Gaps that are filled from another locale would make many languages share a month's name.
    owners = {}
    for lang in strings.languages:
        for name in strings.named(lang, "day").values():
            owners.setdefault(name, set()).add(lang)
    assert max(map(len, owners.values())) <= 8
    assert owners["Jumatatu"] == {"sw"}


def test_every_character_is_in_every_face_of_its_language():
    needed = {}
    for lang in strings.languages:
        for face in faces(lang):
            needed.setdefault(face, set()).update(*strings.texts(lang))
    assert set(needed) == set(manifest["fonts"])
    for face, characters in needed.items():
        font = font_of(face)
        # An absent character comes out as the glyph of one that no font has.
        absent = drawn(font, "\uffff")
        assert absent is not None, f"{face} draws nothing for characters it lacks"
        missing = [c for c in characters if drawn(font, c) == absent]
        assert not missing, (face, missing)
        blank = {c for c in characters if drawn(font, c) is None}
        assert blank <= set(" \u200c\u200d"), (face, blank)


def font_of(face: str) -> ImageFont.FreeTypeFont:
    content = io.BytesIO(strings.font(face))
    return ImageFont.truetype(content, 32, layout_engine=ImageFont.Layout.BASIC)


def drawn(font: ImageFont.FreeTypeFont, character: str) -> tuple | None:
    mask = font.getmask(character, mode="L")
    return (mask.size, bytes(mask)) if mask.getbbox() else None


def test_unseen_texts_are_those_with_a_small_hash_in_any_language():
    texts = {text for lang in strings.languages for text in strings.texts(lang)}
    for text in sorted(texts)[::9]:
        first = hashlib.sha256(text.encode()).digest()[:8]
        assert is_unseen(text) == (int.from_bytes(first, "big") / 2**64 < 0.1)
    assert sum(map(is_unseen, texts)) / len(texts) == pytest.approx(0.1, abs=0.005)


def test_flags_are_drawn_by_both_sets_and_named():
    assert len(flags.territories) == 238
    assert set(flags.territories) <= set(strings.named("en", "territory"))
    for art in FLAG_ART:
        pictures = {code: canonical(art, code, 48).tobytes() for code in flags.territories[::5]}
        assert len(set(pictures.values())) == len(pictures)


def test_one_territory_alone_has_a_flag_that_several_fly():
    assert {"FR", "NO", "US", "AU", "GB"} <= set(flags.territories)
    assert not {"RE", "GP", "SJ", "BV", "UM", "HM", "SH"} & set(flags.territories)
    assert manifest["same_flag"] == sorted(manifest["same_flag"])


def test_the_flags_of_flag_icons_are_four_by_three():
    picture = canonical("flag_icons", "UA", 96).min(axis=2) < 250
    rows, columns = picture.any(axis=1).nonzero()[0], picture.any(axis=0).nonzero()[0]
    assert (columns[-1] - columns[0]) / (rows[-1] - rows[0]) == pytest.approx(4 / 3, abs=0.05)


def test_manifest_and_data_card_count_what_is_there():
    card = (ROOT / "docs" / "demo_corpus.md").read_text(encoding="utf-8")
    table = card[card.index("## Strings by script") :]
    rows = [[cell.strip() for cell in line.split("|")] for line in table.splitlines()]
    counted = {cells[1]: cells[2:6] for cells in rows if len(cells) == 8}
    by_script = {}
    for lang, facts in manifest["strings"].items():
        texts = strings.texts(lang)
        assert facts["texts"] == len(texts)
        assert facts["short"] == sum(len(text) <= 12 for text in texts)
        assert facts["unseen"] == sum(map(is_unseen, texts))
        assert facts["faces"] == list(faces(lang))
        by_script.setdefault(facts["scripts"], []).append(facts)
    for script, found in by_script.items():
        sums = [sum(facts[key] for facts in found) for key in ("texts", "short", "unseen")]
        assert [int(c.replace(",", "")) for c in counted[script]] == [len(found), *sums], script


def test_sources_and_licences_are_named_where_people_look():
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    card = (ROOT / "docs" / "demo_corpus.md").read_text(encoding="utf-8")
    for art, facts in manifest["flags"].items():
        assert f"{art}.zip" in notice
        row = next(line for line in card.splitlines() if line.startswith(f"| `{art}`"))
        assert f"`{facts['package']}` {facts['version']}" in row
        assert facts["licence"] in row
        assert facts["pictures"] == len(flags.territories)
    assert f"Babel` {manifest['babel']}" in card
    holders = {
        re.sub(r"[\d,\- ]+", " ", facts["copyright"]) for facts in manifest["fonts"].values()
    }
    assert all("Google" in holder or "Adobe" in holder for holder in holders)
    for text in ("SIL OPEN FONT LICENSE Version 1.1", "Google", "Adobe", "lipis"):
        assert text in notice


def test_sizes_are_what_was_agreed():
    size = {path.name: path.stat().st_size for path in DATA.rglob("*") if path.is_file()}
    assert size["strings.json.xz"] < 1e6
    assert size["fonts.zip"] < 3.5e6
    assert sum(size[f"{art}.zip"] for art in FLAG_ART) < 2e6
    assert sum(size.values()) < 14e6


def test_unknown_names_say_the_nearest():
    with pytest.raises(ValueError, match=r"language of strings 'swa'.*sw"):
        strings.texts("swa")
    with pytest.raises(ValueError, match=r"kind of string 'months'.*month"):
        strings.named("sw", "months")
    with pytest.raises(ValueError, match=r"typeface 'NotoSansThay'.*NotoSansThai"):
        strings.font("NotoSansThay")
    with pytest.raises(ValueError, match=r"set of flags 'flag_icon'.*flag_icons"):
        flags.svg("flag_icon", "DE")
    with pytest.raises(ValueError, match="territory 'XX' in the demo corpus"):
        flags.svg("flag_icons", "XX")
    assert KINDS == ("language", "territory", "month", "day")


def test_strings_and_flags_are_those_of_the_corpus_that_is_asked_for(tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    copy.symlink_to(DATA)
    monkeypatch.setenv("PALI_DEMO_DATA", str(copy))
    assert load_strings().folder == load_flags().folder == copy
    assert load_strings() is not strings
