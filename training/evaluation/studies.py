"""What the judged table doesn't show: multi-vectors, shorter vectors, foreign adapters, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .judged import family_means
from .measures import recall_at, spearman
from .pages import PageSet
from .product import Product
from .sets import TASKS, Pairs, Pictures, Sets

MULTI_VECTOR = ("boolq", "pubmedqa")
SHORTER = ("boolq", "udhr", "humaneval")

Table = dict[str, dict[str, float]]
"""{row: {column: figure}}."""


def words(product: Product, sets: Sets) -> dict[str, float]:
    """Spearman's correlation with people's scores."""
    return {words.name: spearman(product.words(words), words.scores) for words in sets.words}


def multivector(product: Product, sets: Sets) -> Table:
    """recall@1 of dense vectors and of MaxSim."""
    return {
        pairs.name: _kinds(lambda multi, pairs=pairs: product.pairs(pairs, multi=multi))
        for family in MULTI_VECTOR
        for pairs in sets.family(family)
    }


def other_questions(product: Product, pools: Sequence[Pairs]) -> Table:
    """Mean recall@1 over each family's pools of dense vectors and of MaxSim."""
    kinds = {"dense": False, "multi-vector": True}
    means = {
        kind: family_means({pairs.name: recall_at(product.pairs(pairs, multi=multi)) for pairs in pools})
        for kind, multi in kinds.items()
    }
    return {family: {kind: means[kind][family] for kind in kinds} for family in means["dense"]}


def pages(product: Product, drawn: PageSet) -> Table:
    """recall@1 from a page to the text on it, and back."""
    return {
        f"{drawn.name}: page to text": _kinds(lambda multi: product.page_to_text(drawn, multi)),
        f"{drawn.name}: text to page": _kinds(lambda multi: product.text_to_picture(drawn, multi)),
    }


def questions(product: Product, drawn: PageSet) -> Table:
    """recall@1 from a question to the page that answers it."""
    return {"boolq: question to page": _kinds(lambda multi: product.text_to_picture(drawn, multi))}


def shorter(product: Product, sets: Sets) -> Table:
    """recall@1 of each matryoshka size: {family: {size: recall}}."""
    return {
        family: {str(dim): _mean(product, sets.family(family), dim=dim) for dim in product.dims} for family in SHORTER
    }


def adapters(product: Product, sets: Sets) -> Table:
    """Every set with every adapter and its prompts: {family: {task: recall@1, of word pairs Spearman}}."""
    families = dict.fromkeys(pairs.family for pairs in sets.pairs)
    tasks = [task for task in TASKS if task in product.tasks]
    table = {family: {task: _mean(product, sets.family(family), task=task) for task in tasks} for family in families}
    for pairs in sets.words:
        table[pairs.name] = {task: spearman(product.words(pairs, task), pairs.scores) for task in tasks}
    return table


def by_task(table: Table, sets: Sets) -> Table:
    """Means of `adapters` over the sets that are meant for each task: {task of the sets: {adapter: mean}}."""
    meant: dict[str, set[str]] = {}
    for pairs in sets.pairs:
        if pairs.family in table:
            meant.setdefault(pairs.task, set()).add(pairs.family)
    meant.setdefault("text-matching", set()).update(words.name for words in sets.words)
    return {
        task: {
            adapter: sum(table[name][adapter] for name in sorted(names)) / len(names)
            for adapter in table[next(iter(names))]
        }
        for task, names in meant.items()
        if names
    }


def pictures(product: Product, held_out: Pictures) -> dict[str, float]:
    """Text to picture."""
    scores = product.text_to_picture(held_out)
    return {f"recall@{k}": recall_at(scores, k) for k in (1, 5)}


def _kinds(scores: Any) -> dict[str, float]:
    return {"dense": recall_at(scores(False)), "multi-vector": recall_at(scores(True))}


def _mean(product: Product, group: Sequence[Pairs], **options: Any) -> float:
    figures = {pairs.name: recall_at(product.pairs(pairs, **options)) for pairs in group}
    return (family_means(figures) or figures)[group[0].family]
