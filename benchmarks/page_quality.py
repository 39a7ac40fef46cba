"""How well page images are found by questions: nDCG@10 of `pocket`, by dense vectors and by stored multi-vectors.

    apt-get install sqlite3-doc fonts-dejavu-core
    python benchmarks/page_quality.py [--pages 300] [--manual sqlite]

A page is a section of the manual, as `retrieval_quality.py` reads it, drawn in DejaVu Serif without its heading, and
cut where the page ends. A question is the heading of a section, if no other has it. `pocket` was not trained on
SQLite's manual. No text is embedded but the questions.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import textwrap
import time
from collections.abc import Sequence

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
    arguments = parser.parse_args()
    manual = read_manual(arguments.manual, arguments.pages, 10**6)
    model = JinaEmbeddings("pocket", engine="torch", task="retrieval")
    began = time.perf_counter()
    pages = [drawn(text) for text in texts(manual)]
    made_with = Fingerprint.of(model, "retrieval", None, "files", multivector="float16")
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(folder, made_with)
        num_tokens = filled(store, model, pages)
        took_s = time.perf_counter() - began
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
    facts |= {"tokens_per_page": round(num_tokens / len(pages), 1), "made_s": round(took_s, 1)}
    write_result("page_quality", {**facts, "systems": figures})


def filled(store: Store, model: JinaEmbeddings, pages: Sequence[Image.Image]) -> int:
    """Writes all pages into the store; returns the number of their tokens."""
    num_tokens = 0
    for start in range(0, len(pages), ENCODED_AT_ONCE):
        part = pages[start : start + ENCODED_AT_ONCE]
        dense = model.encode_image(part)
        tokens = model.encode_image(part, return_multivector=True)
        store.write(
            [
                Placed(Passage(str(n), "page", image=f"{n}.png"), str(n), 0, 1, vector, multivector)
                for n, (vector, multivector) in enumerate(zip(dense, tokens, strict=True), start)
            ],
            new=True,
        )
        num_tokens += sum(map(len, tokens))
        print(f"{start + len(part)} of {len(pages)} pages", file=sys.stderr)
    return num_tokens


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
