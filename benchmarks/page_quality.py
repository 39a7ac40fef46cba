"""How well page images are found by questions: nDCG@10 of `pocket`, by dense vectors and by stored multi-vectors.

    apt-get install sqlite3-doc fonts-dejavu-core
    python benchmarks/page_quality.py [--pages 300] [--manual sqlite] [--into FOLDER]

A page is a section of the manual, as `retrieval_quality.py` reads it, drawn in DejaVu Serif without its heading, and
cut where the page ends. A question is the heading of a section, if no other has it. `pocket` was not trained on
SQLite's manual. No text is embedded but the questions. With `--into`, the pages of a run that was stopped are kept, and
the same command goes on.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from from_tools import write_result
from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.index import Passage, SearchOptions
from jina_embeddings.apps.index.fingerprint import Fingerprint
from jina_embeddings.apps.index.rows import Placed
from jina_embeddings.apps.index.search import Question, find
from jina_embeddings.apps.index.store import Store
from retrieval_quality import DEPTH_READ, Manual, measure, rank_of, read_manual

FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSerif.ttf"
SIZE = (448, 588)
FONT_PIXELS, LINE_PIXELS, MARGIN_PIXELS = 13, 17, 20
LINE_CHARACTERS = 52
ENCODED_AT_ONCE = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=300)
    parser.add_argument("--manual", default="sqlite", help="one of `retrieval_quality.MANUALS`")
    parser.add_argument("--into", type=Path, help="keep the index in this folder")
    arguments = parser.parse_args()
    manual = read_manual(arguments.manual, arguments.pages, 10**6)
    model = JinaEmbeddings("pocket", engine="torch", task="retrieval")
    pages = [drawn(text) for text in texts(manual)]
    made_with = Fingerprint.of(model, "retrieval", None, "files", multivector="float16")
    with tempfile.TemporaryDirectory() as scratch:
        folder = str(arguments.into or scratch)
        store = Store.open(folder) if Store.exists(folder) else Store.create(folder, made_with)
        fill(store, model, pages)
        stored = store.vectors(page.content for page in store.passages())
        lengths = [len(tokens) for _, tokens in stored.values() if tokens is not None]
        asked = [
            Question(question, *vectors)
            for question, *vectors in zip(
                manual.questions,
                model.encode_text(manual.questions, prompt_name="query"),
                model.encode_text(manual.questions, prompt_name="query", return_multivector=True),
                strict=True,
            )
        ]
        ways = {
            "dense": SearchOptions(mode="dense", limit=DEPTH_READ),
            "rerank": SearchOptions(mode="dense", rerank=True, limit=DEPTH_READ),
            "rerank of all": SearchOptions(mode="dense", rerank=True, limit=DEPTH_READ, candidates=len(pages)),
        }
        figures = {}
        for way, options in ways.items():
            ranks = []
            for question, answer in zip(asked, manual.answers, strict=True):
                hits = find(store, question, options, lambda hits: [])
                ranks.append(rank_of(answer, [int(hit.passage.path) for hit in hits]))
            figures[way] = measure(np.array(ranks))
            print(way, figures[way], file=sys.stderr)
    facts = {"manual": arguments.manual, "pages": len(pages), "questions": len(asked), "page_pixels": SIZE}
    facts |= {"tokens_per_page": round(float(np.mean(lengths)), 1)}
    write_result("page_quality", {**facts, "systems": figures})


def fill(store: Store, model: JinaEmbeddings, pages: Sequence[Image.Image]) -> None:
    """Writes the pages that the store doesn't have yet."""
    for start in range(len(store), len(pages), ENCODED_AT_ONCE):
        part = pages[start : start + ENCODED_AT_ONCE]
        both = model.encode(part, return_both=True)
        store.write(
            [
                Placed(Passage(str(n), "page", image=f"{n}.png"), str(n), 0, 1, vector, multivector)
                for n, (vector, multivector) in enumerate(zip(both.dense, both.multivector, strict=True), start)
            ],
            new=True,
        )
        print(f"{start + len(part)} of {len(pages)} pages", file=sys.stderr)


def texts(manual: Manual) -> list[str]:
    """One text for each section."""
    ends = [*manual.starts[1:], len(manual.passages)]
    return ["\n\n".join(manual.passages[start:end]) for start, end in zip(manual.starts, ends, strict=True)]


def drawn(text: str) -> Image.Image:
    """
    >>> drawn("a page").size
    (448, 588)
    """
    page = Image.new("RGB", SIZE, "white")
    font = ImageFont.truetype(FONT, FONT_PIXELS)
    lines = [line for block in text.split("\n") for line in (textwrap.wrap(block, LINE_CHARACTERS) or [""])]
    num_lines = (SIZE[1] - 2 * MARGIN_PIXELS) // LINE_PIXELS
    draw = ImageDraw.Draw(page)
    for number, line in enumerate(lines[:num_lines]):
        draw.text((MARGIN_PIXELS, MARGIN_PIXELS + number * LINE_PIXELS), line, "black", font)
    return page


if __name__ == "__main__":
    main()
