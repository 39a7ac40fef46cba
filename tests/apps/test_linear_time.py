"""Files that are made to be slow take as long as others of their size: time grows as the input does, not as its square.

Processor time of this thread at two sizes, the least of three measurements; wall time depends on what else runs. There
are no garbage collections meanwhile, whose time grows with what other tests have left in memory.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest

from jina_embeddings.apps.code.chunks import cut as cut_code
from jina_embeddings.apps.documents.html import html_sections
from jina_embeddings.apps.documents.hyphens import Hyphens
from jina_embeddings.apps.documents.markdown import markdown_sections
from jina_embeddings.apps.documents.sections import Section, cut, paragraphs
from jina_embeddings.apps.index.words import searchable
from jina_embeddings.apps.retrieval.marking import mark
from jina_embeddings.pipeline.readers import Reader

TIMES = 8
MOST_TIMES = 2.5 * TIMES
"""What is quadratic takes 64 times as long."""

Work: TypeAlias = Callable[[str], object]


def _text(text: str) -> object:
    return list(cut([Section("", tuple(paragraphs(text)))], 100))


def _code(name: str) -> Work:
    return lambda text: list(cut_code(name, text))


def _pdf(page: str) -> str:
    return Hyphens([page]).joined(page)


CASES: dict[str, tuple[Work, Callable[[int], str], int]] = {
    "a line of spaces": (_text, lambda n: " " * n, 2500),
    "lines of spaces": (_text, lambda n: (" " * 99 + "\n") * (n // 100), 10_000),
    "a paragraph without an end": (_text, lambda n: "word " * n, 20_000),
    "a word without an end": (_text, lambda n: "w" * n, 100_000),
    "comments above a function": (_code("a.go"), lambda n: "package a\n" + "// c\n" * n + "func f() {}\n", 1000),
    "functions": (_code("a.go"), lambda n: "package a\n" + "func f() {}\n" * n, 400),
    "types in one group": (_code("a.go"), lambda n: "package a\ntype (\n" + "A struct {x int}\n" * n + ")\n", 400),
    "classes": (_code("a.py"), lambda n: "class A:\n    x = 1\n    def f(self):\n        pass\n" * n, 200),
    "exports": (_code("a.js"), lambda n: "export const f = () => {}\n" * n, 400),
    "open brackets": (_code("a.py"), lambda n: "def f((\n" * n, 400),
    "a line of code": (_code("a.txt"), lambda n: "ab " * n, 30_000),
    "open tags": (html_sections, lambda n: "<a " * n, 2000),
    "open elements": (html_sections, lambda n: "<div>a<b>" * n, 300),
    "paragraphs": (html_sections, lambda n: "<p>a b" * n, 500),
    "open tables": (html_sections, lambda n: "<table><tr><td>" * n + "a", 100),
    "lists of links": (html_sections, lambda n: "<ul><li><a href=x>a</a></li></ul>" * n, 300),
    "elements in each other": (html_sections, lambda n: "<div>" * n + "x", 700),
    "links in each other": (html_sections, lambda n: "<a>" * n + "x", 700),
    "a letter in each element": (html_sections, lambda n: "x<div>" * n, 700),
    "elements and text in turn": (html_sections, lambda n: "<div>a</div>b" * n, 700),
    "a letter in each open table": (html_sections, lambda n: "<table><tr><td>x" * n, 100),
    "open comments": (html_sections, lambda n: "<!--" * n, 700),
    "open menus": (html_sections, lambda n: "<nav>x" * n, 700),
    "paragraphs in open bold": (html_sections, lambda n: "<b><p>x" * n, 300),
    "open links": (markdown_sections, lambda n: "![" * n, 500),
    "open emphasis": (markdown_sections, lambda n: "*a **b " * n, 500),
    "soft hyphens": (_pdf, lambda n: "\u00ad" * n, 20_000),
    "marked hyphens and spaces": (_pdf, lambda n: ("a\x02" + " " * 50) * (n // 50), 20_000),
    "a long identifier": (searchable, lambda n: "aB" * n, 20_000),
    "words to mark": (partial(mark, question="bread"), lambda n: "aB " * n, 5000),
}


def _seconds(work: Work, text: str) -> float:
    def once() -> float:
        began = time.thread_time()
        work(text)
        return time.thread_time() - began

    gc.disable()
    try:
        return min(once() for _ in range(3))
    finally:
        gc.enable()


@pytest.mark.long
@pytest.mark.parametrize(("work", "make", "size"), CASES.values(), ids=CASES.keys())
def test_time_grows_as_the_input_does(work: Work, make: Callable[[int], str], size: int) -> None:
    work(make(1))  # Imports and grammars.
    small, large = _seconds(work, make(size)), _seconds(work, make(TIMES * size))
    # Below a hundredth of a second the clock says nothing of growth.
    assert large < max(MOST_TIMES * small, 0.02), f"{small:.4f} s, and {large:.4f} s for {TIMES} times as much"


def test_the_columns_of_a_csv_are_looked_through_once(tmp_path: Path) -> None:
    def write(num_columns: int) -> str:
        path = tmp_path / f"{num_columns}.csv"
        path.write_text(",".join(["text", *(f"c{number}" for number in range(num_columns))]) + "\n", encoding="utf-8")
        return str(path)

    def read(path: str) -> object:
        return list(Reader().read([path]))

    small, large = _seconds(read, write(1000)), _seconds(read, write(TIMES * 1000))
    assert large < max(MOST_TIMES * small, 0.02)
