"""HTML as browsers read it: repaired, in the encoding that it declares, without navigation, its sentences whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from jina_embeddings.apps.documents import CutOptions
from jina_embeddings.apps.documents.cutting import passages_of
from jina_embeddings.apps.documents.html import html_sections
from jina_embeddings.apps.index import Passage
from jina_embeddings.errors import InputError


def texts(page: str) -> list[str]:
    return [block.text for section in html_sections(page) for block in section.blocks]


def test_a_head_that_is_never_closed_ends_where_the_page_begins() -> None:
    assert texts("<html><head><title>T</title><body><p>Hello</p></body></html>") == ["Hello"]


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("<body><nav><a href=x>Home</a><p>Hello, world</p></body>", "Hello, world"),
        ("<body><nav><a href=/>Home</a><main><h1>Tea</h1><p>Pour.</p></main></body>", "Pour."),
        ("<body><footer><h1>Tea</h1><p>Pour boiling water.</p></body>", "Pour boiling water."),
    ],
)
def test_navigation_that_is_never_closed_swallows_nothing(page: str, expected: str) -> None:
    assert texts(page)[-1] == expected


@pytest.mark.parametrize("element", ["template", "script", "style", "noscript", "nav", "footer", "button"])
def test_what_is_no_text_of_the_page_is_left_out(element: str) -> None:
    assert texts(f"<body><{element}><p>No</p></{element}><p>Yes, it is.</p></body>") == ["Yes, it is."]


@pytest.mark.parametrize("element", ["abbr", "acronym", "big", "code", "em", "span", "u", "my-element", "o:p"])
def test_elements_within_a_line_split_no_sentence(element: str) -> None:
    assert texts(f"<p>Ask a <{element}>LUG</{element}>, or <{element}>two</{element}>.") == ["Ask a LUG, or two."]


def test_a_div_within_a_word_splits_no_sentence() -> None:
    page = '<p>Local <a href="x">LUG</a>s or groups, <div class="acronym">ABC</div>s.</p><p>More.</p>'
    assert texts(page) == ["Local LUGs or groups, ABCs.", "More."]
    assert texts("<p>One.</p><div>Two</div>three") == ["One.", "Two", "three"]


def test_cells_of_a_row_stand_in_one_line() -> None:
    table = "<table><caption>Ages</caption><tr><th>Name<th>Age<tr><td><p>Ann</p><td><div>5</div></table>"
    assert texts(f"<p>Before{table}<p>After") == ["Before", "Ages\nName | Age\nAnn | 5", "After"]


def test_a_table_of_a_whole_page_is_read_by_its_cells() -> None:
    page = "<table><tr><td><h1>Guide</h1><p>One.</p><p>Two.</p><td><pre>a\n b</pre></table>"
    assert texts(page) == ["One.", "Two.", "a\n b"]


def test_lists_of_links_within_the_site_are_left_out() -> None:
    page = """<div id="banner"><a href="http://x.org/get">Get the book</a></div>
        <ul class="docnav"><li><a href="a.html"><b>Prev</b></a><li>The Handbook</ul>
        <div class="toc"><dl><dt><a href="#a">Intro</a></dl></div>
        <ul><li><a href="b.html">Install</a><li><a href="c.html">Remove</a></ul>
        <h1><a href="#t">Title</a></h1><p>See <a href="d.html">here</a> for more.</p>
        <ul><li><a href="https://elsewhere.org">Elsewhere</a></ul>"""
    assert texts(page) == ["See here for more.", "Elsewhere"]
    assert html_sections(page)[-1].title == "Title"


def test_markup_that_browsers_pass_over_is_no_text() -> None:
    page = '<?xml version="1.0"?>\n<!DOCTYPE html><p>One<![if !lists]>, two<![endif]><?php x ?>, three</p><p'
    assert texts(page) == ["One, two, three"]


def test_blocks_lead_back_to_the_source() -> None:
    page = "<?xml version='1.0'?><p>One &amp; <b>two</b>, three</p>\n<pre>\nfour</pre>"
    spans = [page[block.start : block.end] for section in html_sections(page) for block in section.blocks]
    assert spans == ["One &amp; <b>two</b>, three", "four"]


def passages(path: Path, content: bytes) -> list[str]:
    path.write_bytes(content)
    items = passages_of(str(path), path.name, "html", "digest", CutOptions())
    return [item.text for item in items if isinstance(item, Passage)]


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        ("<meta charset=iso-8859-1>", "windows-1252"),
        ('<meta http-equiv="Content-Type" content="text/html; charset=ISO-8859-1">', "latin-1"),
        ('<?xml version="1.0" encoding="iso-8859-15"?>', "iso-8859-15"),
        ("<meta charset='shift_jis'>", "shift_jis"),
        ("<meta charset=utf-8>", "utf-8"),
        ("<title>says nothing</title>", "utf-8"),
        ("<title>says nothing</title>", "windows-1252"),
        ("<meta charset=unheard-of>", "utf-8"),
        ("<meta charset=utf-8>", "utf-16"),
        ("", "utf-8-sig"),
    ],
)
def test_a_page_is_read_in_its_encoding(tmp_path: Path, head: str, encoding: str) -> None:
    text = "日本" if encoding == "shift_jis" else "déjà vu"
    assert passages(tmp_path / "a.html", f"{head}<p>{text}</p>".encode(encoding)) == [text]


def test_a_page_that_is_not_what_it_says_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not UTF-8 at byte"):
        passages(tmp_path / "a.html", b"<meta charset=utf-8><p>d\xe9j\xe0</p>")


def test_control_characters_are_spaces_and_soft_hyphens_nothing(tmp_path: Path) -> None:
    found = passages(tmp_path / "a.html", b"<p>photo&shy;synthesis\x01is &#x7f;here")
    assert [text.split() for text in found] == [["photosynthesis", "is", "here"]]
