# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Languages: codes, names, scripts, and the lists that papers publish.

One code stands for one language everywhere in pali: the shortest code of CLDR, which is ISO 639-1
where that has one (`he`, `fil`, `no`, `qu`). Other codes in use for the same language (`iw`, `tl`,
`nb`, `quz`) are understood wherever a person or a file gives one, and `published_code` gives the
spelling of a list back.

English names and endonyms are CLDR 48's, with a few in more usual words; scripts are ISO 15924.
"""

from __future__ import annotations

import difflib
import functools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Language:
    """A language, its names, and the scripts that texts in it are written in."""

    code: str
    name: str
    """In English."""
    endonym: str
    """In itself."""
    scripts: tuple[str, ...]
    """ISO 15924; "Hani" is any Han, "Kana" both hiragana and katakana."""


# The lists below are spelled as published.

_MC4_101 = (
    "af am ar az be bg bn ca ceb co cs cy da de el en eo es et eu fa fi fil fr fy ga gd gl gu ha "
    "haw hi hmn ht hu hy id ig is it iw ja jv ka kk km kn ko ku ky la lb lo lt lv mg mi mk ml mn "
    "mr ms mt my ne nl no ny pa pl ps pt ro ru sd si sk sl sm sn so sq sr st su sv sw ta te tg th "
    "tr uk ur uz vi xh yi yo zh zu"
)
MC4_101 = tuple(_MC4_101.split())
"""What mT5 was trained on (arXiv 2010.11934; TFDS `c4/multilingual`, without its romanised six)."""

_XM3600 = (
    "ar bn cs da de el en es fa fi fil fr he hi hr hu id it ja ko mi nl no pl pt quz ro ru sv sw "
    "te th tr uk vi zh"
)
XM3600 = tuple(_XM3600.split())
"""Crossmodal-3600 (arXiv 2205.12522): 36 languages of human captions."""

COCO_35L = tuple(code for code in XM3600 if code != "quz")
"""COCO-35L and CC3M-35L (machine-translated captions): the same without Quechua."""

XGQA = ("bn", "de", "en", "id", "ko", "pt", "ru", "zh")
"""xGQA (arXiv 2109.06082): questions in 8 languages, answers in English."""

MAXM = ("en", "fr", "hi", "iw", "ro", "th", "zh")
"""MaXM v1 (arXiv 2209.05401): questions and answers in 7 languages."""

_DEMO = (
    "af ak am ar as az ba be bg bn bs ca chr cs cv cy da de dsb el en es et eu fa fi fil fo fr "
    "ga gd gl gu ha he hi hr hsb hu hy id ig is it ja jv ka kk km kn ko kok ky lb lo lt lv mi "
    "mk ml mn mr ms mt my ne nl no nso om or pa pcm pl ps pt qu quc rm ro ru rw sd shn si sk sl "
    "so sq sr sv sw ta te tg th ti tk tn to tr ug uk ur uz vi wo xh yo yue zh zu "
)
DEMO = tuple(_DEMO.split())
"""Languages in which the demo corpus has names of things: CLDR's annotations."""

GROUPS = {
    "xm3600": XM3600,
    "coco-35l": COCO_35L,
    "xgqa": XGQA,
    "maxm": MAXM,
    "mc4": MC4_101,
    "demo": DEMO,
}
"""Lists that can be asked for by name, beside "all"."""

_ALIASES = {
    **{"iw": "he", "tl": "fil", "nb": "no", "nn": "no", "quz": "qu", "in": "id", "jw": "jv"},
    **{"ji": "yi", "cmn": "zh", "zh-hans": "zh", "mo": "ro", "sh": "sr", "arz": "ar", "pes": "fa"},
    **{"swh": "sw", "zsm": "ms", "gom": "kok", "kmr": "ku", "khk": "mn", "ory": "or", "lvs": "lv"},
    **{"bangla": "bn", "farsi": "fa", "tagalog": "fil", "mandarin": "zh", "myanmar": "my"},
    **{"castilian": "es", "flemish": "nl", "moldovan": "ro", "kirghiz": "ky", "maori": "mi"},
    **{"chichewa": "ny", "oriya": "or", "bokmål": "no", "nynorsk": "no", "gaelic": "gd"},
    **{"frisian": "fy", "sepedi": "nso", "setswana": "tn", "haitian": "ht", "sesotho": "st"},
}

_TABLE = """
af|Afrikaans|Afrikaans|Latn
ak|Akan|Akan|Latn
am|Amharic|አማርኛ|Ethi
ar|Arabic|العربية|Arab
as|Assamese|অসমীয়া|Beng
az|Azerbaijani|azərbaycan|Latn
ba|Bashkir|башҡорт теле|Cyrl
be|Belarusian|беларуская|Cyrl
bg|Bulgarian|български|Cyrl
bn|Bengali|বাংলা|Beng
bs|Bosnian|bosanski|Latn
ca|Catalan|català|Latn
ceb|Cebuano|Cebuano|Latn
chr|Cherokee|ᏣᎳᎩ|Cher
co|Corsican|corsu|Latn
cs|Czech|čeština|Latn
cv|Chuvash|чӑваш|Cyrl
cy|Welsh|Cymraeg|Latn
da|Danish|dansk|Latn
de|German|Deutsch|Latn
dsb|Lower Sorbian|dolnoserbšćina|Latn
el|Greek|Ελληνικά|Grek
en|English|English|Latn
eo|Esperanto|Esperanto|Latn
es|Spanish|español|Latn
et|Estonian|eesti|Latn
eu|Basque|euskara|Latn
fa|Persian|فارسی|Arab
fi|Finnish|suomi|Latn
fil|Filipino|Filipino|Latn
fo|Faroese|føroyskt|Latn
fr|French|français|Latn
fy|Western Frisian|Frysk|Latn
ga|Irish|Gaeilge|Latn
gd|Scottish Gaelic|Gàidhlig|Latn
gl|Galician|galego|Latn
gu|Gujarati|ગુજરાતી|Gujr
ha|Hausa|Hausa|Latn
haw|Hawaiian|ʻŌlelo Hawaiʻi|Latn
he|Hebrew|עברית|Hebr
hi|Hindi|हिन्दी|Deva
hmn|Hmong|Hmoob|Latn
hr|Croatian|hrvatski|Latn
hsb|Upper Sorbian|hornjoserbšćina|Latn
ht|Haitian Creole|Kreyòl Ayisyen|Latn
hu|Hungarian|magyar|Latn
hy|Armenian|հայերեն|Armn
id|Indonesian|Bahasa Indonesia|Latn
ig|Igbo|Igbo|Latn
is|Icelandic|íslenska|Latn
it|Italian|italiano|Latn
ja|Japanese|日本語|Hani+Kana
jv|Javanese|Basa Jawa|Latn
ka|Georgian|ქართული|Geor
kk|Kazakh|қазақ тілі|Cyrl
km|Khmer|ខ្មែរ|Khmr
kn|Kannada|ಕನ್ನಡ|Knda
ko|Korean|한국어|Hang+Hani
kok|Konkani|कोंकणी|Deva
ku|Kurdish|kurdî|Latn
ky|Kyrgyz|кыргызча|Cyrl
la|Latin|Latina|Latn
lb|Luxembourgish|Lëtzebuergesch|Latn
lo|Lao|ລາວ|Laoo
lt|Lithuanian|lietuvių|Latn
lv|Latvian|latviešu|Latn
mg|Malagasy|Malagasy|Latn
mi|Māori|te reo Māori|Latn
mk|Macedonian|македонски|Cyrl
ml|Malayalam|മലയാളം|Mlym
mn|Mongolian|монгол|Cyrl
mr|Marathi|मराठी|Deva
ms|Malay|Bahasa Melayu|Latn
mt|Maltese|Malti|Latn
my|Burmese|မြန်မာ|Mymr
ne|Nepali|नेपाली|Deva
nl|Dutch|Nederlands|Latn
no|Norwegian|norsk|Latn
nso|Northern Sotho|Sesotho sa Leboa|Latn
ny|Nyanja|Chichewa|Latn
om|Oromo|Oromoo|Latn
or|Odia|ଓଡ଼ିଆ|Orya
pa|Punjabi|ਪੰਜਾਬੀ|Guru
pcm|Nigerian Pidgin|Naijíriá Píjin|Latn
pl|Polish|polski|Latn
ps|Pashto|پښتو|Arab
pt|Portuguese|português|Latn
qu|Quechua|Runasimi|Latn
quc|Kʼicheʼ|Kʼicheʼ|Latn
rm|Romansh|rumantsch|Latn
ro|Romanian|română|Latn
ru|Russian|русский|Cyrl
rw|Kinyarwanda|Ikinyarwanda|Latn
sd|Sindhi|سنڌي|Arab
shn|Shan|တႆး|Mymr
si|Sinhala|සිංහල|Sinh
sk|Slovak|slovenčina|Latn
sl|Slovenian|slovenščina|Latn
sm|Samoan|Gagana Sāmoa|Latn
sn|Shona|chiShona|Latn
so|Somali|Soomaali|Latn
sq|Albanian|shqip|Latn
sr|Serbian|српски|Cyrl+Latn
st|Southern Sotho|Sesotho|Latn
su|Sundanese|Basa Sunda|Latn
sv|Swedish|svenska|Latn
sw|Swahili|Kiswahili|Latn
ta|Tamil|தமிழ்|Taml
te|Telugu|తెలుగు|Telu
tg|Tajik|тоҷикӣ|Cyrl
th|Thai|ไทย|Thai
ti|Tigrinya|ትግርኛ|Ethi
tk|Turkmen|türkmen dili|Latn
tn|Tswana|Setswana|Latn
to|Tongan|lea fakatonga|Latn
tr|Turkish|Türkçe|Latn
ug|Uyghur|ئۇيغۇرچە|Arab
uk|Ukrainian|українська|Cyrl
ur|Urdu|اردو|Arab
uz|Uzbek|o‘zbek|Latn+Cyrl
vi|Vietnamese|Tiếng Việt|Latn
wo|Wolof|Wolof|Latn
xh|Xhosa|IsiXhosa|Latn
yi|Yiddish|ייִדיש|Hebr
yo|Yoruba|Èdè Yorùbá|Latn
yue|Cantonese|粵語|Hani
zh|Chinese|中文|Hani
zu|Zulu|isiZulu|Latn
"""

LANGUAGES: dict[str, Language] = {
    code: Language(code, name, endonym, tuple(scripts.split("+")))
    for code, name, endonym, scripts in (line.split("|") for line in _TABLE.split("\n") if line)
}
"""Every language pali has a name for, by code."""


def resolve(text: str, known: Iterable[str] | None = None) -> str:
    """The code of the language that `text` means.

    Args:
      text: a code, ours or another in use, with or without a region ("sw", "SW", "iw", "pt-BR"),
        or a name, English or the language's own ("Swahili", "Kiswahili").
      known: the codes that would do, such as the languages of a model; all by default.

    Raises:
      ValueError: no such language, or not among the known ones; the message names near ones.
    """
    if not isinstance(text, str):
        raise ValueError(f"a language is given as text, a code or a name, not as {text!r}")
    code = _find(text)
    choices = list(LANGUAGES) if known is None else list(known)
    if code in choices:
        return code
    if code is None:
        raise ValueError(f"unknown language {text[:60]!r}{_near(text[:60], choices)}")
    raise ValueError(f"{_title(code)} is not among the languages here: {', '.join(choices)}")


def resolve_many(spec: str | Iterable[str], known: Iterable[str] | None = None) -> list[str]:
    """The codes that a list of languages means, each once, in the order given.

    Args:
      spec: languages as `resolve` takes them, or names of lists (`GROUPS`, "all"), in one string
        with commas or as strings.
      known: the codes that would do. "all" is all of these; of a published list those that are
        known are taken; a language asked for by itself must be known.

    Raises:
      ValueError: a language is unknown (all of them are named), or none is left.
    """
    items = spec.split(",") if isinstance(spec, str) else list(spec)
    choices = list(LANGUAGES) if known is None else list(known)
    codes: dict[str, None] = {}
    errors = []
    for item in items:
        item = item.strip() if isinstance(item, str) else item
        group = str(item).lower().replace("_", "-")
        if group == "all":
            codes.update(dict.fromkeys(choices))
        elif group in GROUPS:
            members = (resolve(code) for code in GROUPS[group])
            codes.update(dict.fromkeys(code for code in members if code in choices))
        elif item:
            try:
                codes[resolve(item, choices)] = None
            except ValueError as error:
                errors.append(str(error))
    if errors:
        raise ValueError("; ".join(errors))
    if not codes:
        raise ValueError(
            f"{spec!r} names no language; give codes or names with commas, "
            f"or one of: all, {', '.join(GROUPS)}"
        )
    return list(codes)


def published_code(code: str, published: Sequence[str]) -> str:
    """How a published list spells one of our codes: `published_code("he", MAXM) == "iw"`.

    Raises:
      ValueError: the list does not have the language.
    """
    for spelling in published:
        if resolve(spelling) == code:
            return spelling
    raise ValueError(f"{_title(code)} is not in the list {', '.join(published)}")


def in_script(text: str, lang: str) -> bool:
    """Whether a text is written in the script of a language.

    The rule: more than half of the letters (Unicode category L*) belong to one of the language's
    scripts. So a brand name in Latin letters inside a Thai sentence does no harm, digits, marks and
    punctuation do not count, and a text without any letter is in no script.

    Args:
      text: any text.
      lang: a code of `LANGUAGES`.
    """
    scripts = LANGUAGES[resolve(lang)].scripts
    found = [script_of(letter) for letter in text if unicodedata.category(letter)[0] == "L"]
    return 2 * sum(script in scripts for script in found) > len(found)


UNSPACED = frozenset({"Hani", "Kana", "Khmr", "Laoo", "Mymr", "Thai"})
"""Scripts whose words have no spaces between them."""


@functools.lru_cache(maxsize=4096)
def script_of(letter: str) -> str:
    """ISO 15924 code of one letter, "Zyyy" for letters of all scripts (as ʻ) and of others.

    Unicode begins the name of a letter with its script, but for a few that `_SCRIPTS` names.
    """
    words = unicodedata.name(letter, "").removeprefix("HALFWIDTH ").removeprefix("FULLWIDTH ")
    return _SCRIPTS.get(words.split(" ")[0], "Zyyy")


_SCRIPTS = {
    **{"LATIN": "Latn", "FEMININE": "Latn", "MASCULINE": "Latn", "GREEK": "Grek"},
    **{"CYRILLIC": "Cyrl", "ARABIC": "Arab", "HEBREW": "Hebr", "ARMENIAN": "Armn"},
    **{"GEORGIAN": "Geor", "ETHIOPIC": "Ethi", "CHEROKEE": "Cher", "DEVANAGARI": "Deva"},
    **{"BENGALI": "Beng", "GUJARATI": "Gujr", "GURMUKHI": "Guru", "KANNADA": "Knda"},
    **{"MALAYALAM": "Mlym", "ORIYA": "Orya", "SINHALA": "Sinh", "TAMIL": "Taml", "TELUGU": "Telu"},
    **{"KHMER": "Khmr", "LAO": "Laoo", "MYANMAR": "Mymr", "THAI": "Thai", "HANGUL": "Hang"},
    **{"CJK": "Hani", "IDEOGRAPHIC": "Hani", "HIRAGANA": "Kana", "KATAKANA": "Kana"},
    **{"KATAKANA-HIRAGANA": "Kana"},
}


@functools.cache
def _codes_by_spelling() -> dict[str, str]:
    spellings = {_fold(alias): code for alias, code in _ALIASES.items()}
    for language in LANGUAGES.values():
        spellings[_fold(language.endonym)] = language.code
    for language in LANGUAGES.values():
        spellings[_fold(language.name)] = language.code
    return spellings | {code: code for code in LANGUAGES}


def _find(text: str) -> str | None:
    spelling = _fold(text).replace("_", "-")
    codes = _codes_by_spelling()
    base, _, region = spelling.partition("-")
    if spelling not in codes and len(region) == 2:
        spelling = base
    return codes.get(spelling)


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip().casefold()


def _title(code: str) -> str:
    return f"{LANGUAGES[code].name} ({code})" if code in LANGUAGES else repr(code)


def _near(text: str, choices: Sequence[str]) -> str:
    """The end of an error message: the choices that are spelled most like `text`, or some."""
    parts = re.split(r"[;/|\s]+", text)
    if len(parts) > 1 and all(_find(part) in choices for part in parts):
        return f"; write several languages with commas: {','.join(parts)}"
    allowed = {spelling: code for spelling, code in _codes_by_spelling().items() if code in choices}
    allowed |= {group: group for group in ("all", *GROUPS)}
    # Two-letter codes are all near each other: only their first letter says anything.
    matches = difflib.get_close_matches(_fold(text), allowed, n=5, cutoff=0.6)
    if not matches and len(text) <= 3:
        matches = [code for code in choices if code[:1] == _fold(text)[:1]][:8]
    near = dict.fromkeys(_title(allowed.get(match, match)) for match in matches)
    if near:
        return f"; did you mean {', '.join(near)}?"
    return f"; known: {', '.join(choices[:40])}{', …' * (len(choices) > 40)}"
