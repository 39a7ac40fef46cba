"""README.md and docs/ are true: their Python runs, what they list exists, and their links work.

Blocks of a page run in order and in one namespace, in another process than the tests, which finds a tiny checkpoint in
the hub's cache under the name `jinaai/jina-embeddings-v4`. What a fence may say besides `python`:

    no-run                needs a GPU or a server; at most 4 of them in all
    title="my_module.py"  a file that later blocks import

A line `print(...)  # -> text` has to print just that text.
"""

from __future__ import annotations

import ast
import builtins
import dataclasses
import importlib
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow.parquet
import pytest
import typer.main
from PIL import Image

import jina_embeddings
from jina_embeddings import JinaEmbeddings, ModelInfo, Partial, Skipped, errors
from jina_embeddings.calls.options import EncodeOptions, ImageOptions, TextOptions
from jina_embeddings.cli import app
from jina_embeddings.engine.padded import PaddedEngine
from jina_embeddings.engine.vllm.engine import VllmEngine
from jina_embeddings.errors import JinaEmbeddingsError
from jina_embeddings.inputs.prompts import PREFIXES, resolve_task
from jina_embeddings.options import ENGINES, VARIABLES, Options
from jina_embeddings.vectors.pooling import BUILT_IN, resolve_pooling
from jina_embeddings.vectors.quantization import EMBEDDING_TYPES

if TYPE_CHECKING:
    from conftest import CheckpointMaker

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "jina_embeddings"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
REFERENCE = (ROOT / "docs" / "api_reference.md").read_text(encoding="utf-8")
TROUBLESHOOTING = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")

MAX_NOT_RUN = 4
RUN_TIMEOUT_S = 600
REPORT = "report.json"
MIN_MESSAGE = 10
"""The least number of fixed characters of a string that counts as a message."""

FOREIGN_MESSAGES = {"operator torchvision::nms does not exist"}
ERRORS: dict[str, type[JinaEmbeddingsError]] = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, JinaEmbeddingsError)
}


# Reading Markdown


@dataclass(frozen=True)
class Block:
    """A fenced block. line: the line of its opening fence, counted from 1."""

    language: str
    info: str
    line: int
    text: str


def blocks(page: str) -> Iterator[Block]:
    for match in re.finditer(r"^```(\w*) *(.*)\n((?:.*\n)*?)```$", page, re.MULTILINE):
        yield Block(match[1], match[2].strip(), page.count("\n", 0, match.start()) + 1, match[3])


def prose(page: str) -> str:
    return re.sub(r"^```.*\n(?:.*\n)*?```$", "", page, flags=re.MULTILINE)


def section(page: str, title: str) -> str:
    """The text between a heading and the next one of any level."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", prose(page), re.MULTILINE | re.DOTALL)
    assert found, f"no heading {title!r}"
    return found[1]


def tables(text: str) -> list[list[list[str]]]:
    """The tables of a text as lists of rows of cells, header first, without the ruler."""
    found = []
    for block in re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE):
        rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in block.splitlines()]
        assert {len(row) for row in rows} == {len(rows[0])}, rows[0]
        found.append([row for row in rows if not set("".join(row)) <= set("-: ")])
    return found


def code_of(text: str) -> list[str]:
    """Inline code of a text, without its backticks."""
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)


def first_cells(rows: list[list[str]]) -> list[str]:
    """The code in the first column, below the header."""
    return [code for row in rows[1:] for code in code_of(row[0])]


def anchors(page: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    seen: dict[str, int] = {}
    found = set()
    for title in re.findall(r"^#{1,6} +(.*?) *#*$", prose(page), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        number = seen.get(slug, 0)
        seen[slug] = number + 1
        found.add(f"{slug}-{number}" if number else slug)
    return found


# Their Python runs


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


def to_run(page: str) -> list[Block]:
    return [block for block in blocks(page) if block.language == "python" and block.info != "no-run"]


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
        [sys.executable, __file__, *map(str, PAGES)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
    )
    report = folder / REPORT
    assert report.exists(), result.stderr[-4000:]
    return dict(json.loads(report.read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_python_block_runs(page: Path, failures: dict[str, str]) -> None:
    assert not failures[page.name], failures[page.name]


def run_pages(paths: list[str]) -> None:
    """The code of the subprocess."""
    folder = Path.cwd()
    failed = {}
    for path in map(Path, paths):
        os.chdir(folder / path.stem)
        try:
            run_page(path)
            failed[path.name] = ""
        except BaseException:  # a page may do anything, leaving the program included
            failed[path.name] = traceback.format_exc()
    (folder / REPORT).write_text(json.dumps(failed), encoding="utf-8")


def run_page(path: Path) -> None:
    """Tracebacks have the line numbers of the page."""
    page = path.read_text(encoding="utf-8")
    lines = page.splitlines()
    missed: list[str] = []

    def checked_print(*values: object, **options: Any) -> None:
        number = sys._getframe(1).f_lineno
        expected = lines[number - 1].partition("  # -> ")[2]
        printed = " ".join(map(str, values))
        if expected and printed != expected:
            missed.append(f"line {number} says {expected!r} and prints {printed!r}")
        print(*values, **options)

    sys.path.insert(0, os.getcwd())
    namespace: dict[str, Any] = {"__name__": "__main__", "print": checked_print}
    for block in to_run(page):
        if title := re.fullmatch(r'title="(\w+\.py)"', block.info):
            Path(title[1]).write_text(block.text, encoding="utf-8")
        else:
            exec(compile("\n" * block.line + block.text, path, "exec"), namespace)
    assert not missed, "\n".join(missed)


def test_the_list_of_pages_is_whole() -> None:
    listed = re.findall(r"\]\((\w+\.md)\)", (ROOT / "docs" / "index.md").read_text(encoding="utf-8"))
    assert sorted(listed) == sorted(page.name for page in (ROOT / "docs").glob("*.md") if page.name != "index.md")


def test_few_blocks_are_not_run_and_all_fences_are_known() -> None:
    infos = [
        block.info for page in PAGES for block in blocks(page.read_text(encoding="utf-8")) if block.language == "python"
    ]
    assert [info for info in infos if not re.fullmatch(r'(no-run|title="\w+\.py")?', info)] == []
    assert infos.count("no-run") <= MAX_NOT_RUN
    assert infos.count("") > MAX_NOT_RUN


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_fence_is_closed_and_python_can_be_parsed(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "```" not in prose(text)
    for block in blocks(text):
        if block.language == "python":
            ast.parse(block.text)


# What the reference lists is what there is


def signature_of(function: Callable[..., Any], *without: str) -> dict[str, Any]:
    """The parameters with their defaults; `...` for those without one."""
    parameters = inspect.signature(function).parameters.values()
    return {
        parameter.name: ... if parameter.default is parameter.empty else parameter.default
        for parameter in parameters
        if parameter.name not in ("self", *without)
    }


def test_public_names() -> None:
    (table,) = tables(REFERENCE.partition("\n## ")[0])
    assert sorted(first_cells(table)) == sorted(set(jina_embeddings.__all__) - {"__version__"})


def test_arguments_of_the_constructor() -> None:
    table = tables(section(REFERENCE, "Construction"))[0]
    *rows, rest = table[1:]
    documented = {code_of(row[0])[0]: ast.literal_eval(code_of(row[1])[0]) for row in rows}
    assert documented == signature_of(JinaEmbeddings.__init__, "options")
    assert code_of(rest[0]) == ["**options"]


def test_arguments_of_the_encode_methods() -> None:
    table = tables(section(REFERENCE, "Arguments"))[0]
    typed = {"encode_text": TextOptions, "encode_image": ImageOptions, "encode": EncodeOptions}
    signatures = {
        "encode_text": signature_of(JinaEmbeddings.encode_text, "texts"),
        "encode_image": signature_of(JinaEmbeddings.encode_image, "images"),
    }
    # `encode` passes its keywords on: what it takes is in EncodeOptions, with the defaults of the other two.
    defaults = signatures["encode_text"] | signatures["encode_image"]
    signatures["encode"] = {name: defaults[name] for name in EncodeOptions.__annotations__}
    for method, signature in signatures.items():
        column = table[0].index(f"`{method}`")
        rows = [row for row in table[1:] if row[column]]
        assert {code_of(row[0])[0]: ast.literal_eval(code_of(row[1])[0]) for row in rows} == signature
        assert set(typed[method].__annotations__) == set(signature), f"a{method} takes what {method} takes"
    assert signature_of(JinaEmbeddings.stream)["chunk_size"] is None
    assert signature_of(JinaEmbeddings.astream)["chunk_size"] is None
    assert VllmEngine.chunk_size == 256
    assert PaddedEngine.chunk_size == 64
    assert "256 on vLLM and 64 elsewhere" in section(REFERENCE, "Streams")


def test_methods_in_tables() -> None:
    encoding = tables(section(REFERENCE, "Encoding"))[0]
    verbs = {name for name in public_attributes() if re.fullmatch(r"a?(encode\w*|stream)", name)}
    assert set(first_cells(encoding)) == verbs
    scores = tables(section(REFERENCE, "Scores"))[0]
    for call in first_cells(scores):
        name, arguments = call.rstrip(")").split("(")
        assert list(signature_of(getattr(JinaEmbeddings, name))) == arguments.split(", ")
    assert len(first_cells(scores)) == 3


def public_attributes() -> set[str]:
    with JinaEmbeddings(engine="fake") as model:
        return {name for name in {*dir(model), *vars(model)} if not name.startswith("_")}


def test_every_public_method_and_attribute_is_mentioned() -> None:
    codes = code_of(prose(REFERENCE))
    mentioned = {re.sub(r"^(?:model|JinaEmbeddings)\.|\(.*$", "", code) for code in codes}
    assert sorted(public_attributes() - mentioned) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_attribute_is_mentioned_that_a_model_does_not_have(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    mentioned = set(re.findall(r"\b(?:model|JinaEmbeddings)\.([a-z]\w*)", text)) - {"safetensors"}
    assert sorted(mentioned - public_attributes() - {"layers", "language_model", "py"}) == []
    fields = {field.name for field in dataclasses.fields(ModelInfo)}
    assert set(re.findall(r"\bmodel\.info\.(\w+)", text)) <= fields


def test_fields_of_results() -> None:
    (info,) = tables(section(REFERENCE, "What a model says about itself"))
    assert first_cells(info) == [field.name for field in dataclasses.fields(ModelInfo)]
    bad_inputs = section(REFERENCE, "Bad inputs")
    assert first_cells(tables(bad_inputs)[0]) == list(Partial._fields)
    assert {field.name for field in dataclasses.fields(Skipped)} <= set(code_of(bad_inputs))


def test_keywords_in_the_text_exist() -> None:
    known = {option.name for option in dataclasses.fields(Options)}
    for method in (JinaEmbeddings.__init__, JinaEmbeddings.encode_text, JinaEmbeddings.encode_image):
        known |= set(signature_of(method))
    foreign = {"prompt", "page"}
    for page in (REFERENCE, TROUBLESHOOTING):
        keywords = {word for code in code_of(prose(page)) for word in re.findall(r"\b([a-z]\w*)=", code)}
        assert sorted(keywords - known - foreign) == []


def test_tasks_and_prompts() -> None:
    (table,) = tables(section(REFERENCE, "Tasks and prompts"))
    for task, prompt, text, _ in table[1:]:
        (prefix,) = [code.removesuffix("{text}") for code in code_of(text)]
        for name in code_of(task):
            chosen = code_of(prompt)[0] if code_of(prompt) else "passage"
            assert PREFIXES[resolve_task(name, chosen)[1]] == prefix
            if "default" in prompt:
                assert PREFIXES[resolve_task(name)[1]] == prefix
    codes = set(code_of(section(REFERENCE, "Tasks and prompts")))
    assert {"retrieval.query", "retrieval.passage", "code.query", "code.passage"} <= codes
    assert {*jina_embeddings.TASKS, *PREFIXES} <= codes


def test_embedding_types_and_pooling_functions() -> None:
    (table,) = tables(section(REFERENCE, "Embedding types"))
    assert first_cells(table) == list(EMBEDDING_TYPES)
    renamed = tables(section(REFERENCE, "Options"))[1][1]
    written = [code.rpartition("=")[2].strip('"') for code in code_of(renamed[0])]
    assert [resolve_pooling(name) for name in written] == code_of(renamed[1])
    assert set(code_of(section(REFERENCE, "Pooling"))) >= set(BUILT_IN)


def test_engines() -> None:
    table = tables(section(REFERENCE, "Engines"))[0]
    assert {*(code_of(cell)[0] for cell in table[0][1:]), "auto"} == set(ENGINES)


def test_the_cosine_between_engines_is_the_one_that_tests_ask_for() -> None:
    from inputs import COSINE

    assert f"a cosine of {COSINE} or more" in REFERENCE


# Errors


def test_troubleshooting_has_a_section_for_every_code() -> None:
    _, _, by_code = TROUBLESHOOTING.partition("\n## Errors by code\n")
    assert re.findall(r"^### `(.*)`$", by_code, re.MULTILINE) == [error.code for error in ERRORS.values()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_error_that_is_named_exists(page: Path) -> None:
    named = set(re.findall(r"\b[A-Z]\w+Error\b", prose(page.read_text(encoding="utf-8"))))
    assert sorted(name for name in named if name not in ERRORS and not hasattr(builtins, name)) == []


def message_patterns() -> list[tuple[str | None, re.Pattern[str]]]:
    """Patterns of the strings and f-strings in the source, with the error that is made of them if that is visible."""
    patterns = []
    for path in SOURCE.rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        error_of = {
            id(argument): getattr(call.func, "id", None)
            for call in nodes
            if isinstance(call, ast.Call)
            for argument in call.args
        }
        for node in nodes:
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            texts = [part.value if isinstance(part, ast.Constant) else None for part in parts]
            if sum(len(text) for text in texts if isinstance(text, str)) >= MIN_MESSAGE:
                pattern = re.compile("".join(re.escape(str(text)) if text else ".+" for text in texts))
                error = error_of.get(id(node))
                patterns.append((error if error in ERRORS else None, pattern))
    return patterns


def test_every_message_in_troubleshooting_is_one_that_the_source_can_make() -> None:
    patterns = message_patterns()
    lines = [line for block in blocks(TROUBLESHOOTING) if block.language == "text" for line in block.text.splitlines()]
    assert len(lines) > len(ERRORS)
    for line in lines:
        found = re.fullmatch(r"(?:([\w.]+Error): )?(?:input \d+: )?(.*)", line)
        assert found
        module, _, name = (found[1] or "").rpartition(".")
        if module:
            assert issubclass(getattr(importlib.import_module(module), name), JinaEmbeddingsError)
        makes = [error for error, pattern in patterns if pattern.fullmatch(found[2])]
        assert None in makes or name in makes or found[2] in FOREIGN_MESSAGES, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_module_function_and_file_of_the_package_that_is_named_exists(page: Path) -> None:
    text = prose(page.read_text(encoding="utf-8"))
    for name in re.findall(r"`jina_embeddings/([\w./]+)`", text):
        assert (SOURCE / name).exists()
    for name in set(re.findall(r"`(jina_embeddings(?:\.\w+)+)`", text)):
        found: Any = jina_embeddings
        for part in name.split(".")[1:]:
            if not hasattr(found, part):
                importlib.import_module(f"{found.__name__}.{part}")
            found = getattr(found, part)


# The command line, and environment variables


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_flag_of_ours_exists(page: Path) -> None:
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    groups = {name: command.commands for name, command in commands.items() if hasattr(command, "commands")}
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for block in blocks(text) for line in block.text.splitlines()] + code_of(prose(text))
    for line in lines:
        called = re.match(r"(?:\$ )?jina-embeddings ([a-z]\w*)(.*?)(?: +# .*)?$", line)
        if called:
            flags = re.findall(r"(?<= )--?[a-z][\w-]*", called[2])
            command = commands[called[1]]
            if called[1] in groups:
                # A hidden one stands for the group, where the first word names none of the others.
                usual = next((command for command in groups[called[1]].values() if command.hidden), None)
                command = groups[called[1]].get((called[2].split() or [""])[0], usual)
                assert command is not None, line
            known = [flag for parameter in command.params for flag in parameter.opts]
            assert sorted(set(flags) - {*known, "--help"}) == [], line


def read_variables() -> set[str]:
    """The environment variables that the source reads or sets, given as a literal or as a module's constant.

    options.py only lists them.
    """
    found: set[str] = set()
    for path in SOURCE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path.name == "options.py" or ("environ" not in text and "getenv" not in text):
            continue
        tree = ast.parse(text)
        places: list[ast.AST | None] = []
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                places += node.args[:1]
            elif isinstance(node, ast.Subscript):
                places.append(node.slice)
        for node in tree.body:
            value = getattr(node, "value", None)
            places += value.keys if isinstance(value, ast.Dict) else [value]
        constants = [place.value for place in places if isinstance(place, ast.Constant)]
        found |= {value for value in constants if isinstance(value, str) and re.fullmatch(r"[A-Z][A-Z_]{6,}", value)}
    return found


def test_environment_variables() -> None:
    documented = {name for names in VARIABLES for name in names.split(", ")}
    read = read_variables()
    assert {"JINA_EMBEDDINGS_LOG", "JINA_EMBEDDINGS_CACHE", "VLLM_PLUGINS"} <= read
    # Those of git are set for the git that lists a repository's files.
    assert sorted(name for name in read - documented if not name.startswith("GIT_")) == []
    assert sorted(name for name in documented - read if not name.startswith("HF_")) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_variable_of_ours_is_named_that_is_not_read(page: Path) -> None:
    named = set(re.findall(r"\bJINA_\w+", page.read_text(encoding="utf-8")))
    assert sorted(named - read_variables()) == []


# Links, and the tree of files


@pytest.mark.parametrize("page", [*PAGES, *sorted(set(ROOT.glob("*.md")) - set(PAGES))], ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    broken = []
    for link in re.findall(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)", re.sub(r"`[^`\n]*`", "", prose(text))):
        if re.match(r"[a-z][a-z+.-]*:|//", link):
            continue
        name, _, anchor = unquote(link).partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            broken.append(link)
    assert broken == []


def test_what_is_generated_is_current() -> None:
    from generate_docs import generated

    texts = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
    stale = [name for name, text in texts.items() if generated(text) != text]
    assert stale == [], "run python tools/generate_docs.py"


def test_what_can_be_generated_is() -> None:
    from generate_docs import PARTS, commands

    found = [
        part for page in PAGES for part in re.findall(r"<!-- generated: (.*) -->", page.read_text(encoding="utf-8"))
    ]
    assert sorted(found) == sorted([*(PARTS.keys() - {"command"}), *(f"command {name}" for name in commands())])


if __name__ == "__main__":
    run_pages(sys.argv[1:])
