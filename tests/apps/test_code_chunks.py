"""Source code is cut at its definitions in every language, and no text is lost."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jina_embeddings.apps.code import Chunk, cut
from jina_embeddings.apps.code.chunks import MAX_CHARS
from jina_embeddings.apps.code.definitions import definitions
from jina_embeddings.apps.code.languages import LANGUAGES, language_of, parser_of

SAMPLES = Path(__file__).parent / "code_samples"

# First and last line of every piece, and its symbol.
EXPECTED: dict[str, list[tuple[int, int, str]]] = {
    "sample.py": [(1, 6, ""), (7, 11, "Stack"), (12, 15, "Stack.push"), (17, 20, "Stack.top"), (23, 25, "run")],
    "sample.js": [
        (1, 2, ""),
        (3, 6, "add"),
        (8, 10, "twice"),
        (12, 13, "Stack"),
        (14, 16, "Stack.push"),
        (19, 21, "exports.half"),
    ],
    "sample.ts": [
        (1, 3, "Shape"),
        (5, 7, "Base"),
        (8, 10, "Base.push"),
        (13, 13, "Tools"),
        (14, 16, "Tools.sum"),
    ],
    "sample.tsx": [(1, 3, "Button")],
    "sample.go": [(1, 4, ""), (5, 8, "Stack"), (10, 13, "Stack.Push"), (15, 17, "New")],
    "sample.rs": [
        (1, 2, ""),
        (3, 7, "Stack"),
        (9, 9, "Stack"),
        (10, 13, "Stack.push"),
        (16, 16, "tools"),
        (17, 19, "tools.sum"),
    ],
    "Sample.java": [(1, 4, ""), (5, 8, "Stack"), (9, 11, "Stack.Stack"), (13, 16, "Stack.toString")],
    "sample.c": [(1, 2, ""), (3, 6, "point"), (8, 12, "find"), (14, 16, "main")],
    "sample.cpp": [
        (1, 2, ""),
        (3, 4, "demo"),
        (5, 7, "demo.Stack"),
        (8, 8, "demo.Stack.push"),
        (9, 11, "demo.Stack.~Stack"),
        (12, 15, "demo.Stack"),
        (17, 19, "demo.Stack.size"),
        (20, 21, "demo"),
    ],
    "sample.rb": [
        (1, 2, ""),
        (3, 3, "Demo"),
        (4, 6, "Demo.Stack"),
        (7, 10, "Demo.Stack.push"),
        (12, 14, "Demo.Stack.build"),
    ],
    "sample.php": [(1, 3, ""), (4, 7, "Stack"), (8, 10, "Stack.push"), (13, 15, "sum")],
    "Sample.cs": [(1, 2, ""), (3, 4, "Demo"), (5, 8, "Demo.Stack"), (9, 14, "Demo.Stack.Push")],
    "sample.sh": [(1, 3, ""), (4, 7, "greet"), (9, 11, "leave"), (12, 13, "")],
}


def check(text: str, chunks: list[Chunk]) -> None:
    """Chunks are consecutive parts of the file, and only blank lines and closing words are left out."""
    at = 0
    between = []
    for chunk in chunks:
        assert text[chunk.start : chunk.end] == chunk.text
        assert chunk.start >= at
        assert chunk.first == text.count("\n", 0, chunk.start) + 1
        assert chunk.first <= chunk.last
        assert len(chunk.text) <= MAX_CHARS
        between.append(text[at : chunk.start])
        at = chunk.end
    left = " ".join([*between, text[at:]])
    assert set(re.findall(r"\w{2,}", left)) <= {"end", "fi", "done", "esac", "else", "endif", "pass", "php"}


@pytest.mark.parametrize("name", EXPECTED)
def test_every_language_is_cut_at_its_definitions(name: str) -> None:
    text = (SAMPLES / name).read_text(encoding="utf-8")
    chunks = list(cut(name, text))
    assert [(chunk.first, chunk.last, chunk.symbol) for chunk in chunks] == EXPECTED[name]
    check(text, chunks)


def test_every_language_has_a_sample_and_a_grammar_that_knows_its_nodes() -> None:
    assert {language_of(name) for name in EXPECTED} == set(LANGUAGES)
    for language in LANGUAGES:
        grammar = parser_of(language).language
        known = {grammar.node_kind_for_id(number) for number in range(grammar.node_kind_count)}
        assert language.whole | language.open <= known | {"module", "type_alias"}, language.name


def test_real_files_lose_nothing() -> None:
    paths = [*Path(re.__file__).parent.parent.glob("*.py")][:60]
    assert len(paths) == 60
    for path in paths:
        text = path.read_text(encoding="utf-8", errors="replace")
        check(text, list(cut(path.name, text)))


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from([language.suffixes[0] for language in LANGUAGES] + [".txt"]),
    st.lists(
        st.sampled_from(
            ["def f():", "class A {", "}", "\x0c", "\r", "\r\n", "é\U0001f600", "(", " x", "\n", '"', "//c"]
        )
    ),
)
def test_any_text_can_be_cut(suffix: str, parts: list[str]) -> None:
    text = "".join(parts)
    check(text, list(cut(f"a{suffix}", text)))


def test_long_pieces_are_cut_at_a_blank_line() -> None:
    lines = [f"    value_{number} = {number}\n" for number in range(400)]
    lines[150] = "\n"
    text = "def long():\n" + "".join(lines)
    chunks = list(cut("a.py", text))
    assert len(chunks) > 1
    assert {chunk.symbol for chunk in chunks} == {"long"}
    assert chunks[0].last == 152
    check(text, chunks)


def test_a_line_longer_than_a_piece_is_cut_too() -> None:
    text = "var a = 1;\n" + "x = 1; " * 3000 + "\nvar b = 2;\n"
    chunks = list(cut("a.min.js", text))
    assert [chunk.first for chunk in chunks][1:-1] == [2] * (len(chunks) - 2)
    check(text, chunks)


def test_other_text_is_cut_by_lines() -> None:
    text = "".join(f"Line {number} of a text that is no code.\n" for number in range(300))
    chunks = list(cut("notes.txt", text))
    assert len(chunks) > 2
    assert {chunk.symbol for chunk in chunks} == {""}
    check(text, chunks)


def test_an_empty_file_has_no_chunks() -> None:
    assert list(cut("a.py", "")) == list(cut("a.txt", "\n\n")) == []


def test_nesting_deeper_than_pythons_stack() -> None:
    text = "x = " + "(" * 20_000 + ")" * 20_000 + "\ndef f(): return 1\n"
    assert [chunk.symbol for chunk in cut("a.py", text)][-1] in ("f", "")


def test_broken_syntax_keeps_the_definitions_around_it() -> None:
    text = "def one():\n    return 1\n\n\ndef two(:\n    return 2\n\n\ndef three():\n    return 3\n"
    assert {"one", "three"} <= {chunk.symbol for chunk in cut("a.py", text)}


@pytest.mark.parametrize(
    ("path", "text", "name"),
    [
        ("a.PY", "", "python"),
        ("run", "#!/usr/bin/env python3\n", "python"),
        ("run", "#!/usr/bin/env -S python3 -u\n", "python"),
        ("run", "#!/usr/bin/env -i -S LANG=C python3.11\n", "python"),
        ("run", "#! /opt/bin/python3.11 -I\n", "python"),
        ("run", "#!/usr/bin/env -S\n", None),
        ("run", "#!/usr/bin/perl5.36\n", None),
        ("run", "#!/bin/sh -e\n", "bash"),
        ("run", "#!\n", None),
        ("a.txt", "", None),
    ],
)
def test_languages_are_found_by_suffix_or_by_the_first_line(path: str, text: str, name: str | None) -> None:
    found = language_of(path, text)
    assert (found and found.name) == name


def test_a_struct_that_is_only_named_is_no_definition() -> None:
    language = language_of("a.c")
    assert language is not None
    found = definitions(b"int f(struct stat *s)\n{\n  struct stat other;\n  return 0;\n}\n", language)
    assert [definition.symbol for definition in found] == ["f"]
