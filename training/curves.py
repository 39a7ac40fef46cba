"""Draws the losses of a training run: one panel a stage, one line a kind of batch.

    python training/curves.py [LOG] [--output docs/pocket_training.png]

LOG is `benchmarks/results/pocket_training.json`, or the log.json of a run.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("log", type=Path, nargs="?", default=ROOT / "benchmarks" / "results" / "pocket_training.json")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "pocket_training.png")
    arguments = parser.parse_args()
    rows = json.loads(arguments.log.read_text())
    rows = [row for row in (rows["log"] if isinstance(rows, dict) else rows) if "loss" in row]
    stages = list(dict.fromkeys(row["stage"] for row in rows))
    figure, panels = plt.subplots(1, len(stages), figsize=(3 * len(stages), 2.8), squeeze=False)
    for stage, panel in zip(stages, panels[0], strict=True):
        of_stage = [row for row in rows if row["stage"] == stage]
        for kind in dict.fromkeys(row["kind"] for row in of_stage):
            points = [(row["step"], row["loss"]) for row in of_stage if row["kind"] == kind]
            panel.plot(*zip(*points, strict=True), marker=".", label=kind)
        panel.set(title=stage, xlabel="step", ylim=(0, None))
        panel.legend(fontsize=7)
    panels[0, 0].set_ylabel("loss")
    figure.tight_layout()
    figure.savefig(arguments.output, dpi=110)
    print(arguments.output)


if __name__ == "__main__":
    main()
