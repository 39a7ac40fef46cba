"""Office documents, messages, notebooks and packed files become passages, or are named with the reason."""

from __future__ import annotations

import gzip
import io
import zipfile
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import nbformat
import openpyxl
import pytest
from pptx import Presentation
from pptx.util import Inches

from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.documents import CutOptions
from jina_embeddings.apps.documents.cutting import format_of, passages_of
from jina_embeddings.apps.index import Passage
from jina_embeddings.apps.retrieval import index_files
from jina_embeddings.errors import InputError
from jina_embeddings.pipeline.readers import Reader
from jina_embeddings.pipeline.rows import LeftOut, Row

_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"


def passages(path: Path, **options: Any) -> list[Passage]:
    items = passages_of(str(path), path.name, format_of(str(path)), "digest", CutOptions(**options))
    return [item for item in items if isinstance(item, Passage)]


def write_docx(path: Path) -> None:
    """A heading, a paragraph and a table, as Word has them."""

    def paragraph(text: str, style: str = "") -> str:
        properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
        return f"<w:p>{properties}<w:r><w:t>{text}</w:t></w:r></w:p>"

    cells = "".join(f"<w:tc>{paragraph(text)}</w:tc>" for text in ("Name", "Age"))
    body = paragraph("Tea", "Heading1") + paragraph("Pour boiling water.") + f"<w:tbl><w:tr>{cells}</w:tr></w:tbl>"
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{_PACKAGE}/content-types"><Default Extension="rels" ContentType="application/xml"/>'
            f'<Override PartName="/word/document.xml" ContentType="{kind}.document.main+xml"/></Types>',
        )
        file.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="a" Type="{_OFFICE}/officeDocument" '
            'Target="word/document.xml"/></Relationships>',
        )
        file.writestr(
            "word/styles.xml",
            f'<w:styles xmlns:w="{_WORD}"><w:style w:type="paragraph" w:styleId="Heading1">'
            '<w:name w:val="heading 1"/></w:style></w:styles>',
        )
        file.writestr(
            "word/_rels/document.xml.rels",
            f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="b" Type="{_OFFICE}/styles" '
            'Target="styles.xml"/></Relationships>',
        )
        file.writestr("word/document.xml", f'<w:document xmlns:w="{_WORD}"><w:body>{body}</w:body></w:document>')


def write_pptx(path: Path) -> None:
    presentation = Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[1])
    slide.shapes.title.text = "Tea"
    slide.placeholders[1].text = "Pour water\nWait"
    slide.notes_slide.notes_text_frame.text = "Smile."
    second = presentation.slides.add_slide(presentation.slide_layouts[6])
    table = second.shapes.add_table(1, 2, *[Inches(1)] * 4).table
    table.cell(0, 0).text, table.cell(0, 1).text = "Name", "Age"
    presentation.save(str(path))


def write_xlsx(path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.title = "Prices"
    for row in (["Name", "Price"], ["Bread", 2.5], [None, None], ["Tea", 3]):
        book.active.append(row)
    book.create_sheet("Empty")
    book.save(path)


def write_eml(path: Path) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "ann@a.org", "bob@b.org", "Tea tomorrow"
    message.set_content("Shall we have tea, déjà vu?\n")
    message.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="menu.pdf")
    path.write_bytes(message.as_bytes())


def write_notebook(path: Path) -> None:
    cells = [
        nbformat.v4.new_markdown_cell("# Analysis\n\nFirst look."),
        nbformat.v4.new_code_cell("print('```')", outputs=[nbformat.v4.new_output("stream", text="```")]),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


def test_a_docx_is_cut_at_its_headings(tmp_path: Path) -> None:
    write_docx(tmp_path / "a.docx")
    (found,) = passages(tmp_path / "a.docx")
    assert (found.title, found.text) == ("Tea", "Pour boiling water.\n\nName | Age")
    assert (found.source, found.metadata) == ("a.docx", {"format": "docx"})


def test_a_pptx_has_passages_of_its_slides(tmp_path: Path) -> None:
    write_pptx(tmp_path / "a.pptx")
    assert [(p.title, p.text, p.source) for p in passages(tmp_path / "a.pptx")] == [
        ("Tea", "Pour water\nWait\n\nSmile.", "a.pptx#page=1"),
        ("", "Name | Age", "a.pptx#page=2"),
    ]


def test_rows_of_an_xlsx_are_lines(tmp_path: Path) -> None:
    write_xlsx(tmp_path / "a.xlsx")
    (found,) = passages(tmp_path / "a.xlsx")
    assert (found.title, found.text) == ("Prices", "Name | Price\nBread | 2.5\nTea | 3")


def test_a_message_has_its_headers_as_metadata_and_names_its_attachments(tmp_path: Path) -> None:
    write_eml(tmp_path / "a.eml")
    text, attachment = passages_of(str(tmp_path / "a.eml"), "a.eml", "mail", "digest", CutOptions())
    assert isinstance(text, Passage)
    assert (text.title, text.text) == ("Tea tomorrow", "Shall we have tea, déjà vu?")
    assert (text.metadata["from"], text.metadata["to"]) == ("ann@a.org", "bob@b.org")
    assert isinstance(attachment, LeftOut)
    assert attachment.id == "a.eml (menu.pdf)"
    (tmp_path / "b.eml").write_bytes(
        b"Subject: =?iso-8859-1?q?d=E9j=E0?=\nContent-Type: text/html; charset=iso-8859-1\n\n<h1>A</h1><p>\xe9t\xe9"
    )
    (html,) = passages(tmp_path / "b.eml")
    assert (html.title, html.text) == ("déjà > A", "été")


def test_a_notebook_is_its_texts_and_its_code(tmp_path: Path) -> None:
    write_notebook(tmp_path / "a.ipynb")
    (found,) = passages(tmp_path / "a.ipynb")
    assert (found.title, found.text) == ("Analysis", "First look.\n\n````python\nprint('```')\n````")


@pytest.mark.parametrize("name", ["a.docx", "a.pptx", "a.xlsx", "a.ipynb", "a.eml", "a.txt.gz", "a.jsonl.gz"])
def test_a_broken_file_is_a_failure(tmp_path: Path, name: str, fake_model: JinaEmbeddings) -> None:
    (tmp_path / name).write_bytes(b"\x1f\x8b\x08 nothing")
    (tmp_path / "good.txt").write_text("good")
    _, summary = index_files([tmp_path], tmp_path / "own.index", fake_model)
    assert [failure.id for failure in summary.failures] == [name]
    assert summary.embedded == 1


@pytest.mark.long
def test_an_archive_that_unpacks_to_too_much_is_a_failure(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(tmp_path / "a.docx", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file,
        file.open("word/x", "w") as entry,
    ):
        for _ in range(2**9 + 1):
            entry.write(bytes(2**20))
    with pytest.raises(InputError, match="unpacks to over 512 MiB"):
        passages(tmp_path / "a.docx")


def test_packed_files_are_read(tmp_path: Path) -> None:
    for name, text in (
        ("a.txt", "Bread."),
        ("b.md", "# One\n\nTea."),
        ("c.html", "<p>Rain."),
        ("d.jsonl", '{"text": "Sun."}\n'),
        ("e.tsv", "text\tlang\nFog.\ten\n"),
    ):
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
    found = [passage for path in sorted(tmp_path.iterdir()) for passage in passages(path)]
    assert [(p.text, p.title, p.source) for p in found] == [
        ("Bread.", "", "a.txt.gz:1"),
        ("Tea.", "One", "b.md.gz:3"),
        ("Rain.", "", "c.html.gz:1"),
        ("Sun.", "", "d.jsonl.gz:1"),
        ("Fog.", "", "e.tsv.gz:2"),
    ]
    rows = list(Reader().read([str(tmp_path)]))
    assert len(rows) == 5
    assert all(isinstance(row, Row) for row in rows)
    (tmp_path / "f.txt.gz").write_bytes(gzip.compress(bytes(2**25)))
    (tmp_path / "g.png.gz").write_bytes(gzip.compress(io.BytesIO(b"x").getvalue()))
    assert len([row for row in Reader().read([str(tmp_path)]) if isinstance(row, Row)]) == 5
