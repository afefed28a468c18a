# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What `pali tasks` prints of registries, mixtures and counts: lines of at most 100 columns.

Tasks that differ in their language alone (`multilingual_captions_sw` …) are one line.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pali.languages import LANGUAGES

if TYPE_CHECKING:
    from pali.data.counting import Counted, Share
    from pali.data.pipeline import Mixture
    from pali.data.seqio_bridge import Registered, RegisteredTask

WIDTH = 100
_FIXED = "\u00a0"
"""A space at which no line is broken."""
CUT = 0.01
"""Share of the prompts, or of the answers, that may be cut without a warning."""
DATA_TELL = "its data tell"
"""In place of languages, where a task has them from data alone that are not here."""
FAMILY = 5
"""So many tasks that differ in their language alone are shown as one."""


def registry(found: Registered) -> str:
    """Every task with its kind of source, languages and splits; then every mixture with its own."""
    reasons: list[str] = []
    rows = [("task", "source", "languages", "records")]
    for label, names in families(found.tasks).items():
        tasks = [found.tasks[name] for name in names]
        languages = sorted({code for task in tasks for code in task.languages})
        sizes = _sizes(tasks, reasons)
        if len(names) > 1:
            sizes = f"{len(names)} tasks, together {sizes}"
        known = DATA_TELL if _untold(tasks) and not languages else _few(languages)
        rows.append((label, tasks[0].source, known, sizes))
    width = max((len(name) for name in found.mixtures), default=0) + 2
    mixtures = []
    for name, rates in found.mixtures.items():
        mixtures.append(mixture_line(f"{name:<{width}}", rates))
        said = _whole([found.tasks[task] for task in rates], reasons)
        mixtures.append(_wrapped(" " * width, said, indent=width))
    notes = [_wrapped(f"({number}) ", reason, indent=4) for number, reason in enumerate(reasons, 1)]
    return "\n".join([_table(rows), *notes, "", *mixtures])


def cut_warning(found: Counted, lengths: tuple[int, int]) -> str:
    """What to do where more than `CUT` of the prompts or the answers are cut; else ""."""
    total = sum(script.examples for script in found.scripts.values())
    advice = []
    for what, option, limit, tokens, cut in (
        ("prompts", "inputs", lengths[0], "prompt", "prompts_cut"),
        ("answers", "targets", lengths[1], "answer", "answers_cut"),
    ):
        share = sum(s.examples * getattr(s, cut) for s in found.scripts.values()) / max(total, 1)
        if share > CUT:
            longest = max(getattr(s, tokens)[2] for s in found.scripts.values())
            advice.append(
                f"{share:.1%} of the {what} are cut at {limit} tokens, the longest has {longest}: "
                f"set data.{option}_length in the config, and try it here by --{option}-length"
            )
    return "; ".join(advice)


def mixture_line(name: str, rates: Mapping[str, float | None]) -> str:
    """A mixture and the shares of its tasks; they stand below each other, beside the name."""
    known = {task: rate for task, rate in rates.items() if rate is not None}
    if len(known) < len(rates):
        return f"{name}mixture of {len(rates)} tasks, by data that are not here"
    total = sum(known.values())
    shares = {
        label: sum(known[task] for task in tasks) / total
        for label, tasks in families(rates).items()
    }
    listed = ", ".join(f"{label}{_FIXED}{share:.1%}" for label, share in shares.items())
    return _wrapped(name, f"mixture of {listed}", indent=len(name))


def tasks_of(mixture: Mixture) -> str:
    """The tasks of a mixture, with records, shares and functions."""
    total, parts = sum(rate for _, rate in mixture), {task.name: task for task, _ in mixture}
    rates = {task.name: rate for task, rate in mixture}
    lines = []
    for label, names in families(parts).items():
        records = sum(len(parts[name].source) for name in names)
        share = sum(rates[name] for name in names) / total
        said = f"   {share:6.1%} of the examples" if len(mixture) > 1 else ""
        said += f", {len(names)} tasks" if len(names) > 1 else ""
        lines.append(f"  {label:<24}{records:>14,} records{said}")
        lines += [f"      {function}" for function in parts[names[0]].functions]
    return "\n".join(lines)


def counted(found: Counted, lengths: tuple[int, int]) -> str:
    """Declared and measured shares, the largest error, and tokens by script."""
    parts = [
        _shares("task", _of_families(found.tasks)),
        f"largest |count - n rate| of a task: {found.largest_error:.3f}",
        _shares("objective", found.objectives),
        _languages(found.languages),
        _tokens(found, lengths),
    ]
    if found.skipped:
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in found.skipped.items())
        parts.append(f"skipped, and counted as tasks alone: {reasons}")
    return "\n\n".join(part for part in parts if part)


def families(names: Iterable[str]) -> dict[str, list[str]]:
    """Label -> tasks: `name_*` for those that end in a language, otherwise each by itself."""
    names = list(names)
    ends: dict[str, list[str]] = {}
    for name in names:
        stem, _, code = name.rpartition("_")
        if stem and code in LANGUAGES:
            ends.setdefault(stem, []).append(name)
    label = {
        name: f"{stem}_*" for stem, tasks in ends.items() if len(tasks) >= FAMILY for name in tasks
    }
    grouped: dict[str, list[str]] = {}
    for name in names:
        grouped.setdefault(label.get(name, name), []).append(name)
    return grouped


def _sizes(tasks: Sequence[RegisteredTask], reasons: list[str]) -> str:
    """The splits and records of tasks; what is missing becomes the number of a note."""
    missing, note = next((task.missing for task in tasks if task.missing), ""), ""
    if missing:
        if missing not in reasons:
            reasons.append(missing)
        note = f" ({reasons.index(missing) + 1})"
    sizes = {split: [task.splits.get(split, 0) for task in tasks] for split in tasks[0].splits}
    if missing and all(None in found for found in sizes.values()):
        return f"not here{note}"
    listed = ", ".join(
        f"{split}{_FIXED}{'?' if None in found else format(sum(n or 0 for n in found), ',')}"
        for split, found in sizes.items()
    )
    return f"{listed}{note}"


def _whole(tasks: Sequence[RegisteredTask], reasons: list[str]) -> str:
    """Languages, splits and records of a mixture, and how many of its tasks are not here."""
    languages = sorted({code for task in tasks for code in task.languages})
    sizes: dict[str, int] = {}
    for task in tasks:
        for split, records in task.splits.items():
            sizes[split] = sizes.get(split, 0) + (records or 0)
    missing = [task for task in tasks if task.missing]
    for task in missing:
        if task.missing not in reasons:
            reasons.append(task.missing)
    notes = sorted({reasons.index(task.missing) + 1 for task in missing})
    more = " and more" if _untold(tasks) else ""
    said = [f"languages {_few(languages)}{more}"] if languages else []
    said += [f"{split}{_FIXED}{records:,}" for split, records in sizes.items() if records]
    if missing:
        some = f"{len(missing)} of {len(tasks)} tasks not here"
        there = "none here" if len(missing) == len(tasks) else some
        said.append(f"{there} ({', '.join(map(str, notes))})")
    return ", ".join(said)


def _untold(tasks: Iterable[RegisteredTask]) -> bool:
    """Whether data that are not here would tell of languages that are known from nowhere else."""
    return any(task.missing and not task.languages for task in tasks)


def _few(languages: Sequence[str]) -> str:
    if not languages:
        return "-"
    if len(languages) == 1:
        return languages[0]
    shown = " ".join(languages[:4])
    return f"{len(languages)}: {shown}{' …' if len(languages) > 4 else ''}"


def _of_families(tasks: Mapping[str, Share]) -> dict[str, Share]:
    from pali.data.counting import Share

    return {
        label: Share(
            sum(tasks[name].count for name in names),
            sum(tasks[name].measured for name in names),
            sum(tasks[name].declared or 0.0 for name in names),
        )
        for label, names in families(tasks).items()
    }


def _shares(title: str, shares: Mapping[str, Share]) -> str:
    rows = [(title, "declared", "measured", "examples")]
    for name, share in shares.items():
        rows.append((name, _percent(share.declared), _percent(share.measured), f"{share.count:,}"))
    return _columns(rows)


def _languages(shares: Mapping[str, Share]) -> str:
    """Three languages on a line: there may be a hundred."""
    cells = [("language", "declared", "measured")]
    cells += [(name, _percent(s.declared), _percent(s.measured)) for name, s in shares.items()]
    head, *rest = [f"{name:<10}{declared:>9}{measured:>10}" for name, declared, measured in cells]
    rows = -(-len(rest) // 3)
    lines = ["    ".join([head] * min(3, len(rest)))]
    lines += ["    ".join(rest[row::rows]) for row in range(rows)]
    return "\n".join(lines)


def _tokens(found: Counted, lengths: tuple[int, int]) -> str:
    if not found.scripts:
        return ""
    ends = ("mean", "95%", "max", "cut")
    over = ["", "", "prompt", "", "", "", "answer", "", "", ""]
    rows = [over, ["script", "examples", *ends, *ends]]
    for script, s in found.scripts.items():
        row = [script, f"{s.examples:,}"]
        for (mean, high, longest), cut in ((s.prompt, s.prompts_cut), (s.answer, s.answers_cut)):
            row += [f"{mean:.1f}", f"{high:.0f}", str(longest), f"{cut:.1%}"]
        rows.append(row)
    said = f"tokens, ends counted; prompts are cut at {lengths[0]}, answers at {lengths[1]}"
    return f"{said} (--inputs-length, --targets-length)\n{_columns(rows)}"


def _columns(rows: Sequence[Sequence[str]]) -> str:
    """Columns, the first to the left and the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        row[0].ljust(widths[0])
        + "".join(f"{cell:>{width + 2}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Columns to the left, of which the last one is wrapped."""
    widths = [min(max(len(row[i]) for row in rows), 32) + 2 for i in range(len(rows[0]) - 1)]
    return "\n".join(
        _wrapped(
            "".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)),
            row[-1],
            indent=sum(widths),
        )
        for row in rows
    )


def _wrapped(head: str, text: str, indent: int) -> str:
    filled = textwrap.fill(
        text,
        WIDTH,
        initial_indent=head,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return filled.replace(_FIXED, " ")


def _percent(share: Any) -> str:
    return "-" if share is None else f"{share:.2%}"
