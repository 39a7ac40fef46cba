"""`jina-embeddings embed`: inputs, forms of vectors, and files written."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import jina_embeddings
import jina_embeddings.engine.choice
from embed_command import COMMAND, run
from jina_embeddings import JinaEmbeddings
from jina_embeddings.pipeline.embed import Embedded, embed_rows
from jina_embeddings.pipeline.rows import Failure, LeftOut, Row


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder to work in; what the command sets in the environment is undone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", os.environ.copy())


def rows(name: str = "v.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(name).read_text(encoding="utf-8").splitlines()]


def ids(name: str = "v.jsonl") -> list[str]:
    return [row["id"] for row in rows(name)]


def picture(colour: str = "red") -> Image.Image:
    return Image.new("RGB", (56, 56), colour)


def same(found: Any, expected: Any) -> bool:
    return np.array_equal(np.array(found, dtype=np.float32), expected)


def test_every_kind_of_input_becomes_the_librarys_own_vectors_in_order(fake_model: JinaEmbeddings) -> None:
    Path("notes").mkdir()
    Path("notes/a.md").write_text("first text")
    picture("red").save("notes/b.png")
    picture("green").save("paper.pdf", save_all=True, append_images=[picture("blue")])
    Path("rows.jsonl").write_text('{"text": "second text", "id": "mine"}\n{"image": "notes/b.png"}\n')
    Path("table.csv").write_text("text\nthird text\n")

    result = run("table.csv", "-", "notes", "paper.pdf", "rows.jsonl", "--output", "v.jsonl", stdin="fourth text\n")

    assert result.exit_code == 0
    pages = [f"paper.pdf#page={number}" for number in (1, 2)]
    assert ids() == ["table.csv:2", "stdin:1", "notes/a.md", "notes/b.png", *pages, "mine", "rows.jsonl:2"]
    assert [row["kind"] for row in rows()] == ["text"] * 3 + ["image"] * 3 + ["text", "image"]
    texts = fake_model.encode_text(["third text", "fourth text", "first text", "second text"], prompt_name="passage")
    images = fake_model.encode_image(["notes/b.png", *pages, "notes/b.png"])
    expected = [*texts[:3], *images[:3], texts[3], images[3]]
    assert all(same(row["embedding"], vector) for row, vector in zip(rows(), expected, strict=True))


@pytest.mark.parametrize(
    ("arguments", "task", "prompt_name"),
    [
        ((), "retrieval", "passage"),
        (("--prompt-name", "query"), "retrieval", "query"),
        (("--task", "retrieval.query"), "retrieval", "query"),
        (("--task", "code"), "code", "passage"),
        (("--task", "code.passage"), "code", "passage"),
        (("--task", "text-matching"), "text-matching", "query"),
    ],
)
def test_task_and_prompt(fake_model: JinaEmbeddings, arguments: tuple[str, ...], task: str, prompt_name: str) -> None:
    assert run("-", "-o", "v.jsonl", *arguments, stdin="some text").exit_code == 0
    assert same(rows()[0]["embedding"], fake_model.encode_text("some text", task=task, prompt_name=prompt_name))
    meta = json.loads(Path("v.jsonl.meta.json").read_text())
    assert (meta["task"], meta["prompt_name"]) == (task, prompt_name)


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (("--truncate-dim", "128"), {"truncate_dim": 128}),
        (("--multivector",), {"return_multivector": True}),
        (("--embedding-type", "int8"), {"embedding_type": "int8"}),
        (("--embedding-type", "binary", "--truncate-dim", "256"), {"embedding_type": "binary", "truncate_dim": 256}),
        (("--embedding-type", "ubinary"), {"embedding_type": "ubinary"}),
        (("--max-length", "3"), {"max_length": 3}),
        (("--batch-size", "1"), {}),
    ],
)
def test_options_set_the_form_of_vectors(
    fake_model: JinaEmbeddings, arguments: tuple[str, ...], options: dict[str, Any]
) -> None:
    assert run("-", "-o", "v.jsonl", *arguments, stdin="a text of some words").exit_code == 0
    expected = fake_model.encode_text("a text of some words", prompt_name="passage", **options)
    assert same(rows()[0]["embedding"], expected)
    assert not same(expected, fake_model.encode_text("a text of some words", prompt_name="passage")) or not options


def test_base64_vectors_are_strings(fake_model: JinaEmbeddings) -> None:
    assert run("-", "-o", "v.parquet", "--embedding-type", "base64", stdin="a text").exit_code == 0
    (value,) = pq.read_table("v.parquet")["embedding"].to_pylist()
    assert same(np.frombuffer(base64.b64decode(value), "<f4"), fake_model.encode_text("a text", prompt_name="passage"))


def test_parquet_metadata_says_how_the_vectors_were_made() -> None:
    arguments = ("--task", "code", "--truncate-dim", "128", "--max-length", "9", "--option", "pooling_type=max")
    assert run("-", "-o", "v.parquet", *arguments, stdin="x").exit_code == 0
    metadata = {key.decode(): value.decode() for key, value in pq.read_schema("v.parquet").metadata.items()}
    metadata.pop("ARROW:schema", None)
    assert metadata == {
        "model": "fake",
        "task": "code",
        "prompt_name": "passage",
        "engine": "fake",
        "dimension": "128",
        "multivector_dim": "128",
        "embedding_type": "float",
        "multivector": "false",
        "max_length": "9",
        "options": '{"pooling_type": "max"}',
        "version": jina_embeddings.__version__,
    }


def test_many_rows_keep_their_order(fake_model: JinaEmbeddings) -> None:
    texts = [f"text number {number}" for number in range(500)]
    assert run("-", "-o", "v.npy", stdin="\n".join(texts)).exit_code == 0
    assert same(np.load("v.npy"), fake_model.encode_text(texts, prompt_name="passage"))
    assert ids("v.npy.rows.jsonl") == [f"stdin:{number}" for number in range(1, 501)]


def test_bad_inputs_are_listed_and_cost_only_themselves() -> None:
    Path("good.txt").write_text("good")
    Path("empty.txt").write_text("")
    Path("bad.png").write_bytes(b"no image")
    Path("rows.jsonl").write_text('{"text": "\\ud800", "id": "half"}\n{"text": "fine"}\n{"image": "gone.png"}\n')

    result = run("none.txt", "empty.txt", "bad.png", "rows.jsonl", "good.txt", "-o", "v.jsonl")

    assert result.exit_code == 3
    assert ids() == ["rows.jsonl:2", "good.txt"]
    first, *listed, summary = result.stderr.splitlines()
    assert first == "5 inputs failed:"
    assert [line[:16] for line in listed] == [
        "  none.txt: can'",
        "  empty.txt: the",
        "  'bad.png': not",
        "  rows.jsonl:1 (",
        "  rows.jsonl:3: ",
    ]
    assert summary.startswith("2 rows in ")


@pytest.mark.long
def test_files_with_nothing_in_them_are_named_in_folders() -> None:
    Path("d").mkdir()
    Path("d/a.txt").write_text("text")
    Path("d/b.bin").write_bytes(b"\0\1")
    Path("d/empty").write_text("")
    result = run("d", "-o", "v.jsonl")
    assert result.exit_code == 0
    assert "left out 2 files:\n  d/b.bin: binary, and neither an image nor a PDF" in result.stderr
    assert "\n  d/empty: the file is empty\n1 row in " in result.stderr
    result = run("d", "--into", "vectors")
    assert "left out 2 files:\n  d/b.bin: binary" in result.stderr


def test_raise_stops_at_the_first_bad_input_and_writes_nothing() -> None:
    Path("good.txt").write_text("good")
    Path("bad.png").write_bytes(b"no image")
    result = run("good.txt", "bad.png", "-o", "v.jsonl", "--on-error", "raise")
    assert result.exit_code == 2
    assert result.stderr.startswith("error [image_unreadable]: 'bad.png': not an image")
    assert sorted(os.listdir()) == ["bad.png", "good.txt"]
    assert run("none.txt", "good.txt", "-o", "v.jsonl", "--on-error", "raise").exit_code == 2


@pytest.mark.parametrize("stdin", ["", "\n \n"])
def test_no_input_is_an_error_and_makes_no_file(stdin: str) -> None:
    result = run("-", "-o", "v.jsonl", stdin=stdin)
    assert result.exit_code == 2
    assert result.stderr == "error [empty_input]: there is nothing to embed in what was given\n"
    assert os.listdir() == []


def test_inputs_that_all_fail_are_listed_and_make_no_file() -> None:
    Path("bad.png").write_bytes(b"no image")
    result = run("none.txt", "bad.png", "-o", "v.npy")
    assert result.exit_code == 2
    assert result.stderr.startswith("2 inputs failed:\n")
    assert result.stderr.endswith("error [empty_input]: none of the inputs could be embedded\n")
    assert os.listdir() == ["bad.png"]


def test_a_folder_with_the_output_in_it_can_be_embedded_again() -> None:
    Path("a.txt").write_text("text")
    for _ in range(2):
        assert run(".", "-o", "v.npy", "--overwrite").exit_code == 0
    assert ids("v.npy.rows.jsonl") == ["./a.txt"]


@pytest.mark.long
def test_a_real_engine_gives_the_librarys_vectors_and_is_quiet(
    checkpoint: Callable[..., Path], torch_model: JinaEmbeddings
) -> None:
    folder = checkpoint(dtype="float32")
    picture().save("p.png")
    Path("t.txt").write_text("some text")
    arguments = ("--model", str(folder), "--engine", "torch", "--dtype", "float32", "--device", "cpu")
    done = subprocess.run([*COMMAND, "embed", "t.txt", "p.png", "-o", "v.npy", *arguments], capture_output=True)
    assert done.returncode == 0
    assert done.stderr.count(b"\n") == 1
    expected = torch_model.encode([{"text": "some text"}, {"image": "p.png"}], prompt_name="passage")
    assert np.abs(np.load("v.npy") - expected).max() < 1e-5
    meta = json.loads(Path("v.npy.meta.json").read_text())
    assert (meta["model"], meta["engine"], meta["options"]) == (
        str(folder),
        "torch",
        {"dtype": "float32", "device": "cpu"},
    )


def test_a_merged_checkpoint_answers_for_its_own_task(checkpoint: Callable[..., Path]) -> None:
    folder = str(checkpoint(layout="merged", task="code", dtype="float32"))
    result = run("-", "-o", "v.npy", "--model", folder, "--task", "code.query", engine="torch", stdin="x")
    assert result.exit_code == 0
    assert json.loads(Path("v.npy.meta.json").read_text())["task"] == "code"
    result = run("-", "-o", "m.jsonl", "--model", folder, "--task", "code", "--multivector", engine="torch", stdin="x")
    assert result.exit_code == 2
    assert result.stderr.startswith("error [multivector_unavailable]: ")


def test_the_stream_reads_no_further_than_two_chunks_ahead(fake_model: JinaEmbeddings) -> None:
    num_read = 0

    def items() -> Iterator[Row | Failure | LeftOut]:
        nonlocal num_read
        for number in range(1000):
            num_read += 1
            yield Row(str(number), "text", {"text": f"text {number}"})

    ahead = []
    for num_done, _ in enumerate(embed_rows(fake_model, items(), chunk_size=10), 1):
        ahead.append(num_read - num_done)
    assert len(ahead) == num_read == 1000
    assert max(ahead) <= 20


def test_results_are_in_the_order_of_the_rows_also_for_failures(fake_model: JinaEmbeddings) -> None:
    error = ValueError("unreadable")
    items: list[Row | Failure | LeftOut] = [
        Failure("0", error),
        Row("1", "text", {"text": "good"}),
        LeftOut("2", "empty"),
        Row("3", "text", {"text": ""}),
        Row("4", "text", {"text": "good too"}),
        Failure("5", error),
        LeftOut("6", "empty"),
    ]
    results = list(embed_rows(fake_model, items))
    kinds = [Failure, Embedded, LeftOut, Failure, Embedded, Failure, LeftOut]
    assert [type(result) for result in results] == kinds
    assert [result.row.id if isinstance(result, Embedded) else result.id for result in results] == list("0123456")


def test_text_written_to_stdin_as_another_encoding_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.run(
        [*COMMAND, "embed", "-", "-o", "v.jsonl", "--engine", "fake"],
        stdin=_pipe(io.BytesIO(b"good\nbad\xff\n")),
        capture_output=True,
    )
    assert done.returncode == 3
    assert ids() == ["stdin:1"]


def _pipe(data: io.BytesIO) -> int:
    reader, writer = os.pipe()
    os.write(writer, data.getvalue())
    os.close(writer)
    return reader
