# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Build the strings, fonts and flags of data/demo from ordinary packages.

Nothing is downloaded here. Get the packages first, in any folder:

    pip install Babel==2.18.0 fonttools==4.68.0 'open-pali[train]'
    npm install flag-icons@7.5.0 @iconify-json/twemoji@1.2.5
    apt-get download fonts-noto-core=20201225-1 fonts-noto-cjk=1:20220127+repack1-1
    for package in fonts-noto-*.deb; do dpkg -x $package fonts; done

    python tools/build_demo_text.py --packages node_modules --fonts fonts

What comes out is described in docs/demo_corpus.md; which faces a language has is told by
pali/data/demo_strings.py. The output depends on the packages alone: two runs write the same bytes.
"""

from __future__ import annotations

import argparse
import io
import json
import pathlib
import sys
import unicodedata
from typing import Any

import babel
import numpy as np
import resvg_py
from babel import localedata
from build_demo_corpus import clean, package_facts, to_svg, write_json_xz, write_zip
from fontTools import subset
from fontTools.ttLib import TTFont
from PIL import Image

from pali.data.demo_corpus import load_corpus
from pali.data.demo_flags import FLAG_ART, TRAIN_FLAGS, UNSEEN_FLAGS
from pali.data.demo_strings import KINDS, faces, is_unseen
from pali.languages import LANGUAGES, script_of

MINIMUM_STRINGS = 12
# Characters that nobody sees are left out of texts, but for the two that choose a letter's shape.
JOINERS = "\u200c\u200d"
SHORT = 12  # characters; of the counts in the manifest

CJK_FACES = ("jp", "kr", "sc", "tc", "hk")  # in the order of Debian's collections

FLAG_SIDE = 96  # pixels at which flags are compared
SAME_FLAG = 3.5  # mean difference of 255 up to which two flags are the same
# Of territories with the same flag, the state whose flag it is stays.
FLAG_OWNERS = frozenset({"AU", "FR", "GB", "ID", "IO", "NL", "NO", "US"})


def is_of_language(text: str, language: str) -> bool:
    """Whether a text has letters, and all of them are of the language's script or of none."""
    letters = [c for c in text if unicodedata.category(c)[0] == "L"]
    scripts = {script_of(letter) for letter in letters} - {"Zyyy"}
    return bool(letters) and scripts <= set(LANGUAGES[language].scripts)


def visible(text: str) -> str:
    """The text without format characters, but for joiners; NFC, single spaces."""
    return clean("".join(c for c in text if unicodedata.category(c) != "Cf" or c in JOINERS))


def read_strings(language: str) -> dict[str, dict[str, str]]:
    """{kind: {key: text}} of a language's own CLDR data, in its script."""
    # Not babel.Locale: it fills gaps from other locales, of months and days even from wrong ones.
    data = localedata.load(language, merge_inherited=False) if localedata.exists(language) else {}
    found = {"language": data.get("languages", {}), "territory": data.get("territories", {})}
    for kind, table in (("month", "months"), ("day", "days")):
        forms = [data.get(table, {}).get(form) for form in ("stand-alone", "format")]
        wide = [form.get("wide") for form in forms if isinstance(form, dict)]
        found[kind] = next((names for names in wide if isinstance(names, dict) and names), {})
    return {
        kind: {
            str(key): text
            for key, text in ((key, visible(name)) for key, name in found[kind].items())
            if is_of_language(text, language)
        }
        for kind in KINDS
    }


def open_face(fonts: pathlib.Path, face: str) -> TTFont:
    """The whole font of a face, regular."""
    name, cjk, region = face.partition("CJK")
    file = f"{name}{cjk}-Regular.{'ttc' if cjk else 'ttf'}"
    (path,) = fonts.rglob(file)
    return TTFont(
        path, fontNumber=CJK_FACES.index(region) if cjk else -1, recalcTimestamp=False, lazy=True
    )


def reduced(font: TTFont, characters: set[str]) -> bytes:
    """The font with these characters and everything that shapes them, without hints for screens."""
    options = subset.Options()
    options.layout_features = ["*"]
    options.hinting = False
    options.glyph_names = False
    options.notdef_outline = True
    options.name_IDs = [0, 1, 2, 5, 13, 14]  # copyright, family, style, version, licence
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=[ord(character) for character in characters])
    subsetter.subset(font)
    content = io.BytesIO()
    font.save(content)
    return content.getvalue()


def build_strings(fonts: pathlib.Path, output: pathlib.Path) -> dict[str, Any]:
    """Write strings.json.xz and fonts.zip; returns what the manifest says of them."""
    strings = {language: read_strings(language) for language in load_corpus().languages}
    opened = {face: open_face(fonts, face) for lang in strings for face in faces(lang)}
    known = {face: set(map(chr, font.getBestCmap())) for face, font in opened.items()}
    for language, kinds in strings.items():
        covered = set.intersection(*(known[face] for face in faces(language)))
        for kind, texts in kinds.items():
            kinds[kind] = {key: text for key, text in texts.items() if set(text) <= covered}
    strings = {
        language: kinds
        for language, kinds in strings.items()
        if sum(map(len, kinds.values())) >= MINIMUM_STRINGS
    }
    characters: dict[str, set[str]] = {}
    manifest: dict[str, Any] = {"strings": {}, "fonts": {}, "babel": babel.__version__}
    for language, kinds in strings.items():
        texts = {text for kind in kinds.values() for text in kind.values()}
        for face in faces(language):
            characters.setdefault(face, {" "}).update(*texts)
        manifest["strings"][language] = {
            "scripts": "+".join(LANGUAGES[language].scripts),
            "texts": len(texts),
            "short": sum(len(text) <= SHORT for text in texts),
            "unseen": sum(map(is_unseen, texts)),
            "faces": list(faces(language)),
        }
    write_json_xz(output / "strings.json.xz", strings)
    files = {}
    for face in sorted(characters):
        names = opened[face]["name"]
        manifest["fonts"][face] = {
            "version": names.getDebugName(5).split(";")[0].removeprefix("Version "),
            "copyright": names.getDebugName(0),
            "characters": len(characters[face]),
        }
        files[face] = reduced(opened[face], characters[face])
    write_zip(output / "fonts.zip", files)
    return manifest


def square(svg: str) -> str:
    """A flag of 4 by 3 as a square document, transparent above and below, cut at its edges."""
    inner = svg.replace("<svg ", '<svg y="80" width="640" height="480" ', 1)
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 640">{inner}</svg>'


def read_flag_icons(package: pathlib.Path) -> dict[str, str]:
    """{territory: svg} of flag-icons, those with two letters."""
    files = sorted((package / "flags" / "4x3").glob("??.svg"))
    return {file.stem.upper(): square(file.read_text(encoding="utf-8")) for file in files}


def read_twemoji(package: pathlib.Path) -> dict[str, str]:
    """{territory: svg} of Twemoji: pairs of regional indicators."""
    icons = json.loads((package / "icons.json").read_text(encoding="utf-8"))
    characters = json.loads((package / "chars.json").read_text(encoding="utf-8"))
    found = {}
    for points, name in sorted(characters.items()):
        letters = [int(point, 16) - 0x1F1E6 for point in points.split("-")]
        if len(letters) == 2 and all(0 <= letter < 26 for letter in letters):
            code = "".join(chr(ord("A") + letter) for letter in letters)
            parent = icons.get("aliases", {}).get(name, {}).get("parent", name)
            found[code] = to_svg(icons, parent)
    return found


def pixels(svg: str) -> np.ndarray:
    """A flag on white."""
    png = resvg_py.svg_to_bytes(svg_string=svg, width=FLAG_SIDE, height=FLAG_SIDE)
    image = Image.open(io.BytesIO(bytes(png))).convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(white, image).convert("RGB"), np.float32)


def twins(flags: dict[str, str]) -> set[str]:
    """Territories whose flag is drawn like another's, but for the owners."""
    codes = sorted(flags)
    drawn = np.stack([pixels(flags[code]) for code in codes])
    found = set()
    for place, code in enumerate(codes):
        difference = np.abs(drawn - drawn[place]).mean(axis=(1, 2, 3))
        if code not in FLAG_OWNERS and (difference <= SAME_FLAG).sum() > 1:
            found.add(code)
    return found


def build_flags(packages: pathlib.Path, output: pathlib.Path) -> dict[str, Any]:
    """Write flags/*.zip; returns what the manifest says of them."""
    folders = {
        TRAIN_FLAGS: packages / "flag-icons",
        UNSEEN_FLAGS: packages / "@iconify-json" / "twemoji",
    }
    flags = {
        TRAIN_FLAGS: read_flag_icons(folders[TRAIN_FLAGS]),
        UNSEEN_FLAGS: read_twemoji(folders[UNSEEN_FLAGS]),
    }
    named = read_strings("en")["territory"]
    codes = set(named) & set.intersection(*(set(flags[art]) for art in FLAG_ART))
    flags = {art: {code: flags[art][code] for code in codes} for art in FLAG_ART}
    same = set.union(*(twins(flags[art]) for art in FLAG_ART))
    (output / "flags").mkdir(parents=True, exist_ok=True)
    for art in FLAG_ART:
        kept = {f"{code}.svg": svg for code, svg in flags[art].items() if code not in same}
        write_zip(output / "flags" / f"{art}.zip", kept)
    return {
        "flags": {
            art: package_facts(folders[art]) | {"pictures": len(codes - same)} for art in FLAG_ART
        },
        "same_flag": sorted(same),
    }


def main() -> None:
    """Parse the command line and build."""
    parser = argparse.ArgumentParser(description="Build strings, fonts and flags.")
    parser.add_argument("--packages", type=pathlib.Path, required=True, help="node_modules")
    parser.add_argument(
        "--fonts", type=pathlib.Path, default=pathlib.Path("/usr/share/fonts"), help="Noto fonts"
    )
    checkout = pathlib.Path(__file__).resolve().parent.parent
    parser.add_argument("--output", type=pathlib.Path, default=checkout / "data" / "demo")
    arguments = parser.parse_args()
    output = arguments.output
    manifest = build_flags(arguments.packages, output) | build_strings(arguments.fonts, output)
    text = json.dumps(manifest, ensure_ascii=False, indent=1, sort_keys=True)
    (output / "text_manifest.json").write_text(text + "\n", encoding="utf-8")
    counts = [facts["texts"] for facts in manifest["strings"].values()]
    sys.stdout.write(
        f"{sum(counts)} texts in {len(counts)} languages, {len(manifest['fonts'])} faces, "
        f"{manifest['flags'][TRAIN_FLAGS]['pictures']} flags in {output}\n"
    )


if __name__ == "__main__":
    main()
