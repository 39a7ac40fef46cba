"""Reproduces Jina's published tables: public benchmarks of mteb, on a GPU, with the real weights.

    pip install "jina-embeddings-vllm[vllm,mteb]"
    python benchmarks/mteb_tables.py --tables retrieval,sts --model jinaai/jina-embeddings-v4 [--late-interaction]

Downloads the weights and the data. Results of tasks that are done are kept in `--cache`, so that the command may be
stopped and given again. Prints a table's tasks with their main scores and its mean.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

TABLES: dict[str, tuple[str, tuple[str, ...]]] = {
    "retrieval": ("MTEB(eng, v2)", ("Retrieval",)),
    "retrieval-multilingual": ("MTEB(Multilingual, v2)", ("Retrieval",)),
    "sts": ("MTEB(eng, v2)", ("STS",)),
    "sts-multilingual": ("MTEB(Multilingual, v2)", ("STS",)),
    "code": ("CoIR", ()),
    "long": ("LongEmbed", ()),
    "vidore": ("ViDoRe(v1)", ()),
    "jina-vdr": ("JinaVDR", ()),
}
"""The benchmark of each table, and the types of its tasks that count; none means all."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", default="retrieval,sts", help=f"comma-separated: {', '.join(TABLES)}")
    parser.add_argument("--model", default="jinaai/jina-embeddings-v4")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--late-interaction", action="store_true", help="MaxSim of multi-vectors")
    parser.add_argument("--cache", default="mteb-results", help="a folder for the results")
    parser.add_argument("--list", action="store_true", help="print the tasks, and load nothing")
    arguments = parser.parse_args()
    tables = arguments.tables.split(",")
    if unknown := sorted(set(tables) - set(TABLES)):
        parser.error(f"no such table: {', '.join(unknown)}; there are {', '.join(TABLES)}")
    from jina_embeddings.integrations.mteb import MTEBEncoder, MTEBLateInteraction

    form = MTEBLateInteraction if arguments.late_interaction else MTEBEncoder
    encoder = None if arguments.list else form(arguments.model, engine=arguments.engine)
    for table in tables:
        tasks = tasks_of(table)
        print(table, *([task.metadata.name for task in tasks] if encoder is None else []))
        if encoder is not None:
            show(evaluated(encoder, tasks, arguments.cache))


def tasks_of(table: str) -> list[Any]:
    import mteb

    name, kinds = TABLES[table]
    return [task for task in mteb.get_benchmark(name).tasks if not kinds or task.metadata.type in kinds]


def evaluated(encoder: Any, tasks: Sequence[Any], cache: str) -> dict[str, float]:
    """Returns the main score of each task."""
    import mteb

    found = mteb.evaluate(encoder, tasks, cache=mteb.ResultCache(cache))
    return {result.task_name: result.get_score() for result in found.task_results}


def show(scores: dict[str, float]) -> None:
    for name, score in scores.items():
        print(f"  {name:40} {100 * score:.2f}")
    print(f"  {'mean':40} {100 * sum(scores.values()) / len(scores):.2f}")


if __name__ == "__main__":
    main()
