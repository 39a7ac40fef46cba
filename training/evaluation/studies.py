"""What the judged table doesn't show: multi-vectors, shorter vectors, foreign adapters, images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .judged import family_means
from .measures import recall_at, spearman
from .pages import PageSet
from .product import Product
from .sets import Pairs, Pictures, Sets, Task

TASKS: tuple[Task, ...] = ("retrieval", "text-matching", "code")
MULTI_VECTOR = ("boolq", "pubmedqa")
SHORTER = ("boolq", "udhr", "humaneval")


def words(product: Product, sets: Sets) -> dict[str, float]:
    """Spearman's correlation with people's scores."""
    return {words.name: spearman(product.words(words), _array(words.scores)) for words in sets.words}


def multivector(product: Product, sets: Sets) -> dict[str, dict[str, float]]:
    """recall@1 of dense vectors and of MaxSim, where the question is long enough to have tokens to match."""
    return {
        pairs.name: {kind: recall_at(product.pairs(pairs, multi=kind == "multi")) for kind in ("dense", "multi")}
        for family in MULTI_VECTOR
        for pairs in sets.family(family)
    }


def shorter(product: Product, sets: Sets) -> dict[str, dict[str, float]]:
    """recall@1 of each matryoshka size: {set: {size: recall}}."""
    return {
        family: {str(dim): _mean(product, sets.family(family), dim=dim) for dim in product.dims} for family in SHORTER
    }


def adapters(product: Product, sets: Sets) -> dict[str, dict[str, float]]:
    """Every set with every adapter and its prompts: {set: {adapter: recall@1, of word pairs Spearman}}."""
    tasks = [task for task in TASKS if task in product.model.info.tasks]
    families = dict.fromkeys(pairs.family for pairs in sets.pairs)
    table = {family: {task: _mean(product, sets.family(family), task=task) for task in tasks} for family in families}
    for pairs in sets.words:
        table[pairs.name] = {task: spearman(product.words(pairs, task), _array(pairs.scores)) for task in tasks}
    return table


def pages(product: Product, drawn: PageSet) -> dict[str, float]:
    """recall@1 both ways, dense and multi-vector."""
    figures = {}
    for kind in ("dense", "multi"):
        figures[f"page to text, {kind}"] = recall_at(product.page_to_text(drawn, multi=kind == "multi"))
        figures[f"text to page, {kind}"] = recall_at(product.text_to_page(drawn, multi=kind == "multi"))
    return figures


def pictures(product: Product, held_out: Pictures) -> dict[str, float]:
    """Text to picture."""
    scores = product.text_to_page(held_out)
    return {f"recall@{k}": recall_at(scores, k) for k in (1, 5)}


def _mean(product: Product, group: Sequence[Pairs], **options: Any) -> float:
    figures = {pairs.name: recall_at(product.pairs(pairs, **options)) for pairs in group}
    return (family_means(figures) or figures)[group[0].family]


def _array(scores: tuple[float, ...]) -> Any:
    import numpy as np

    return np.array(scores)
