"""`jina-embeddings index` and `search`: their output, skipped inputs and exit statuses."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import lancedb
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from jina_embeddings.apps.documents import cutting
from jina_embeddings.cli import app


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def index(*arguments: str | Path, into: Path, dimension: int = 128) -> Result:
    model = ["--engine", "fake", "--model", "fake", "--dimension", str(dimension)]
    return run("index", *arguments, "--into", into, *model)


def search(into: Path, *arguments: str | Path) -> Result:
    return run("search", into, *arguments, "--engine", "fake")


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "bread.md").write_text("# Bread\n\nFlour and water.\n\n## Sourdough\n\nFeed the starter.\n")
    (folder / "tea.txt").write_text("Tea needs hot water.")
    Image.new("RGB", (60, 60), "green").save(folder / "meadow.png")
    return folder


def test_index_then_search(docs: Path, tmp_path: Path) -> None:
    made = index(docs, "--metadata", "language=en", into=tmp_path / "index")
    assert made.exit_code == 0
    assert "4 passages" in made.stderr
    assert "4 embedded and 0 reused" in made.stderr
    assert "0 embedded" in index(docs, "--metadata", "language=en", into=tmp_path / "index").stderr
    found = search(tmp_path / "index", "Feed the starter", "--limit", "1")
    assert found.exit_code == 0
    lines = found.stdout.splitlines()
    assert lines[0].endswith("bread.md:7")
    assert [line.strip() for line in lines[1:]] == ["Bread > Sourdough", "Feed the starter."]


def test_search_prints_json_a_context_or_nothing(docs: Path, tmp_path: Path) -> None:
    index(docs, "--metadata", "language=en", into=tmp_path / "index")
    found = search(tmp_path / "index", "water", "--json", "--filter", "kind=text", "--filter", "path=*.md")
    records = [json.loads(line) for line in found.stdout.splitlines()]
    assert {record["metadata"]["language"] for record in records} == {"en"}
    assert sorted(Path(record["source"]).name for record in records) == ["bread.md:3", "bread.md:7"]
    text = search(tmp_path / "index", "water", "--context", "40").stdout
    assert text.startswith("[1] ")
    assert "[2] " in text
    assert "meadow.png" not in text
    assert len(text.split()) <= 40
    nothing = search(tmp_path / "index", "water", "--filter", "language=de")
    assert (nothing.exit_code, nothing.stdout, nothing.stderr) == (1, "", "nothing found for 'water'\n")


def test_search_by_a_picture_and_ranked_again(docs: Path, tmp_path: Path) -> None:
    index(docs, into=tmp_path / "index")
    by_picture = search(tmp_path / "index", "--image", docs / "meadow.png", "--limit", "1")
    assert by_picture.stdout.strip().endswith("meadow.png")
    ranked = search(tmp_path / "index", "Feed the starter", "--rerank", "--limit", "1")
    assert "bread.md:7" in ranked.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "either a question or --image"),
        (["water", "--filter", "kind=pages"], "unknown kind 'pages'"),
        (["water", "--filter", "kind"], "has no value"),
        (["water", "--context", "9", "--json"], "--context prints text"),
        (["water", "fire", "--context", "9"], "--context prints text for one question"),
        (["--image", "nowhere.png"], "nowhere.png"),
    ],
)
def test_a_wrong_search_is_a_line_and_status_2(docs: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    index(docs, into=tmp_path / "index")
    result = search(tmp_path / "index", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_each_question_has_a_list_of_its_own(docs: Path, tmp_path: Path) -> None:
    index(docs, into=tmp_path / "index")
    arguments = ["search", str(tmp_path / "index"), "Feed the starter.", "-", "--engine", "fake", "--limit", "1"]
    asked = "\ufeffTea needs hot water.\n\nFlour and\u2028water.\n"
    shown = CliRunner().invoke(app, arguments, input=asked).stdout
    assert [line.partition("/")[0].split()[0] for line in shown.split("\n\n")] == ["Feed", "Tea", "Flour"]
    records = [
        json.loads(line)
        for line in CliRunner().invoke(app, [*arguments, "--json"], input=asked).stdout.split("\n")
        if line
    ]
    assert [(record["question"], record["rank"], Path(record["source"]).name) for record in records] == [
        ("Feed the starter.", 1, "bread.md:7"),
        ("Tea needs hot water.", 1, "tea.txt:1"),
        ("Flour and\u2028water.", 1, "bread.md:3"),
    ]
    assert len({record["id"] for record in records}) == 3
    assert records[0]["line"] == records[0]["end_line"] == 7
    one = search(tmp_path / "index", "Flour and water.", "--limit", "1", "--json", "--min-score", "99")
    assert (one.exit_code, one.stdout) == (1, "")


def test_info_and_remove_need_no_model(docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    index(docs, into=tmp_path / "index")
    facts = json.loads(run("index", "info", "index", "--json").stdout)
    assert (facts["passages"], facts["documents"], facts["dimension"], facts["words"]) == (4, 3, 128, True)
    assert re.search(r"^passages +4$", run("index", "info", "index").stdout, re.MULTILINE)
    removed = run("index", "remove", "index", "*/bread.md", "nowhere.md")
    assert removed.exit_code == 1
    assert removed.stderr.splitlines() == ["2 passages removed: */bread.md", "nothing in index has the path nowhere.md"]
    assert json.loads(run("index", "info", "index", "--json").stdout)["documents"] == 2
    assert run("index", "info", "nowhere").exit_code == 2
    # A folder of that name.
    (tmp_path / "info").mkdir()
    (tmp_path / "info" / "a.txt").write_text("a text")
    assert "1 passages" in index("./info", into=tmp_path / "other").stderr


def test_doctor_measures_recall_and_misses_the_index_of_words(
    docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index(docs, into=tmp_path / "index")
    report = json.loads(run("doctor", tmp_path / "index", "--engine", "fake", "--json").stdout)
    assert report["index"]["passages"] == 4
    assert report["index"]["sample"]["recall_at_3"] == 1.0
    lancedb.connect(str(tmp_path / "index")).open_table("passages").drop_index("words_idx")
    broken = run("doctor", tmp_path / "index", "--engine", "fake", "--json")
    assert "words have no index" in broken.stdout
    index(docs, into=tmp_path / "index")
    assert "words have no index" not in run("doctor", tmp_path / "index", "--engine", "fake", "--json").stdout


def test_an_index_of_another_dimension_or_none(docs: Path, tmp_path: Path) -> None:
    index(docs, into=tmp_path / "index")
    other = index(docs, into=tmp_path / "index", dimension=256)
    assert other.exit_code == 2
    assert "was made with dimension 128, not 256" in other.stderr
    assert "there is no index at" in search(tmp_path / "nothing", "water").stderr
    assert not (tmp_path / "nothing").exists()


def test_bad_inputs_are_reported_and_skipped(docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several kinds in one run. A file that can't be read and one that is deleted meanwhile are simulated."""
    bad = docs / "bad"
    bad.mkdir()
    (bad / "broken.pdf").write_bytes(b"%PDF-1.7 and then nothing")
    (bad / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    (bad / "binary.txt").write_bytes(bytes(range(256)) * 100)
    with open(bad / "big.log", "wb") as file:
        for _ in range(200):
            file.write(b"a line of a log\n" * 2**16)
    (bad / "itself").symlink_to("itself")
    (bad / "up").symlink_to(docs, target_is_directory=True)
    (bad / "vanishing.txt").write_text("soon gone")
    (bad / "secret.txt").write_text("for root only")
    (bad / "locked").mkdir()
    (bad / "locked" / "a.txt").write_text("never listed")
    really_read, really_list = cutting.read_text, os.listdir

    def read(path: str, form: str) -> str:
        if path.endswith("vanishing.txt"):
            os.unlink(path)
        if path.endswith("secret.txt"):
            raise PermissionError(13, "Permission denied")
        return really_read(path, form)

    def listed(path: str) -> list[str]:
        if path.endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return really_list(path)

    monkeypatch.setattr(cutting, "read_text", read)
    monkeypatch.setattr(os, "listdir", listed)
    result = index(docs, into=tmp_path / "index")
    assert result.exit_code == 3
    reasons = {
        "big.log": "over 16 MiB of text",
        "binary.txt": "binary",
        "broken.pdf": "broken or encrypted PDF",
        "broken.png": "image",
        "itself": "can't be read",
        "locked": "can't be listed",
        "secret.txt": "Permission denied",
        "up": "a link to a folder that it is in",
        "vanishing.txt": "No such file",
    }
    told = {line.partition(":")[0].strip(" '").rpartition("/")[2]: line for line in result.stderr.splitlines()[1:-1]}
    assert sorted(told) == sorted(reasons), result.stderr
    for name, reason in reasons.items():
        assert reason in told[name]
    assert "9 inputs failed" in result.stderr
    assert "4 passages" in result.stderr
    assert search(tmp_path / "index", "Tea needs hot water.", "--limit", "1").stdout.count("tea.txt") == 1


@pytest.mark.long
def test_lance_says_nothing_of_its_own(tmp_path: Path) -> None:
    """Many equal passages make clusters that are empty, of which it warns."""
    (tmp_path / "same.jsonl").write_text('{"text": "the same"}\n' * 12_000)
    code = "from jina_embeddings.apps.index import Index; Index.update.__kwdefaults__['ann_numbers'] = 1; "
    code += "from jina_embeddings.cli import main; main()"
    line = [sys.executable, "-c", code, "index", str(tmp_path / "same.jsonl"), "--engine", "fake", "--dimension", "128"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LANCE")}
    done = subprocess.run(
        [*line, "--into", str(tmp_path / "i")], capture_output=True, text=True, env=environment, check=True
    )
    assert len(done.stderr.splitlines()) == 1, done.stderr
