"""Draws the rows of a result of `throughput.py`: inputs a second of every system, one panel a set.

python benchmarks/plot.py [RESULT] [--output docs]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

from from_tools import RESULTS

TITLES = {
    "short": "texts of 27 tokens",
    "passages": "passages of 256 tokens",
    "long": "texts of 2,000 tokens",
    "mixed": "texts of 8 to 1,000 tokens",
    "pages": "A4 pages at 150 dots an inch",
}
OURS, OTHERS = "#1f6f8b", "#b8b8b8"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("result", type=Path, nargs="?", default=RESULTS / "throughput_together.json")
    parser.add_argument("--output", type=Path, default=RESULTS.parent.parent / "docs", help="folder of the picture")
    options = parser.parse_args()
    print(plot(json.loads(options.result.read_text()), options.output / f"{options.result.stem}.png"))


def plot(run: dict[str, Any], output: Path) -> Path:
    """One run alone: ratios between runs mean nothing."""
    rows = run["rows"]
    sets = [name for name in TITLES if any(row["set"] == name for row in rows)]
    counts = [sum(row["set"] == name for row in rows) for name in sets]
    figure, panels = plt.subplots(
        len(sets), figsize=(8, 0.45 * sum(counts) + 0.9 * len(sets)), squeeze=False, height_ratios=counts
    )
    for name, panel in zip(sets, panels[:, 0], strict=True):
        draw(panel, TITLES[name], [row for row in rows if row["set"] == name])
    panels[-1, 0].set_xlabel(f"a second, on {run['device']}")
    figure.tight_layout()
    figure.savefig(output, dpi=120)
    plt.close(figure)
    return output


def draw(panel: Any, title: str, rows: list[dict[str, Any]]) -> None:
    """One set's systems, the fastest on top; beside each its rate and its share of the matrix-product rate."""
    rows = sorted(rows, key=lambda row: row["inputs_per_s"])
    values = [row["inputs_per_s"] for row in rows]
    colors = [OURS if row["system"].startswith("ours") else OTHERS for row in rows]
    bars = panel.barh([row["row"] for row in rows], values, color=colors, height=0.7)
    labels = [
        f"{row['inputs_per_s']:,.0f}" + (f"  ({share:.0%})" if (share := row.get("share_of_matrix_rate")) else "")
        for row in rows
    ]
    panel.bar_label(bars, labels, padding=3, fontsize=8)
    panel.set_xlim(0, 1.2 * max(values))
    panel.set_title(title, loc="left", fontsize=10)
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main()
