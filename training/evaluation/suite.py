"""Which figures one run takes: the judged table, or all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import studies
from .heldout import AbsentError, heldout_pictures
from .judged import judge
from .measures import recall_at
from .pages import FONTS, PageSet, draw
from .product import Product
from .sets import Pictures, Sets

NUM_QUESTIONS = 300


@dataclass(frozen=True)
class Drawn:
    """The images of one evaluation; `skipped` says what is absent, and why."""

    pages: tuple[PageSet, ...] = ()
    pictures: Pictures | None = None
    skipped: tuple[str, ...] = ()


def draw_all(sets: Sets, build: Path) -> Drawn:
    """Pages of unseen text, pages of BoolQ's passages for its questions, and held-out pictures."""
    pages: list[PageSet] = []
    pictures: list[Pictures] = []
    skipped: list[str] = []
    for name, folder in FONTS.items():
        with _or_say_why(skipped):
            pages.append(draw(name, sets.pages, build / folder))
    for pairs in sets.family("boolq"):
        with _or_say_why(skipped):
            drawn = draw("questions", pairs.documents[:NUM_QUESTIONS], build / FONTS["pages"])
            pages.append(PageSet("questions", pairs.queries[:NUM_QUESTIONS], drawn.images))
    with _or_say_why(skipped):
        pictures.append(heldout_pictures(build))
    return Drawn(tuple(pages), pictures[0] if pictures else None, tuple(dict.fromkeys(skipped)))


def quick(product: Product, sets: Sets, drawn: Drawn) -> dict[str, Any]:
    """The judged table: recall@1 by set, with the pages that were drawn."""
    recall = judge(sets, product.pairs)
    for pages in drawn.pages:
        if pages.name != "questions":
            recall[pages.name] = recall_at(product.page_to_text(pages))
    return {"recall": {"pocket": recall}}


def full(product: Product, sets: Sets, drawn: Drawn) -> dict[str, Any]:
    """The judged table and every study, with the pages that were drawn."""
    table = studies.adapters(product, sets)
    figures: dict[str, Any] = {
        **quick(product, sets, drawn),
        "words": studies.words(product, sets),
        "multivector": studies.multivector(product, sets),
        "shorter": studies.shorter(product, sets),
        "adapters": table,
        "adapters_by_task": studies.by_task(table, sets),
    }
    for pages in drawn.pages:
        asked = studies.questions if pages.name == "questions" else studies.pages
        figures["multivector"] |= asked(product, pages)
    if drawn.pictures is not None:
        figures["pictures"] = studies.pictures(product, drawn.pictures)
    return figures


@contextmanager
def _or_say_why(skipped: list[str]) -> Iterator[None]:
    try:
        yield
    except AbsentError as reason:
        skipped.append(str(reason))
