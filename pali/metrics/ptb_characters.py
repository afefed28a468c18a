# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Which characters make words, stand alone or vanish in PTBTokenizer 3.4.1.

That tokenizer knows the characters of its time: Kannada's and Malayalam's vowel signs, the rupee
sign and everything beyond the basic plane (emoji) vanish like a space. The rule is the Unicode
category, and the tables list where the tokenizer does otherwise. They were found by asking it about
each character of the basic plane between two letters; of those not assigned in Unicode 14 nothing
is said.
"""

import functools
import unicodedata

JOINS, STANDS_ALONE, VANISHES = "joins", "stands alone", "vanishes"

_EXCEPTIONS = {
    JOINS: """
        2c2-375 384-385 3f6 483-487 55a-55f 58a 591-5bd 5bf 5c1-5c2 5c4-5c5 5c7 615-61a
        64b-65e 670 6d6-6fe 70f-7f3 900-903 93c-94e 951-955 962-963 981-9e3 a01-a4d a81-acd b82-bcd
        c01-c03 c3e-c56 d3e-d48 e31-e3a e47-e4e eb1-ecd 1885-1886 2010-2011""",
    STANDS_ALONE: """b2-b3 b9 600-603 614 201f 203f-2040 2070 2074-2079 2080-2089 2155-215e
        2460-2793 ff3f""",
    VANISHES: """37f 482 528-52f 560 588 58d-58f 5ef 60d-60f 61d 66b-66c 7f9 7fe-7ff 830-83e 85e-88e
        8a1 8ad-8c9 970 978 980 9f2-9fd a76 af0-af9 b70 bf3-bfa c34 c5a-c5d c77-c84 cdd d04 d4f-d5f
        d79 de6-df4 e5a-e5b e86 e89 e8c e8e-e93 e98 ea0 ea8-ea9 eac f01-f1f f34-f3d f85 fbe-fda
        104a-104f 109e-109f 10fb 1360-1368 1390-1399 13f5-1400 166d-166e 169b-169c 16eb-16f8 170d
        171f 1735-1736 17d4-17d6 17d8-17db 1800-180a 1878 191d-1945 19b0-19c0 19c8-19c9 19de-19ff
        1a1e-1a1f 1aa0-1aa6 1aa8-1aad 1b4c 1b5a-1b7e 1bfc-1bff 1c3b-1c3f 1c7e-1cd3 1cf2-1cf3 1cfa
        1fbf-1fc1 1fcd-1fcf 1fdd-1fdf 1fed-1fef 1ffd-1ffe 2012 2024-2027 203c-203d 2043 2045-205e
        20a1-20a3 20a5-20c0 218a-218b 2c2f 2c5f 2ce5-2cea 2cf9-2cff 2d70 2e00-2e2e 2e30-2ffb
        3003-3004 3008-3011 3013-3030 3036-3037 303d-303f 309b-309c 30a0 312e-312f 3190-319f
        31bb-31e3 3200-33ff 4db6-4dff 9fcd-9fff a490-a4c6 a4fe-a4ff a60d-a60f a673-a67e a698-a69d
        a6f2-a716 a720-a721 a789-a78a a78f a794-a79f a7ab-a7f7 a828-a839 a874-a877 a8ce-a8cf
        a8f8-a8fa a8fc-a8fe a92e-a92f a95f a9c1-a9cd a9de-a9fe aa5c-aa5f aa77-aa79 aa7e-aa7f
        aade-aadf aaf0-aaf1 ab30-abbf abeb fb29 fbb2-fbc2 fd3e-fd4f fdcf fdfc-fe6b ffe2-ffe4
        ffe8-fffd""",
}

AS_ASCII = {
    **dict.fromkeys("\x91‹", "`"),
    **{mark: mark for mark in "‘‛’"},
    **dict.fromkeys("\x93“«\x94”»", '"'),
    **dict.fromkeys("\x92›", "'"),
    **dict.fromkeys("\x96\x97–—―", " -- "),
    **{"…": " ... ", "\x80": "€", "₠": "€", "¤": "€", "€": "€", "\xad": ""},
    **{mark: mark for mark in "¼½¾⅓⅔"},
}
"""Characters that are written otherwise, and some the tables say nothing of. U+2019 is not
among them: it can be an apostrophe, and in some words it stays."""


def kind(character: str) -> str:
    """JOINS, STANDS_ALONE or VANISHES, of a character beyond ASCII."""
    return table().get(ord(character), VANISHES)


@functools.cache
def table() -> dict[int, str]:
    """The same of every character of the basic plane beyond ASCII, by its number."""
    found: dict[int, str] = {}
    for code in range(0x80, 0x10000):
        category = unicodedata.category(chr(code))
        if category[0] == "L" or category == "Nd":
            found[code] = JOINS
        elif category[0] == "S" or category in ("Po", "Ps", "Pe", "Pd"):
            found[code] = STANDS_ALONE
        else:
            found[code] = VANISHES
    for name, text in _EXCEPTIONS.items():
        for low, _, high in (part.partition("-") for part in text.split()):
            found |= dict.fromkeys(range(int(low, 16), int(high or low, 16) + 1), name)
    return found
