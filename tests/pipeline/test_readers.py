"""Which rows come out of files, folders and standard input."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from jina_embeddings.pipeline.readers import Reader
from jina_embeddings.pipeline.rows import Failure, LeftOut, Row
from jina_embeddings.pipeline.text import MAX_TEXT_BYTES

Tree = dict[str, str | bytes]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def png(colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), colour).save(buffer, "PNG")
    return buffer.getvalue()


def pdf(num_pages: int) -> bytes:
    buffer = io.BytesIO()
    pages = [Image.new("RGB", (50, 70), "white") for _ in range(num_pages)]
    pages[0].save(buffer, "PDF", save_all=True, append_images=pages[1:])
    return buffer.getvalue()


def make(tree: Tree) -> None:
    for name, content in tree.items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def read(*paths: str, **options: Any) -> list[Row | Failure | LeftOut]:
    return list(Reader(**options).read(paths))


def ids(*paths: str) -> list[str]:
    return [item.id for item in read(*paths) if isinstance(item, Row)]


def only_failure(*paths: str, **options: Any) -> str:
    (item,) = read(*paths, **options)
    assert isinstance(item, Failure)
    return f"{item.id}: {item.error}"


def test_a_text_file_is_one_row() -> None:
    make({"a.md": "# Title\n\nbody\n"})
    assert read("a.md") == [Row("a.md", "text", {"text": "# Title\n\nbody\n"})]


def test_source_code_and_files_without_a_suffix_are_texts() -> None:
    make({"main.py": "x = 1", "page.html": "<p>hi", "README": "hello", "odd.xyz": "ok", "cut": "é" * 5000 + "x"})
    assert [item.kind for item in read(".") if isinstance(item, Row)] == ["text"] * 5


def test_a_byte_order_mark_is_no_part_of_a_text() -> None:
    make({"a.txt": b"\xef\xbb\xbfhello"})
    assert read("a.txt") == [Row("a.txt", "text", {"text": "hello"})]


@pytest.mark.parametrize("name", ["a.png", "A.PNG", "photo.jpeg", "no_suffix", "wrong.dat"])
def test_an_image_is_one_row_whatever_its_name(name: str) -> None:
    make({name: png()})
    assert read(name) == [Row(name, "image", {"image": Path(name)})]


@pytest.mark.parametrize("name", ["paper.pdf", "paper.PDF", "paper"])
def test_a_pdf_is_a_row_a_page(name: str) -> None:
    make({name: pdf(3)})
    assert read(name) == [Row(f"{name}#page={n}", "image", {"image": Path(f"{name}#page={n}")}) for n in (1, 2, 3)]


def test_a_broken_pdf_is_one_failure() -> None:
    make({"bad.pdf": b"%PDF-1.4 nothing"})
    assert "bad.pdf" in only_failure("bad.pdf")
    assert "encrypted" in only_failure("bad.pdf")


def test_without_pypdfium2_a_pdf_is_a_failure_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypdfium2", None)
    make({"a.pdf": pdf(1), "b.txt": "text"})
    failed, row = read("a.pdf", "b.txt")
    assert isinstance(failed, Failure)
    assert "pip install 'jina-embeddings-vllm[pdf]'" in str(failed.error)
    assert isinstance(row, Row)


def test_paths_keep_their_order_and_folders_are_sorted() -> None:
    make({"d/b.txt": "b", "d/a/z.txt": "z", "d/a/y.txt": "y", "d/c.txt": "c", "d/B.txt": "B", "0.txt": "0"})
    assert ids("d", "0.txt") == ["d/B.txt", "d/a/y.txt", "d/a/z.txt", "d/b.txt", "d/c.txt", "0.txt"]


def test_hidden_files_are_skipped_in_folders_only() -> None:
    make({"d/.git/config": "x", "d/.env": "x", "d/seen.txt": "x"})
    assert ids("d") == ["d/seen.txt"]
    assert ids("d/.env", "d/.git") == ["d/.env", "d/.git/config"]


@pytest.mark.parametrize(("link", "target"), [("d/sub/up", ".."), ("d/self", "."), ("d/sub/whole", "../../d")])
def test_links_that_lead_back_up_end(link: str, target: str) -> None:
    make({"d/sub/a.txt": "a"})
    Path(link).symlink_to(target)
    assert [name.rpartition("/")[2] for name in ids("d")] == ["a.txt"]


def test_a_linked_folder_is_read_once_and_a_linked_file_too() -> None:
    make({"real/a.txt": "a"})
    Path("d").mkdir()
    Path("d/one").symlink_to(Path("real").absolute())
    Path("d/two").symlink_to(Path("real").absolute())
    Path("d/file.txt").symlink_to(Path("real/a.txt").absolute())
    assert ids("d") == ["d/file.txt", "d/one/a.txt"]


def test_a_broken_link_is_a_failure() -> None:
    Path("d").mkdir()
    Path("d/gone.txt").symlink_to("nowhere")
    assert only_failure("d") == "d/gone.txt: can't be read: No such file or directory"


def test_a_deep_folder_does_not_reach_the_recursion_limit() -> None:
    depth = sys.getrecursionlimit()
    start = os.getcwd()
    try:
        for _ in range(depth):
            os.mkdir("d")
            os.chdir("d")
        make({"a.txt": "deep"})
    finally:
        os.chdir(start)
    found = ids("d")
    # Python's own rmtree, with which pytest clears up, recurses.
    subprocess.run(["rm", "-r", "d"], check=True)
    assert len(found) == 1


def test_a_missing_path_is_a_failure_and_the_others_go_on() -> None:
    make({"a.txt": "a"})
    missing, row = read("none.txt", "a.txt")
    assert (missing.id, row.id) == ("none.txt", "a.txt")
    assert isinstance(missing, Failure)


@pytest.mark.parametrize("content", [b"", b" \n\t", b"PK\x03\x04\0\0binary", "ok\0".encode("utf-16")])
def test_a_file_with_nothing_to_embed_fails_by_name_and_is_left_out_of_a_folder(content: bytes) -> None:
    make({"d/file": content})
    (failure,) = read("d/file")
    assert isinstance(failure, Failure)
    (left_out,) = read("d")
    assert isinstance(left_out, LeftOut)
    assert str(left_out) == f"d/file: {failure.error}"


def test_text_in_another_encoding_is_never_left_out_silently() -> None:
    make({"d/latin.txt": "größer".encode("latin-1")})
    assert only_failure("d") == "d/latin.txt: not UTF-8 at byte 2: convert it"


def test_a_huge_text_is_a_failure() -> None:
    make({"a.txt": b"x" * MAX_TEXT_BYTES, "b.txt": b"x" * (MAX_TEXT_BYTES + 1)})
    assert [type(item) for item in read("a.txt", "b.txt")] == [Row, Failure]


def test_pipes_and_devices_are_not_opened() -> None:
    os.mkfifo("pipe")
    assert "not a regular file" in only_failure("pipe")
    (left_out,) = read(".")
    assert isinstance(left_out, LeftOut)
    assert (left_out.id, left_out.reason.split(":")[0]) == ("./pipe", "not a regular file")


def test_an_unreadable_folder_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    make({"d/a.txt": "a"})

    def refuse(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "listdir", refuse)
    assert only_failure("d") == "d: the folder can't be listed: change its permissions"


def test_a_name_that_is_not_utf8_makes_an_id_that_is() -> None:
    path = os.fsdecode(b"caf\xe9.txt")
    make({path: "text"})
    (item,) = read(path)
    assert item.id == "caf\\udce9.txt"


def test_the_output_of_an_earlier_run_is_skipped() -> None:
    make({"d/a.txt": "a", "d/out.jsonl": "{}"})
    reader = Reader(leave_out=frozenset({os.path.abspath("d/out.jsonl")}))
    assert [item.id for item in reader.read(["d"])] == ["d/a.txt"]


def test_json_lines_are_rows_with_their_line_or_their_own_id() -> None:
    make({"in/r.jsonl": '{"text": "one"}\n\n{"text": "two", "id": "T"}\n{"image": "p.png", "id": 7}\n'})
    assert read("in/r.jsonl") == [
        Row("in/r.jsonl:1", "text", {"text": "one"}, line=1),
        Row("T", "text", {"text": "two"}, {"id": "T"}, "in/r.jsonl:3", 3),
        Row("7", "image", {"image": Path("in/p.png")}, {"id": 7}, "in/r.jsonl:4", 4),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{nonsense", "not a line of JSON"),
        ('["text"]', "expected a JSON object, not list"),
        ("[" * 200_000, "not a line of JSON"),
        ('{"other": "x"}', "has neither 'text' nor 'image'"),
        ('{"text": "", "image": null}', "'text' and 'image' are empty"),
        ('{"text": ""}', "'text' is empty"),
        ('{"text": "x", "image": "y"}', "has both 'text' and 'image'"),
        ('{"image": 5}', "a path or a URL, not int"),
        (b'{"text": "\xff"}', "not a line of JSON in UTF-8"),
    ],
)
def test_a_bad_line_fails_alone(line: str | bytes, message: str) -> None:
    bad = line.encode() if isinstance(line, str) else line
    make({"r.jsonl": b'{"text": "before"}\n' + bad + b'\n{"text": "after"}'})
    before, failed, after = read("r.jsonl")
    assert isinstance(failed, Failure)
    assert failed.id == "r.jsonl:2"
    assert message in str(failed.error)
    assert (before.id, after.id) == ("r.jsonl:1", "r.jsonl:3")


def test_a_bad_record_with_an_id_is_told_with_its_place() -> None:
    make({"r.jsonl": '{"text": "before"}\n{"text": 5, "id": "mine"}\n'})
    failed = read("r.jsonl")[1]
    assert str(failed) == "r.jsonl:2 (id mine): 'text' is a string, not int"


def test_absolute_paths_and_urls_in_records_stay_as_they_are() -> None:
    sources = ["/abs/p.png", "https://example.com/p.png", "data:image/png;base64,AAAA", "FILE:///p.png"]
    make({"in/r.jsonl": "\n".join(json.dumps({"image": source}) for source in sources)})
    found = [item.input["image"] for item in read("in/r.jsonl") if isinstance(item, Row)]
    assert found == [Path("/abs/p.png"), *sources[1:]]


def test_csv_rows_by_column_name() -> None:
    make({"in/t.csv": 'id,text,image\na,"two\nlines",\nb,,p.png\n\n,third,\n'})
    assert read("in/t.csv") == [
        Row("a", "text", {"text": "two\nlines"}, {"id": "a"}, "in/t.csv:2", 2),
        Row("b", "image", {"image": Path("in/p.png")}, {"id": "b"}, "in/t.csv:4", 4),
        Row("in/t.csv:6", "text", {"text": "third"}, {"id": ""}, line=6),
    ]


def test_fields_can_be_named() -> None:
    make({"t.csv": "body,photo\nx,\n,p.png\n", "r.jsonl": '{"body": "y", "text": 1}'})
    found = read("t.csv", "r.jsonl", text_field="body", image_field="photo")
    kinds = [item.kind if isinstance(item, Row) else None for item in found]
    assert kinds == ["text", "image", "text"]


def test_csv_without_the_columns_says_which_there_are() -> None:
    make({"t.csv": "Body;Photo\nx;y\n"})
    assert "(Body;Photo): name one with `text_field`" in only_failure("t.csv")
    make({"t.csv": ""})
    assert "no column 'text'" in only_failure("t.csv")


def test_csv_that_stops_being_utf8_fails_from_there() -> None:
    # Past the decoder's first block, which is read at once.
    make({"t.csv": b"text\n" + b"good\n" * 5000 + b"b\xff\n"})
    *rows, failed = read("t.csv")
    assert rows
    assert all(isinstance(row, Row) for row in rows)
    assert isinstance(failed, Failure)
    assert "the rest is not read" in str(failed.error)


def test_a_long_csv_cell_is_read() -> None:
    make({"t.csv": "text\n" + "x" * 200_000 + "\n"})
    (row,) = read("t.csv")
    assert isinstance(row, Row)


def test_standard_input_is_a_text_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"one\r\n\n  \nfour\xff\nfive"
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    first, failed, last = read("-")
    assert first == Row("stdin:1", "text", {"text": "one"})
    assert isinstance(failed, Failure)
    assert failed.id == "stdin:4"
    assert last == Row("stdin:5", "text", {"text": "five"})


def test_files_are_read_when_their_turn_comes() -> None:
    make({"a.txt": "a", "b.txt": "b"})
    items: Iterator[Row | Failure | LeftOut] = Reader().read(["a.txt", "b.txt"])
    assert next(items).id == "a.txt"
    Path("b.txt").unlink()
    assert isinstance(next(items), Failure)


def test_counts_are_those_of_the_rows() -> None:
    make(
        {
            "d/a.txt": "a",
            "d/p.pdf": pdf(3),
            "d/r.jsonl": '{"text": "1"}\n\n{"text": "2"}',
            "d/t.csv": 'text\n"a\nb"\nc\n',
            "d/z.bin": b"\0",
        }
    )
    assert sum(count or 0 for count in Reader().counts(["d"])) == len(ids("d")) == 8
    assert list(Reader().counts(["none.txt", "-"])) == [0, None]


def test_an_index_or_a_run_in_a_folder_is_no_document() -> None:
    make(
        {
            "d/a.txt": "one",
            "d/own.index/passages.lance/_versions/1.manifest": "x",
            "d/own.index/.writer": "",
            "d/own.index/note": "x",
            "d/run/_manifest.json": "{}",
            "d/run/_rejects/000000.jsonl": "",
            "d/_manifest.json": "{}",
        }
    )
    assert [row.id for row in read("d")] == ["d/_manifest.json", "d/a.txt"]
    (failure,) = read("d/own.index")
    assert isinstance(failure, Failure)
    assert "an index, or a bulk run" in str(failure.error)
