"""Files are cut into passages at their headings, of bounded size, with correct offsets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from jina_embeddings.apps.documents import CutOptions, Files
from jina_embeddings.apps.documents.cutting import passages_of
from jina_embeddings.apps.documents.sections import Section, cut, paragraphs
from jina_embeddings.apps.index import Document, Passage
from jina_embeddings.errors import InputError, OptionError
from jina_embeddings.pipeline.rows import Failure, LeftOut

MARKDOWN = """# Guide

Welcome.

## Install

Run this:

```sh
# not a heading
pip install it
```

| a | b |
|---|---|
| 1 | 2 |

### On *Windows*

Click.

# Other

Last.
"""

FRONT = """---
title: My doc
tags: [a, b]
draft: no
---

Body of text.

# Part

More.
"""

HTML = """<!doctype html><html><head><title>No</title><style>p{}</style></head><body>
<nav>Menu</nav><main>
<h1>Guide<a href="#g">¶</a></h1><p>Welcome to <b>the</b>
guide &amp; more.</p><script>evil()</script>
<h2>Install</h2><ul><li>First<li>Second</ul><pre>a = 1
  b</pre></main><p>Footer</p></body></html>"""


def passages(path: Path, form: str, **options: Any) -> list[Passage]:
    found = list(passages_of(str(path), str(path), form, "digest", CutOptions(**options)))
    assert all(isinstance(passage, Passage) for passage in found)
    return found  # type: ignore[return-value]


def test_markdown_is_cut_at_its_headings(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(MARKDOWN)
    found = passages(tmp_path / "a.md", "markdown")
    assert [(p.title, p.line, p.end_line) for p in found] == [
        ("Guide", 3, 3),
        ("Guide > Install", 7, 16),
        ("Guide > Install > On *Windows*", 20, 20),
        ("Other", 24, 24),
    ]
    assert all(MARKDOWN[p.start : p.end] == p.text for p in found)
    assert "# not a heading" in found[1].text


def test_front_matter_is_metadata(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(FRONT)
    body, part = passages(tmp_path / "a.md", "markdown")
    assert (body.title, body.text, body.line) == ("My doc", "Body of text.", 7)
    assert (part.title, FRONT[part.start : part.end]) == ("My doc > Part", "More.")
    assert body.metadata == {"format": "markdown", "title": "My doc", "tags": ("a", "b"), "draft": "no"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('+++\ntitle = "T"\nday = 2024-01-02\n+++\nBody.', [("T", "Body.")]),
        ("---\ntitle: Guide\n---\n# Guide\n\nBody.", [("Guide", "Body.")]),
        ("---\n\nA rule above.\n\n---\n", [("", "---\n\nA rule above.\n\n---")]),
        ("---\nbroken: [\n---\nBody.", [("", "---"), ("broken: [", "Body.")]),
        ("---\nnever closed", [("", "---\nnever closed")]),
        ("Body.\n\n---\ntitle: T\n---\n", [("", "Body.\n\n---")]),
    ],
)
def test_what_only_looks_like_front_matter_is_text(tmp_path: Path, text: str, expected: list[tuple[str, str]]) -> None:
    (tmp_path / "a.md").write_text(text)
    assert [(p.title, p.text) for p in passages(tmp_path / "a.md", "markdown")] == expected


def test_html_is_cut_at_its_headings_and_says_where_in_the_source(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(HTML)
    found = passages(tmp_path / "a.html", "html")
    assert [(p.title, p.text) for p in found] == [
        ("Guide", "Welcome to the guide & more."),
        ("Guide > Install", "First\n\nSecond\n\na = 1\n  b"),
    ]
    assert HTML[found[0].start : found[0].end] == "Welcome to <b>the</b>\nguide &amp; more."
    assert HTML[found[1].start :].startswith("First<li>Second")
    assert [(p.line, p.end_line) for p in found] == [(3, 4), (5, 6)]


@pytest.mark.parametrize("page", ["<p>a<main-ish>", "<!-- <main> --><p>text", "<svg><p>never closed", "<h1>only", "<"])
def test_odd_html_is_no_error(tmp_path: Path, page: str) -> None:
    (tmp_path / "a.html").write_text(page)
    passages(tmp_path / "a.html", "html")


@given(st.text(alphabet="ab. \n\t漢é", max_size=400), st.integers(20, 80))
def test_passages_are_bounded_have_correct_offsets_and_lose_no_text(text: str, size: int) -> None:
    found = [block for _, block in cut([Section("", tuple(paragraphs(text)))], size)]
    assert all(len(block.text) <= size for block in found)
    assert "".join("".join(block.text.split()) for block in found) == "".join(text.split())
    ends = [0]
    for block in found:
        assert block.start >= ends[-1]
        assert text[block.start : block.end].split() == block.text.split()
        ends.append(block.end)


def test_long_paragraphs_are_cut_at_sentences(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("One two three four five six seven. " * 20)
    found = passages(tmp_path / "a.txt", "text", size=200)
    assert len(found) > 3
    assert all(p.text.endswith("seven.") for p in found)


def test_a_text_of_headings_only_is_a_passage(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# One\n")
    assert [p.text for p in passages(tmp_path / "a.md", "markdown")] == ["One"]


def pdf_with_text(path: Path, *pages: str) -> None:
    """A PDF with a line of text on each page, made by PDFium."""
    import ctypes

    import pypdfium2 as pdfium
    import pypdfium2.raw as raw

    document = pdfium.PdfDocument.new()
    for text in pages:
        page = document.new_page(300, 200)
        thing = raw.FPDFPageObj_NewTextObj(document, b"Helvetica", 12.0)
        encoded = (text + "\0").encode("utf-16-le")
        raw.FPDFText_SetText(thing, ctypes.cast(ctypes.create_string_buffer(encoded), raw.FPDF_WIDESTRING))
        raw.FPDFPageObj_Transform(thing, 1, 0, 0, 1, 20, 100)
        raw.FPDFPage_InsertObject(page, thing)
        page.gen_content()
    document.save(str(path))


def test_a_pdf_has_text_and_pages(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    pdf_with_text(path, "Hello first page", "And a second")
    both = passages(path, "pdf")
    assert [(p.kind, p.text, p.source) for p in both] == [
        ("text", "Hello first page", f"{path}#page=1"),
        ("text", "And a second", f"{path}#page=2"),
        ("page", "", f"{path}#page=1"),
        ("page", "", f"{path}#page=2"),
    ]
    assert [p.metadata["page"] for p in both] == ["1", "2", "1", "2"]
    assert {p.kind for p in passages(path, "pdf", pdf="text")} == {"text"}
    assert {p.kind for p in passages(path, "pdf", pdf="pages")} == {"page"}
    Image.new("RGB", (60, 60)).save(tmp_path / "scan.pdf")
    with pytest.raises(InputError, match="a PDF without text"):
        passages(tmp_path / "scan.pdf", "pdf", pdf="text")


def test_records_are_passages(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "one", "id": "x"}\nbroken\n{"image": "a.png"}\n')
    one, bad, image = passages_of(str(tmp_path / "rows.jsonl"), "rows.jsonl", "jsonl", "d", CutOptions())
    assert isinstance(one, Passage)
    assert (one.text, one.metadata["id"]) == ("one", "x")
    assert isinstance(bad, Failure)
    assert isinstance(image, Passage)
    assert (image.kind, image.image) == ("image", str(tmp_path / "a.png"))


@pytest.mark.parametrize("options", [{"size": 3}, {"size": "x"}, {"pdf": "all"}])
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        CutOptions(**options)


def test_bad_files_are_reported_and_the_rest_is_read(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("good")
    (tmp_path / "binary.txt").write_bytes(b"\0\1\2" * 100)
    (tmp_path / "latin.txt").write_bytes("é".encode("latin-1"))
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7 nothing")
    (tmp_path / "blob").write_bytes(b"\0\1\2")
    (tmp_path / "empty.md").write_text("")
    with open(tmp_path / "big.log", "wb") as file:
        for _ in range(200):
            file.write(b"a line of a log\n" * 2**16)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "up").symlink_to(tmp_path)
    items = list(Files([str(tmp_path)]).documents())
    good, failed, left_out = [], {}, []
    for item in items:
        if isinstance(item, LeftOut):
            left_out.append(Path(item.id).name)
        elif isinstance(item, Failure):
            failed[Path(item.id).name] = str(item.error)
        else:
            try:
                list(item.read())
                good.append(Path(item.path).name)
            except InputError as error:
                failed[Path(item.path).name] = str(error)
    assert good == ["good.txt"]
    assert sorted(left_out) == ["blob", "empty.md"]
    assert sorted(failed) == ["big.log", "binary.txt", "broken.pdf", "latin.txt", "loop", "up"]
    assert "over 16 MiB" in failed["big.log"]


def test_an_unlisted_folder_keeps_what_it_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked" / "a.txt").write_text("a")
    listed = os.listdir

    def refuse(path: str) -> list[str]:
        if path.endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "listdir", refuse)
    files = Files([str(tmp_path)])
    (item,) = files.documents()
    assert isinstance(item, Failure)
    assert "can't be listed" in str(item.error)
    assert not files.gone(str(tmp_path / "locked" / "a.txt"))


def test_what_has_gone(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    files = Files([str(tmp_path)])
    assert [item.path for item in files.documents() if isinstance(item, Document)] == [str(tmp_path / "a.txt")]
    assert files.gone(str(tmp_path / "b.txt"))
    assert not files.gone("/somewhere/else.txt")
    assert not files.gone(str(tmp_path) + "-not/inside.txt")


def test_a_documents_digest_follows_content_and_options_only(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")

    def digest(**options: Any) -> str:
        (item,) = Files([str(tmp_path / "a.txt")], CutOptions(**options)).documents()
        assert isinstance(item, Document)
        return item.digest

    first = digest()
    os.utime(tmp_path / "a.txt", (0, 0))
    assert digest() == first
    assert digest(size=100) != first
    (tmp_path / "a.txt").write_text("b")
    assert digest() != first
