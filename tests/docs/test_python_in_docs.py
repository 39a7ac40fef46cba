"""The Python of README.md and docs/ runs, in a process that finds a tiny checkpoint in the hub's cache.

The checkpoint has the name `jinaai/jina-embeddings-v4`. How blocks are run: see `run_pages`.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet
import pytest
from PIL import Image

import run_pages
from pages import PAGES, ROOT, blocks

if TYPE_CHECKING:
    from conftest import CheckpointMaker

MAX_NOT_RUN = 5
RUN_TIMEOUT_S = 600


@pytest.fixture(scope="module")
def environment(checkpoint: CheckpointMaker, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables: offline, without a GPU, and with the tiny checkpoint in the hub's cache."""
    hub = tmp_path_factory.mktemp("huggingface") / "hub"
    repository = hub / "models--jinaai--jina-embeddings-v4"
    revision = "0123456789abcdef0123456789abcdef01234567"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(revision)
    (repository / "snapshots").mkdir()
    (repository / "snapshots" / revision).symlink_to(checkpoint(), target_is_directory=True)
    left_out = ("JINA_EMBEDDINGS_LOG", "VLLM_PLUGINS", "HF_TOKEN")
    return {name: value for name, value in os.environ.items() if name not in left_out} | {
        "HF_HOME": str(hub.parent),
        "HF_HUB_CACHE": str(hub),
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }


def make_vectors_of_the_command_line(folder: Path, environment: dict[str, str]) -> None:
    (folder / "one.md").write_text("# One\n")
    line = [sys.executable, "-c", "from jina_embeddings.cli import main; main()"]
    line += ["embed", "one.md", "--engine", "fake", "--output", "vectors.parquet"]
    subprocess.run(line, cwd=folder, env=environment, check=True, capture_output=True, timeout=RUN_TIMEOUT_S)


def make_vectors_of_a_million_rows(folder: Path, environment: dict[str, str]) -> None:
    """Its first block makes the rows, and its commands the vectors, on `pocket` as it says."""
    found = list(blocks((ROOT / "docs" / "million_rows.md").read_text(encoding="utf-8")))
    rows = next(block for block in found if block.language == "python")
    path = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    run: dict[str, Any] = {
        "cwd": folder,
        "env": environment | {"PATH": path, "JINA_EMBEDDINGS_MODEL": "pocket"},
        "check": True,
        "timeout": RUN_TIMEOUT_S,
    }
    subprocess.run([sys.executable, "-c", rows.text], **run)
    lines = [line for block in found if block.language == "console" for line in block.text.splitlines()]
    assert len(lines) == 2
    for line in lines:
        subprocess.run(line.removeprefix("$ "), shell=True, capture_output=True, **run)


@pytest.mark.long
def test_the_readmes_embed_command_writes_a_row_for_each_input(environment: dict[str, str], tmp_path: Path) -> None:
    """The command runs as it is written, with files of those names and the default model."""
    (line,) = re.findall(
        r"^\$ (jina-embeddings embed notes/\*\.md .*)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    for name in ("notes/one.md", "notes/two.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"# {name}\n")
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (60, 40), "teal").save(tmp_path / "photos" / "teal.png")
    (tmp_path / "rows.jsonl").write_text('{"text": "a row"}\n{"id": "mine", "text": "another"}\n')
    path = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    run: dict[str, Any] = {
        "cwd": tmp_path,
        "env": environment | {"PATH": path},
        "capture_output": True,
        "timeout": RUN_TIMEOUT_S,
    }
    subprocess.run(line, shell=True, check=True, **run)
    table = pyarrow.parquet.read_table(tmp_path / "vectors.parquet")
    ids = ["notes/one.md", "notes/two.md", "photos/teal.png", "rows.jsonl:1", "mine"]
    assert table.column("id").to_pylist() == ids
    assert {len(vector) for vector in table.column("embedding").to_pylist()} == {128}


def make_the_run_of_the_page(folder: Path, environment: dict[str, str]) -> None:
    """The first command of docs/bulk.md as it stands there, on rows of which one is bad."""
    texts = ["The moon goes around the earth.", "Bread is baked from flour and water.", "A cat sleeps all day."]
    lines = [json.dumps({"text": text, "year": 1990 + number}) for number, text in enumerate(texts)]
    (folder / "rows.jsonl").write_text("\n".join([*lines, "no JSON"]))
    page = (ROOT / "docs" / "bulk.md").read_text(encoding="utf-8")
    command = next(block for block in blocks(page) if block.language == "console").text
    line = shlex.split(command.removeprefix("$ jina-embeddings "))
    code = "from jina_embeddings.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, *line], cwd=folder, env=environment, timeout=RUN_TIMEOUT_S)
    assert done.returncode == 3


# What a page's Python takes from the page's other blocks.
PREPARATIONS: dict[str, Callable[[Path, dict[str, str]], None]] = {
    "bulk.md": make_the_run_of_the_page,
    "million_rows.md": make_vectors_of_a_million_rows,
    "command_line.md": make_vectors_of_the_command_line,
}


@pytest.fixture(scope="module")
def failures(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """For each page the traceback of what failed, or nothing. One process runs all, since most of the time goes into
    importing torch; each page has a folder and a namespace of its own."""
    folder = tmp_path_factory.mktemp("pages")
    for page in PAGES:
        (folder / page.stem).mkdir()
        if page.name in PREPARATIONS:
            PREPARATIONS[page.name](folder / page.stem, environment)
    result = subprocess.run(
        [sys.executable, run_pages.__file__, *map(str, PAGES)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
    )
    report = folder / run_pages.REPORT
    assert report.exists(), result.stderr[-4000:]
    return dict(json.loads(report.read_text(encoding="utf-8")))


@pytest.mark.long
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_python_block_runs(page: Path, failures: dict[str, str]) -> None:
    assert not failures[page.name], failures[page.name]


def test_few_blocks_are_not_run() -> None:
    found = [block for page in PAGES for block in blocks(page.read_text(encoding="utf-8"))]
    infos = [block.info for block in found if block.language == "python" and not block.info.startswith("title=")]
    assert set(infos) == {"", run_pages.NOT_RUN}
    assert infos.count(run_pages.NOT_RUN) <= MAX_NOT_RUN
