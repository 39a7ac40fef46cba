"""Retrieval, four ways: a question to passages, filters, a context for a language model, and pages as images.

python vllm_examples/retrieval_example.py
python vllm_examples/retrieval_example.py --model jinaai/jina-embeddings-v4 --engine vllm
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.index import Hit, Index
from jina_embeddings.apps.retrieval import context, index_files

MANUAL = """
# Coffee machine

## Cleaning

Run water with vinegar through the machine once a month. It removes the lime.

## Making coffee

Fill the tank, put ground coffee into the filter, and press the red button.

## Guarantee

The machine is guaranteed for two years. Send it back with the receipt.
"""

TRAVEL = """
# Trains

The train to the airport leaves every twenty minutes from platform three.

# Museums

All museums are closed on Mondays. Children enter free.
"""


def ask_a_question(index: Index) -> None:
    """Embeds a question and passages, each with its prompt; the nearest passage is the answer."""
    hits = index.search("how do I get to the airport", limit=3)
    show(hits)
    assert hits[0].passage.title == "Trains"


def ask_within_a_filter(index: Index) -> None:
    """Searches only passages that match a filter: here the file's name; any metadata may be one."""
    hits = index.search("is it open on Monday", limit=2, filters={"path": "*machine*", "kind": "text"})
    show(hits)
    assert all(hit.passage.path.endswith("machine.md") for hit in hits)


def make_a_context(index: Index) -> None:
    """Makes a context for a language model: the best passages with their sources, within a limit of tokens."""
    hits = index.search("how long is the guarantee", filters={"kind": "text"})
    text = context(hits, 120, index.model.count_tokens)
    print(text)
    assert "two years" in text
    assert index.model.count_tokens([text])[0] <= 120
    # A plain function, as RAG frameworks expect it.
    retrieve = index.retriever(limit=1, filters={"kind": "text"})
    assert retrieve("how long is the guarantee")[0]["title"] == "Coffee machine > Guarantee"


def find_pages(index: Index, files: Path) -> None:
    """Embeds pages and pictures as images, finds them by words and by a picture, and reranks them by multi-vectors."""
    page = index.search("a drawing", filters={"kind": "page"})
    show(page)
    assert [hit.passage.source.rpartition("/")[2] for hit in page] == ["drawing.pdf#page=1"]

    alike = index.search(files / "circle.png", filters={"kind": ["page", "image"]}, rerank=True)
    show(alike)
    assert {hit.passage.kind for hit in alike} == {"page", "image"}
    # A picture is more similar to itself than to a page that contains it.
    assert alike[0].passage.path.endswith("circle.png")


def show(hits: Sequence[Hit]) -> None:
    for hit in hits:
        print(f"{hit.score:.2f}  {Path(hit.passage.source).name}  {hit.passage.title}")


def write_files(folder: Path) -> None:
    (folder / "machine.md").write_text(MANUAL.lstrip())
    (folder / "travel.md").write_text(TRAVEL.lstrip())
    circle = Image.new("RGB", (200, 200), "white")
    ImageDraw.Draw(circle).ellipse((40, 40, 160, 160), fill="navy")
    circle.save(folder / "circle.png")
    page = Image.new("RGB", (420, 594), "white")
    page.paste(circle, (110, 60))
    page.save(folder / "drawing.pdf")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pocket", help="a folder, a hub id or a bundled model's name")
    parser.add_argument("--engine", default="auto", help="auto, vllm or transformers")
    arguments = parser.parse_args()
    with JinaEmbeddings(arguments.model, engine=arguments.engine) as model, tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "files"
        files.mkdir()
        write_files(files)
        index, summary = index_files([files], Path(folder) / "index", model)
        print(f"{summary.documents} documents, {len(index)} passages")
        for feature in (ask_a_question, ask_within_a_filter, make_a_context):
            print(f"\n{feature.__name__.replace('_', ' ')}")
            feature(index)
        print("\nfind pages")
        find_pages(index, files)


if __name__ == "__main__":
    main()
