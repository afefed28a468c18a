# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Every prompt as data: training tasks and inference fill the same templates.

A template is filled with the fields of a record. `lang` becomes a code in capitals, as in the
paper's examples; a list becomes one text. The prompts of pictures end with mT5's first sentinel,
and the answer is what fills that blank, written without a sentinel of its own.

How sure each spelling is, as `source`:
  sourced   read in a public document
  recalled  PaLI's (arXiv 2209.06794) as remembered: capitals and spaces could not be confirmed
  own       not PaLI's, made here in its style

A config can put other words in place of them (`data.prompts`); a model that was trained so keeps
them, and is asked in them.
"""

from __future__ import annotations

import difflib
import functools
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pali.languages import resolve

BLANK = "<extra_id_0>"
"""mT5's first sentinel: what the answer fills."""


@dataclass(frozen=True)
class Prompt:
    """A template and what answers it."""

    name: str
    template: str
    answer: str
    """What the target text is."""
    source: Literal["sourced", "recalled", "own"]
    separator: str = ", "
    """Between the parts of a field that is a list."""
    says_nothing: bool = False
    """Whether an empty answer is one: that nothing of what was asked for is there."""

    @functools.cached_property
    def fields(self) -> tuple[str, ...]:
        """The fields that the template needs, in order."""
        return tuple(name for _, name, _, _ in string.Formatter().parse(self.template) if name)

    def fill(self, record: Mapping[str, Any]) -> str:
        """The prompt for a record; fields that the template does not name are ignored.

        The space before an empty field goes with it: a caption that is cut at 0 is asked for like a
        whole one.

        Raises:
          ValueError: the record lacks a field, or its language is unknown.
        """
        if missing := [name for name in self.fields if name not in record]:
            raise ValueError(
                f"prompt {self.name!r} needs {', '.join(self.fields)}; {', '.join(missing)} missing"
            )
        filled = ""
        for literal, name, _, _ in string.Formatter().parse(self.template):
            text = self._text(name, record[name]) if name else ""
            filled += literal if text or not name else literal.removesuffix(" ")
            filled += text
        return filled

    def worded(self, template: str) -> Prompt:
        """The same prompt in other words.

        Raises:
          ValueError: the template asks for a field that this prompt does not have, or is none.
        """
        try:
            asked = [name for _, name, _, _ in string.Formatter().parse(template)]
        except ValueError as error:
            message = f"{template!r} is no template for prompt {self.name!r}: {error}"
            raise ValueError(message) from None
        unknown = [name or "{}" for name in asked if name not in (None, *self.fields)]
        if unknown:
            raise ValueError(
                f"{template!r} asks for {', '.join(unknown)}; prompt {self.name!r} has "
                f"{', '.join(self.fields) or 'no field'}"
            )
        return replace(self, template=template, source="own")

    def _text(self, name: str, value: Any) -> str:
        if name == "lang":
            return resolve(value).upper()  # One spelling, whatever the data calls a language.
        if isinstance(value, Sequence) and not isinstance(value, str):
            return self.separator.join(value)
        return str(value)


PROMPTS: dict[str, Prompt] = {
    prompt.name: prompt
    for prompt in (
        Prompt("span_corruption", "{text}", "the masked spans, each after its sentinel", "sourced"),
        Prompt(
            "split_caption",
            f"Generate the alt_text in {{lang}} at {{position}}: {{before}} {BLANK}",
            "the rest of the caption, after its first `position` words",
            "recalled",
        ),
        Prompt(
            "caption", f"Generate the alt_text in {{lang}} at 0: {BLANK}", "a caption", "recalled"
        ),
        Prompt(
            "class_name",
            f"Generate the alt_text in {{lang}} at 2: Photo of {BLANK}",
            "the name of a class, chosen by likelihood",
            "recalled",
        ),
        Prompt(
            "ocr",
            f"Generate the ocr_text in {{lang}}: {BLANK}",
            "the text in the picture that is in this language",
            "recalled",
        ),
        Prompt("vqa", f"Answer in EN: {{question}} {BLANK}", "an answer in English", "recalled"),
        Prompt(
            "vqa_in",
            f"Answer in {{lang}}: {{question}} {BLANK}",
            "an answer in this language",
            "own",
        ),
        Prompt("question", "{question}", "an answer, in the words of the benchmark alone", "own"),
        Prompt("text", "{text}", "an answer to a text without a picture", "own"),
        Prompt(
            "vqg",
            f"Generate a question in {{lang}} for {{answer}}: {BLANK}",
            "a question in this language with that English answer",
            "recalled",
        ),
        Prompt(
            "list_objects",
            f"Answer in EN: List the objects present: {BLANK}",
            "their names, with commas",
            "recalled",
        ),
        Prompt(
            "object_presence",
            f"Answer in EN: Is {{objects}} in the image? {BLANK}",
            "Yes or No; of several objects, whether all are there",
            "recalled",
        ),
        Prompt(
            "which_objects",
            f"Answer in EN: Which of {{objects}} are in the image? {BLANK}",
            "those that are there, with commas",
            "recalled",
            says_nothing=True,
        ),
        Prompt(
            "detect",
            "detect {classes}",
            "`ymin xmin ymax xmax class` for each box, in thousandths of the picture",
            "recalled",
            separator=" and ",
            says_nothing=True,
        ),
        Prompt(
            "keywords",
            f"Generate the keywords in {{lang}}: {BLANK}",
            "words about the picture, with commas",
            "own",
        ),
        Prompt(
            "group",
            f"Generate the group in {{lang}}: {BLANK}",
            "one of the groups of Unicode's list of emoji",
            "own",
        ),
        Prompt(
            "subgroup",
            f"Generate the subgroup in {{lang}}: {BLANK}",
            "one of the subgroups of Unicode's list of emoji",
            "own",
        ),
    )
}
"""Every prompt, by name."""


def fill(name: str, **fields: Any) -> str:
    """A prompt by its name: `fill("vqa", question="What is this?")`.

    Raises:
      ValueError: no such prompt, or a field is missing.
    """
    return get(name).fill(fields)


def worded(templates: Iterable[tuple[str, str]]) -> dict[str, Prompt]:
    """Every prompt, by name; those of `templates`, (name, template), in these words.

    Raises:
      ValueError: no such prompt, or a template does not suit it.
    """
    return PROMPTS | {name: get(name).worded(template) for name, template in templates}


def caption(lang: str) -> str:
    """What asks for a caption in a language: "Generate the alt_text in SW at 0: <extra_id_0>"."""
    return PROMPTS["caption"].fill({"lang": lang})


def get(name: str) -> Prompt:
    """The prompt of a name; ValueError names the near ones."""
    if name not in PROMPTS:
        near = difflib.get_close_matches(name, PROMPTS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(PROMPTS)}"
        raise ValueError(f"unknown prompt {name!r}; {hint}")
    return PROMPTS[name]
