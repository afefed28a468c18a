# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Writes the embedded model's card from the logs of its training and from its evaluation.

    pali train configs/demo_captions_vit.py
    pali train configs/demo_captions.py
    pali train configs/demo_vit.py
    pali train configs/demo_joint.py
    pali train configs/demo.py
    pali evaluate --model runs/demo/model --tasks all --workdir runs/evaluate
    python tools/write_model_card.py --runs runs --hardware "2 cores of an AMD EPYC (Zen 5)"

Copies the model into pali/embedded, and logs, configs and report into docs/embedded_model, so that
every number in the card can be looked up.
"""

import argparse
import itertools
import json
import shutil
from pathlib import Path

from pali import report, summary
from pali.checkpoints import pretrained

ROOT = Path(__file__).parents[1]

CARD = Path(__file__).with_name("model_card.md")
"""The text, with the names of what is filled in."""

STAGES = {
    "demo_captions_vit": "the ViT alone: which of the concepts a picture shows",
    "demo_captions": "its ViT frozen: names, keywords and groups as text, in 36 languages",
    "demo_vit": "the ViT, two layers deeper: which letters or objects each patch shows",
    "demo_joint": "ViT and language half together: every task",
    "demo": "the ViT frozen again: every task, names in all languages",
}
"""The configs, one after the other, and what each of them adds."""


def main() -> None:
    """Reads --runs, writes the card and the files it refers to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--runs", type=Path, required=True, help="with a folder for each config, and evaluate"
    )
    parser.add_argument("--hardware", required=True)
    parser.add_argument("--remarks", default="", help="what else should be known of these runs")
    arguments = parser.parse_args()
    runs = arguments.runs

    kept = ROOT / "docs" / "embedded_model"
    kept.mkdir(exist_ok=True)
    for stage in STAGES:
        shutil.copyfile(runs / stage / "metrics.jsonl", kept / f"{stage}.log.jsonl")
        shutil.copyfile(runs / stage / "config.json", kept / f"{stage}.config.json")
    shutil.copyfile(runs / "evaluate" / "report.md", kept / "report.md")
    for name in (pretrained.CONFIG, pretrained.WEIGHTS):
        shutil.copyfile(runs / "demo" / "model" / name, pretrained.EMBEDDED / name)

    logs = {stage: _read(kept / f"{stage}.log.jsonl") for stage in STAGES}
    results = json.loads((runs / "evaluate" / "metrics.json").read_text())
    model = pretrained.load_model(pretrained.EMBEDDED)
    vit, mt5 = model.config.vit, model.config.mt5
    arrays = pretrained.merge.flatten(model.params).values()
    card = CARD.read_text(encoding="utf-8").format(
        parameters=sum(array.size for array in arrays),
        megabytes=(pretrained.EMBEDDED / pretrained.WEIGHTS).stat().st_size / 1e6,
        languages=len(model.metadata.languages),
        codes=", ".join(model.metadata.languages),
        concepts=vit.num_classes,
        depth=vit.depth,
        width=vit.width,
        size=vit.image_size,
        patch=vit.patch_size,
        tokens=vit.num_visual_tokens,
        encoder=mt5.encoder_layers,
        decoder=mt5.decoder_layers,
        mt5_width=mt5.width,
        vocabulary=mt5.vocab_size,
        stages=_stages(kept, logs),
        hardware=arguments.hardware,
        remarks=arguments.remarks,
        curves="\n\n".join(
            f"{stage}:\n\n{_curve(log, 'exact' if 'exact' in log[-1] else 'accuracy')}"
            for stage, log in logs.items()
        ),
        scores=report.markdown_table(summary.COLUMNS, summary.rows(results["scores"])),
        reached="\n".join(
            f"- {text}: {', '.join(languages) or 'none'}"
            for text, languages in summary.reached(results["scores"])
        ),
    )
    (pretrained.EMBEDDED / pretrained.CARD).write_text(card, encoding="utf-8")


def _read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _stages(kept: Path, logs: dict[str, list[dict]]) -> str:
    """A row for each stage."""
    body = []
    for stage, log in logs.items():
        run = json.loads((kept / f"{stage}.config.json").read_text())
        numbers = (run["steps"], run["data"]["batch_size"], round(_minutes(log)), run["seed"])
        row = [f"`pali train configs/{stage}.py`", STAGES[stage]]
        body.append([*row, *(f"{number:,}" for number in numbers)])
    return report.markdown_table(
        ["command", "learns", "steps", "examples a step", "minutes", "seed"], body
    )


def _minutes(log: list[dict]) -> float:
    """The run's own clock; it begins anew where an interrupted run goes on."""
    clock = [entry["seconds"] for entry in log if "seconds" in entry]
    whole = sum(before for before, after in itertools.pairwise(clock) if after < before)
    return (whole + clock[-1]) / 60


def _curve(log: list[dict], number: str) -> str:
    """A table of one number by step, a row for each split that was evaluated."""
    values: dict[str, dict[int, float]] = {}
    for entry in log:
        if entry["split"] != "train":
            values.setdefault(entry["split"], {})[entry["step"]] = 100 * entry[number]
    steps = sorted({step for row in values.values() for step in row})
    # About a dozen of them, counted from the end, which matters most.
    steps = steps[:: -max(1, -(-len(steps) // 13))][::-1]
    body = [[split, *(f"{row[step]:.0f}" for step in steps)] for split, row in values.items()]
    return report.markdown_table(["step", *(f"{step:,}" for step in steps)], body)


if __name__ == "__main__":
    main()
