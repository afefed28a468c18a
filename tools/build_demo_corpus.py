# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Build data/demo from ordinary packages: emoji art of five sets, CLDR names and keywords.

Nothing is downloaded here. Get the packages first, in any folder:

    npm install @iconify-json/noto@1.2.9 @iconify-json/noto-v1@1.2.5 @iconify-json/twemoji@1.2.5 \\
        @iconify-json/fxemoji@1.2.2 @iconify-json/fluent-emoji-flat@1.2.6 \\
        cldr-annotations-full@48.2.0 cldr-annotations-derived-full@48.2.0
    apt-get install unicode-data        # emoji-test.txt: order, groups and subgroups

    python tools/build_demo_corpus.py --packages node_modules

What comes out is described in docs/demo_corpus.md. The output depends on the packages alone: two
runs write the same bytes (fixed zip times, sorted keys), and every split follows from a hash.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
import lzma
import pathlib
import re
import sys
import unicodedata
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple

ART_PACKAGES = {
    "noto": "noto",
    "noto_v1": "noto-v1",
    "twemoji": "twemoji",
    "fxemoji": "fxemoji",
    "fluent": "fluent-emoji-flat",
}
REQUIRED_ART = ("noto", "noto_v1", "twemoji", "fluent")
CORE_GROUPS = (
    "Smileys & Emotion",
    "People & Body",
    "Animals & Nature",
    "Food & Drink",
    "Travel & Places",
    "Activities",
    "Objects",
)
MINIMUM_COVERAGE = 0.9
NEVER_SEEN_SHARE = 0.07
# Greenlandic annotations are Danish text.
WRONG_LANGUAGES = frozenset({"kl"})

# Icons of FxEmoji that bear a matching name and show another thing; found by looking at all.
FXEMOJI_MISMATCHES = frozenset(
    {"desktop computer", "game die", "keyboard", "linked paperclips", "tram car", "star"}
)

# Named concepts that a 72-pixel picture cannot tell from another one of the core.
CORE_LEFT_OUT = {
    "people, faces and marks told apart by small details": """
        smiling face; face with crossed-out eyes; sparkling heart; growing heart; beating heart;
        revolving hearts; heart decoration; dizzy; hole; left speech bubble; right anger bubble;
        boy; girl; man; woman; princess; baby angel; person getting haircut; woman dancing;
        person in suit levitating; person golfing; person taking bath; speaking head; raised fist;
        person lifting weights; person rowing boat; horse racing; nail polish; heart suit""",
    "animals and plants with a twin": """
        ewe; two-hump camel; water buffalo; cow face; rat; white flower; rosette""",
    "buildings and landscapes with a twin": """
        Japanese post office; post office; love hotel; department store; bank; wedding; houses;
        house with garden; camping; foggy; cityscape; cityscape at dusk; sunset;
        sunrise over mountains""",
    "vehicles with a twin": """
        railway car; train; light rail; station; monorail; mountain railway; tram car; oncoming bus;
        trolleybus; minibus; oncoming police car; oncoming taxi; oncoming automobile;
        sport utility vehicle; articulated lorry; horizontal traffic light; suspension railway;
        mountain cableway""",
    "sky and weather with a twin": """
        new moon; waxing crescent moon; waxing gibbous moon; last quarter moon; first quarter moon;
        waning crescent moon; new moon face; first quarter moon face; last quarter moon face;
        full moon face; sun behind large cloud; fog; umbrella; sparkler""",
    "dishes and feasts that look like clutter at this size": "oden; moon viewing ceremony",
    "games, prizes and tools with a twin, or drawn as another thing in older art": """
        admission tickets; military medal; rugby football; water pistol; game die; inbox tray;
        unlocked; locked with pen; old key; clamp; linked paperclips""",
    "office things with a twin": """
        keyboard; desktop computer; trackball; computer disk; dvd; film projector;
        camera with flash; orange book; notebook; ledger; page with curl; incoming envelope;
        black nib; page facing up; e-mail; round pushpin; pager; open file folder;
        card index dividers; spiral notepad; spiral calendar; card index;
        card file box; fax machine; musical note""",
}
# Pictures whose mirror image says something else: writing, and directions by name.
WRITING = """
    hundred points; ZZZ; convenience store; pool 8 ball; calendar; slot machine; musical score;
    musical note; musical notes; joker; hospital; hotel; bank; newspaper; rolled-up newspaper;
    bus stop; ticket; e-mail; spiral calendar; dvd; watch; alarm clock; mantelpiece clock;
    stopwatch; timer clock; world map; Japanese post office; taxi; oncoming taxi; pager;
    map of Japan"""
DIRECTED = re.compile(
    r"\b(left|right|leftwards|rightwards|crescent|quarter|gibbous)\b|clock|thirty"
)


class Emoji(NamedTuple):
    """One line of emoji-test.txt; `code` is without the variation selector."""

    code: str
    char: str
    name: str
    group: str
    subgroup: str


def listed(names: str) -> frozenset[str]:
    """The names in a text that separates them by semicolons."""
    return frozenset(" ".join(name.split()) for name in names.split(";"))


def read_emoji(path: pathlib.Path) -> list[Emoji]:
    """Fully-qualified emoji in CLDR order, without skin tones, ZWJ sequences, keycaps and flags."""
    found, group, subgroup = [], "", ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# group:"):
            group = line.split(":", 1)[1].strip()
        elif line.startswith("# subgroup:"):
            subgroup = line.split(":", 1)[1].strip()
        elif "; fully-qualified" in line:
            points = [int(point, 16) for point in line.split(";")[0].split()]
            if group == "Flags" or any(
                0x1F3FB <= point <= 0x1F3FF or point in (0x200D, 0x20E3) for point in points
            ):
                continue
            code = "-".join(f"{point:x}" for point in points if point != 0xFE0F)
            name = line.split("#", 1)[1].strip().split(" ", 2)[2]
            found.append(Emoji(code, "".join(map(chr, points)), name, group, subgroup))
    return found


def squeeze(name: str) -> str:
    """A name as icon names are compared: ASCII letters and digits only, lower case."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]", "", plain)


def read_art(folder: pathlib.Path, art: str, emoji: list[Emoji]) -> dict[str, str]:
    """{code: svg} of one Iconify package, found by code point, CLDR name or Unicode name."""
    icons = json.loads((folder / "icons.json").read_text(encoding="utf-8"))
    characters = json.loads((folder / "chars.json").read_text(encoding="utf-8"))
    by_code = {
        "-".join(point for point in key.lower().split("-") if point != "fe0f"): name
        for key, name in sorted(characters.items())
    }
    aliases = icons.get("aliases", {})
    by_name = {squeeze(name): name for name in [*icons["icons"], *aliases]}
    found = {}
    for item in emoji:
        unicode_name = unicodedata.name(chr(int(item.code, 16)), "") if "-" not in item.code else ""
        candidates = [by_code.get(item.code), by_name.get(squeeze(item.name))]
        # FxEmoji goes by the Unicode names of its day, and an old name can be another's new one.
        candidates.insert(0 if art == "fxemoji" else 2, by_name.get(squeeze(unicode_name)))
        name = next((candidate for candidate in candidates if candidate), None)
        if name is None or (art == "fxemoji" and item.name in FXEMOJI_MISMATCHES):
            continue
        found[item.code] = to_svg(icons, aliases.get(name, {}).get("parent", name))
    return found


def to_svg(icons: dict[str, Any], name: str) -> str:
    """A whole SVG document of an Iconify icon; the picture is square, the icon in its middle."""
    icon = icons["icons"][name]
    width, height = (icon.get(side, icons.get(side, 16)) for side in ("width", "height"))
    side = max(width, height)
    left = icon.get("left", 0) - (side - width) / 2
    top = icon.get("top", 0) - (side - height) / 2
    box = " ".join(f"{value:g}" for value in (left, top, side, side))
    body = icon["body"]
    link = ' xmlns:xlink="http://www.w3.org/1999/xlink"' if "xlink:" in body else ""
    return f'<svg xmlns="http://www.w3.org/2000/svg"{link} viewBox="{box}">{body}</svg>'


def clean(text: str) -> str:
    """NFC, without surrounding or doubled white space."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def read_annotations(
    packages: pathlib.Path, emoji: list[Emoji]
) -> tuple[dict[str, dict[str, str]], dict[str, dict[str, list[str]]]]:
    """({language: {code: name}}, {language: {code: keywords}}) of languages with 90 % coverage."""
    names: dict[str, dict[str, str]] = {}
    keywords: dict[str, dict[str, list[str]]] = {}
    root = packages / "cldr-annotations-full" / "annotations"
    for language in sorted(path.name for path in root.iterdir()):
        # A tag with a hyphen is a regional or script variant of a base language that is here too.
        if "-" in language or language in WRONG_LANGUAGES:
            continue
        annotations: dict[str, Any] = {}
        for folder, file in (
            ("cldr-annotations-derived-full/annotationsDerived", "annotationsDerived"),
            ("cldr-annotations-full/annotations", "annotations"),
        ):
            path = packages / folder / language / "annotations.json"
            if path.exists():
                body = json.loads(path.read_text(encoding="utf-8"))[file]
                annotations |= body.get("annotations", {})
        names_here, keywords_here = {}, {}
        for item in emoji:
            entry = annotations.get(item.char.replace("\ufe0f", ""), {})
            name = clean((entry.get("tts") or [""])[0])
            if not name:
                continue
            names_here[item.code] = name
            words = dict.fromkeys(clean(word) for word in entry.get("default", []))
            words = [word for word in words if word and word != name]
            if words:
                keywords_here[item.code] = words
        if len(names_here) >= MINIMUM_COVERAGE * len(emoji):
            names[language], keywords[language] = names_here, keywords_here
    return names, keywords


def mirrors(item: Emoji) -> bool:
    """Whether a picture flipped left to right still shows the same thing."""
    writing = item.name in listed(WRITING) or item.group == "Symbols"
    return not (writing or DIRECTED.search(item.name))


def is_never_seen(code: str) -> bool:
    """The split of concepts: a hash of the code, so that no result could have led the choice."""
    fraction = int.from_bytes(hashlib.sha256(code.encode()).digest()[:8], "big") / 2**64
    return fraction < NEVER_SEEN_SHARE


def write_zip(path: pathlib.Path, files: Mapping[str, str | bytes]) -> None:
    """A zip whose bytes depend on what is in it alone."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in sorted(files.items()):
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, content if isinstance(content, bytes) else content.encode())


def write_json_xz(path: pathlib.Path, value: object) -> None:
    """Compact JSON with sorted keys, xz."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    path.write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))


def package_facts(folder: pathlib.Path) -> dict[str, str]:
    """Version and licence as the package itself states them."""
    facts = json.loads((folder / "package.json").read_text(encoding="utf-8"))
    licence = facts.get("license") or facts["licenses"][0]["type"]
    return {"package": facts["name"], "version": facts["version"], "licence": licence}


def build(packages: pathlib.Path, emoji_test: pathlib.Path, output: pathlib.Path) -> None:
    """Read the packages, choose, and write every file of the corpus below `output`."""
    everything = read_emoji(emoji_test)
    icon_folders = {art: packages / "@iconify-json" / name for art, name in ART_PACKAGES.items()}
    art = {name: read_art(folder, name, everything) for name, folder in icon_folders.items()}
    emoji = [item for item in everything if all(item.code in art[name] for name in REQUIRED_ART)]
    names, keywords = read_annotations(packages, emoji)
    emoji = [
        item
        for item in emoji
        if sum(item.code in known for known in names.values()) >= MINIMUM_COVERAGE * len(names)
    ]
    left_out = listed(";".join(CORE_LEFT_OUT.values()))
    unknown = left_out - {item.name for item in emoji}
    if unknown:
        raise SystemExit(f"CORE_LEFT_OUT names no emoji of this Unicode version: {sorted(unknown)}")

    def scope(item: Emoji) -> str:
        drawn = item.group in CORE_GROUPS and item.code in art["fxemoji"]
        clock = re.search("o’clock|thirty", item.name)
        return "core" if drawn and not clock and item.name not in left_out else "extended"

    concepts = [
        item._asdict()
        | {"scope": scope(item), "split": "never_seen" if is_never_seen(item.code) else "train"}
        | {"mirrors": mirrors(item)}
        for item in emoji
    ]
    # The class index is a concept's rank among core/train, so those stand first; CLDR order within.
    concepts.sort(key=lambda concept: (concept["scope"] != "core", concept["split"] != "train"))
    codes = {concept["code"] for concept in concepts}

    (output / "art").mkdir(parents=True, exist_ok=True)
    manifest: dict[str, Any] = {"art": {}, "text": []}
    for name, pictures in art.items():
        pictures = {f"{code}.svg": svg for code, svg in pictures.items() if code in codes}
        write_zip(output / "art" / f"{name}.zip", pictures)
        info = json.loads((icon_folders[name] / "info.json").read_text(encoding="utf-8"))
        manifest["art"][name] = package_facts(icon_folders[name]) | {
            "title": info["name"],
            "author": info["author"]["name"],
            "url": info["author"]["url"],
            "pictures": len(pictures),
        }
    for package in ("cldr-annotations-full", "cldr-annotations-derived-full"):
        manifest["text"].append(package_facts(packages / package))
    manifest["emoji_test"] = next(
        line.split(":")[1].strip()
        for line in emoji_test.read_text(encoding="utf-8").splitlines()
        if line.startswith("# Version:")
    )
    for title, table in (("names", names), ("keywords", keywords)):
        kept = {
            language: {code: value for code, value in entries.items() if code in codes}
            for language, entries in table.items()
        }
        write_json_xz(output / f"{title}.json.xz", kept)
        manifest[title] = {language: len(entries) for language, entries in kept.items()}
    lines = [json.dumps(concept, ensure_ascii=False) for concept in concepts]
    (output / "concepts.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    text = json.dumps(manifest, ensure_ascii=False, indent=1, sort_keys=True)
    (output / "manifest.json").write_text(text + "\n", encoding="utf-8")

    counts = collections.Counter((concept["scope"], concept["split"]) for concept in concepts)
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    sys.stdout.write(f"{dict(counts)}, {len(names)} languages, {size / 1e6:.2f} MB in {output}\n")


def main() -> None:
    """Parse the command line and build."""
    parser = argparse.ArgumentParser(description="Build the demo corpus.")
    parser.add_argument("--packages", type=pathlib.Path, required=True, help="node_modules")
    parser.add_argument(
        "--emoji-test",
        type=pathlib.Path,
        default=pathlib.Path("/usr/share/unicode/emoji/emoji-test.txt"),
    )
    checkout = pathlib.Path(__file__).resolve().parent.parent
    parser.add_argument("--output", type=pathlib.Path, default=checkout / "data" / "demo")
    arguments = parser.parse_args()
    build(arguments.packages, arguments.emoji_test, arguments.output)


if __name__ == "__main__":
    main()
