"""`similar`, `dedup`, `paraphrases` and `bitext` on the fake engine, in which texts that share words are alike."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from jina_embeddings import JinaEmbeddings
from jina_embeddings.cli import app

LINES = "a cat sat here\na dog ran away\n\na cat sat here today\n\u3000\na cat sat here\n"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", os.environ.copy())


def run(*arguments: str, engine: str = "fake", stdin: str | None = None) -> Any:
    return CliRunner().invoke(app, [*arguments, "--engine", engine], input=stdin, catch_exceptions=False)


def records(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


# similar


def test_two_texts_give_one_score_and_more_a_table(fake_model: JinaEmbeddings) -> None:
    vectors = fake_model.encode_text(["a b", "a c", "d"], task="text-matching")
    scores = fake_model.similarity(vectors, vectors)
    assert run("similar", "a b", "a c").stdout == f"{scores[0, 1]:.4f}\n"
    table = run("similar", "a b", "a c", "d", "--json")
    assert np.allclose(json.loads(table.stdout)["scores"], scores, atol=1e-6)
    assert [line.split("\t")[-1] for line in run("similar", "a b", "a c", "d").stdout.splitlines()] == [
        "a b",
        "a c",
        "d",
    ]


def test_pairs_of_a_file() -> None:
    Path("pairs.tsv").write_text("a b\ta b\n\na b\tc d\n")
    scores = [float(line.split("\t")[0]) for line in run("similar", "--pairs", "pairs.tsv").stdout.splitlines()]
    assert scores[0] == 1
    assert scores[1] < 0.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["one"], "two texts or more"),
        (["a", "b", "--pairs", "pairs.tsv"], "not both"),
        (["--pairs", "empty.tsv"], "no pairs"),
        (["--pairs", "none.tsv"], "os_error"),
        (["a", "b", "--task", "matching"], "unknown_task"),
    ],
)
def test_inputs_that_can_not_be_compared_are_an_error(arguments: list[str], message: str) -> None:
    Path("pairs.tsv").write_text("a\tb\nc\n")
    Path("empty.tsv").write_text("\n")
    result = run("similar", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not result.stdout


def test_a_line_that_is_no_pair_is_listed_and_costs_only_itself() -> None:
    Path("pairs.tsv").write_bytes(b"\xef\xbb\xbfa b\ta b\r\nno tab\na\tb\tc\n\tb\n\xe9\tb\nc\td\n")
    result = run("similar", "--pairs", "pairs.tsv")
    assert result.exit_code == 3
    assert [line.split("\t")[1:] for line in result.stdout.splitlines()] == [["a b", "a b"], ["c", "d"]]
    assert result.stdout.startswith("1.0000\t")
    assert [line.split(": ")[0].strip() for line in result.stderr.splitlines()[-4:]] == [
        f"pairs.tsv:{number}" for number in (2, 3, 4, 5)
    ]


@pytest.mark.parametrize("odd", ["\u2028", "\u0085", "\f", "\v", "\x1c"], ids=ascii)
def test_only_line_feeds_end_the_lines_of_pairs(odd: str) -> None:
    Path("pairs.tsv").write_text(f"a{odd}b\tc\nd\te\n", encoding="utf-8", newline="")
    result = run("similar", "--pairs", "pairs.tsv", "--json")
    assert result.exit_code == 0, result.stderr
    assert [json.loads(line)["left"] for line in result.stdout.split("\n")[:-1]] == [f"a{odd}b", "d"]


# dedup


def test_kept_lines_are_unchanged() -> None:
    Path("lines.txt").write_text(LINES)
    result = run("dedup", "lines.txt", "--threshold", "0.8", "--output", "kept.txt")
    assert result.exit_code == 0
    assert Path("kept.txt").read_text() == "a cat sat here\na dog ran away\n\n\u3000\n"
    shown = result.stdout.splitlines()
    assert shown[0] == "lines.txt:1  a cat sat here"
    assert [line.split("  ")[2] for line in shown[1:]] == ["lines.txt:4", "lines.txt:6"]
    assert "2 of 4 (50.0%) are duplicates, in 1 groups; threshold 0.800" in result.stderr


def test_kept_json_lines_are_unchanged_and_include_failed_ones() -> None:
    lines = ['{"id": "x", "text": "a b c", "more": 1}', "broken", '{"text": "a b c"}', "", '{"text": "d"}']
    Path("rows.jsonl").write_text("\n".join(lines) + "\n")
    result = run("dedup", "rows.jsonl", "--output", "kept.jsonl", "--json")
    assert result.exit_code == 3
    assert Path("kept.jsonl").read_text() == "\n".join([*lines[:2], *lines[3:]]) + "\n"
    assert records(result.stdout) == [{"representative": "x", "members": ["x", "rows.jsonl:3"], "scores": [1.0, 1.0]}]
    assert "rows.jsonl:2: not a line of JSON" in result.stderr


def test_files_of_a_folder_pictures_included() -> None:
    Path("d").mkdir()
    for name, colour in (("1.png", "red"), ("2.png", "red"), ("3.png", "blue")):
        Image.new("RGB", (56, 56), colour).save(f"d/{name}")
    Path("d/a.txt").write_text("some words in a file")
    Path("d/b.txt").write_text("some words in a file")
    result = run("dedup", "d", "--threshold", "0.999", "--output", "kept.txt", "--json")
    assert [record["members"] for record in records(result.stdout)] == [["d/1.png", "d/2.png"], ["d/a.txt", "d/b.txt"]]
    assert Path("kept.txt").read_text().split() == ["d/1.png", "d/3.png", "d/a.txt"]


def test_a_rate_in_place_of_a_threshold() -> None:
    Path("lines.txt").write_text("\n".join(f"word{n} word{n + 1} word{n + 2} word{n + 3}" for n in range(100)))
    result = run("dedup", "lines.txt", "--rate", "0.5", "--output", "kept.txt")
    assert abs(len(Path("kept.txt").read_text().split("\n")) - 50) <= 10
    assert "are duplicates" in result.stderr


@pytest.mark.parametrize("suffix", [".npy", ".parquet"])
def test_files_of_vectors_need_no_model(suffix: str) -> None:
    for name, text in (("a", "one two"), ("b", "one two"), ("c", "three")):
        Path(name).write_text(text)
    assert run("embed", "a", "b", "c", "--output", f"v{suffix}").exit_code == 0
    result = run("dedup", f"v{suffix}", "--json", "--output", "kept.txt", engine="vllm")
    assert [record["members"] for record in records(result.stdout)] == [["a", "b"]]
    assert Path("kept.txt").read_text().split() == ["a", "c"]


def test_rows_of_an_array_without_names_are_numbered() -> None:
    np.save("v.npy", np.eye(4, dtype=np.float32)[[0, 1, 0]])
    assert records(run("dedup", "v.npy", "--json").stdout)[0]["members"] == ["0", "2"]


def test_an_output_that_exists_is_replaced_only_when_that_is_asked_for() -> None:
    Path("lines.txt").write_text(LINES)
    Path("kept.txt").write_text("precious")
    refused = run("dedup", "lines.txt", "--output", "kept.txt")
    assert (refused.exit_code, Path("kept.txt").read_text()) == (2, "precious")
    assert run("dedup", "lines.txt", "--output", "kept.txt", "--overwrite").exit_code == 0
    assert Path("kept.txt").read_text() != "precious"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lines.txt", "--threshold", "1.5"], "out of range"),
        (["lines.txt", "--rate", "1"], "out of range"),
        (["lines.txt", "--rate", "0.1", "--threshold", "0.5"], "not both"),
        (["lines.txt", "--output", "no/where.txt"], "can't be written"),
        (["lines.txt", "--output", "lines.txt"], "would overwrite the input"),
        (["none.txt"], "nothing to compare"),
        (["v.npy", "lines.txt"], "give it alone"),
        (["v.npy"], "expected floats"),
        (["broken.npy"], "no array of numbers"),
        (["broken.parquet"], "no Parquet file"),
    ],
)
def test_inputs_that_can_not_be_deduplicated_are_an_error(arguments: list[str], message: str) -> None:
    Path("lines.txt").write_text(LINES)
    Path("broken.npy").write_text("no")
    Path("broken.parquet").write_text("no")
    np.save("v.npy", np.zeros((3, 4), dtype=np.int8))
    result = run("dedup", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_binary_vectors_are_refused() -> None:
    Path("a").write_text("a")
    run("embed", "a", "--embedding-type", "binary", "--output", "v.parquet")
    result = run("dedup", "v.parquet")
    assert result.exit_code == 2
    assert "embedding_type='float'" in result.stderr


def test_a_line_that_is_not_utf8_fails_alone() -> None:
    Path("lines.txt").write_bytes(b"a b c\n\xff\xfe\na b c\n")
    result = run("dedup", "lines.txt", "--output", "kept.txt")
    assert result.exit_code == 3
    assert Path("kept.txt").read_bytes() == b"a b c\n\xff\xfe\n"
    assert "lines.txt:2: not UTF-8" in result.stderr


# paraphrases and bitext


def test_the_best_pairs_come_first() -> None:
    Path("lines.txt").write_text(LINES)
    result = run("paraphrases", "lines.txt", "--limit", "3", "--json")
    found = records(result.stdout)
    assert (found[0]["left"]["id"], found[0]["right"]["id"]) == ("lines.txt:1", "lines.txt:6")
    assert found[0]["score"] == pytest.approx(1, abs=1e-5)
    assert len(found) == 3
    assert run("paraphrases", "lines.txt", "--limit", "1").stdout.split("\t")[1:] == [
        "a cat sat here",
        "a cat sat here\n",
    ]


def test_lines_that_share_most_words_are_paired() -> None:
    source = [f"alpha{n} beta{n} gamma{n} common" for n in range(20)]
    target = [f"alpha{n} beta{n} other{n} common" for n in reversed(range(20))]
    Path("a.txt").write_text("\n".join(source))
    Path("b.txt").write_text("\n".join(target))
    result = run("bitext", "a.txt", "b.txt", "--json")
    assert result.exit_code == 0
    found = {(record["left"]["text"], record["right"]["text"]) for record in records(result.stdout)}
    assert found == set(zip(source, reversed(target), strict=True))
    assert "20 pairs" in result.stderr


def test_bad_lines_of_either_side_are_listed() -> None:
    Path("a.txt").write_bytes(b"one two\n\xff\n")
    Path("b.txt").write_bytes(b"one two\n\xfe\n")
    result = run("bitext", "a.txt", "b.txt", "--min-margin", "0")
    assert result.exit_code == 3
    assert "a.txt:2" in result.stderr
    assert "b.txt:2" in result.stderr
    assert len(result.stdout.splitlines()) == 1
