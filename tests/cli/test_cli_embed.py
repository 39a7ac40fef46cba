"""`jina-embeddings embed`: rows, vectors and messages, mostly on the fake engine."""

from __future__ import annotations

import ast
import base64
import inspect
import io
import json
import os
import pty
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

import jina_embeddings
import jina_embeddings.engine.choice
from jina_embeddings import JinaEmbeddings
from jina_embeddings.cli import app, main
from jina_embeddings.cli.model import ModelChoice
from jina_embeddings.engine.fake import FakeEngine
from jina_embeddings.pipeline.embed import Embedded, embed_rows
from jina_embeddings.pipeline.rows import Failure, LeftOut, Row

MAX_HELP_S = 1.5
MAX_STOP_S = 10
COMMAND = [sys.executable, "-c", "from jina_embeddings.cli import main; main()"]
HEAVY = ("torch", "transformers", "vllm", "numpy", "pyarrow", "huggingface_hub")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder to work in; what the command sets in the environment is undone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", os.environ.copy())


def run(*arguments: str, stdin: str | None = None, engine: str = "fake") -> Any:
    return CliRunner().invoke(app, ["embed", *arguments, "--engine", engine], input=stdin, catch_exceptions=False)


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


def test_an_unknown_engine_is_refused_before_a_model_is_fetched() -> None:
    result = run("-", "-o", "v.jsonl", engine="transformer", stdin="x")
    assert result.stderr == "error [unknown_option]: unknown engine 'transformer'; did you mean 'transformers'?\n"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("-o", "v.csv"), "unknown_option"),
        (("-o", "none/v.npy"), "unknown_option"),
        (("-o", "v.npy", "--multivector"), "unknown_option"),
        (("--embedding-type", "int4"), "unknown_option"),
        (("--on-error", "ignore"), "unknown_option"),
        (("--task", "retrieve"), "unknown_task"),
        (("--prompt-name", "document"), "unknown_prompt"),
        (("--task", "code.query", "--prompt-name", "passage"), "unknown_prompt"),
        (("--multivector", "--truncate-dim", "128"), "unsupported_dimension"),
        (("--option", "max_modl_len=5"), "unknown_option"),
        (("--option", "max_model_len=many"), "unknown_option"),
        (("--option", "enforce_eager=perhaps"), "unknown_option"),
        (("--option", "max_model_len"), "unknown_option"),
        (("--option", "dtype=float32", "--dtype", "float32"), "unknown_option"),
    ],
)
def test_wrong_arguments_are_refused_before_the_model_is_looked_for(arguments: tuple[str, ...], code: str) -> None:
    output = () if "-o" in arguments else ("-o", "v.jsonl")
    result = run("-", *output, *arguments, "--model", "/no/such/model", engine="torch", stdin="x")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error [{code}]: ")
    assert result.stderr.count("\n") == 1
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--model", "/no/such/model"), "checkpoint_not_found"),
        (("--truncate-dim", "100", "--engine", "fake"), "unsupported_dimension"),
        (("--option", "dtype=float8", "--engine", "fake"), "unknown_option"),
        (("--local-files-only", "--model", "no-such/model"), "checkpoint_not_found"),
    ],
)
def test_errors_of_the_library_are_one_line(arguments: tuple[str, ...], code: str) -> None:
    command = ["embed", "-", "-o", "v.jsonl", "--engine", "torch", *arguments]
    result = CliRunner().invoke(app, command, input="x", catch_exceptions=False)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error [{code}]: ")
    assert result.stderr.count("\n") == 1
    assert os.listdir() == []


def test_options_reach_the_model_in_their_own_types(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    class Recorded(JinaEmbeddings):
        def __init__(self, model: str, **options: Any) -> None:
            given.update(options, model=model)
            super().__init__(model, **options)

    monkeypatch.setattr("jina_embeddings.embedder.JinaEmbeddings", Recorded)
    pairs = ("max_model_len=64", "normalize=no", "gpu_memory_utilization=0.5", "cache_dtype=fp8", "merge_adapter=code")
    arguments = [part for pair in pairs for part in ("--option", pair)]
    others = ("--model", "m", "--revision", "r", "--task", "code", "--device", "cpu", "--dtype", "bfloat16")
    assert run("-", "-o", "v.jsonl", *arguments, *others, stdin="x").exit_code == 0
    assert given == {
        "model": "m",
        "engine": "fake",
        "revision": "r",
        "task": "code",
        "local_files_only": False,
        "device": "cpu",
        "dtype": "bfloat16",
        "max_model_len": 64,
        "normalize": False,
        "gpu_memory_utilization": 0.5,
        "cache_dtype": "fp8",
        "merge_adapter": "code",
    }


def test_a_folder_with_the_output_in_it_can_be_embedded_again() -> None:
    Path("a.txt").write_text("text")
    for _ in range(2):
        assert run(".", "-o", "v.npy", "--overwrite").exit_code == 0
    assert ids("v.npy.rows.jsonl") == ["./a.txt"]


def test_without_a_terminal_only_one_line_is_printed() -> None:
    done = subprocess.run(
        [*COMMAND, "embed", "-", "-o", "v.jsonl", "--engine", "fake"], input=b"x\ny", capture_output=True, check=True
    )
    assert done.stdout == b""
    assert done.stderr.decode().count("\n") == 1
    assert done.stderr.decode().startswith("2 rows in ")
    assert "rows/s) in v.jsonl" in done.stderr.decode()


def test_a_terminal_gets_a_progress_bar_with_count_total_and_rate() -> None:
    Path("r.jsonl").write_text('{"text": "x"}\n' * 3000)
    ours, theirs = pty.openpty()
    command = [*COMMAND, "embed", "r.jsonl", "-o", "v.parquet", "--engine", "fake"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(command, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        # Linux ends a pseudo-terminal with an error, not with an end of file.
        while block := _read(ours):
            shown += block
    os.close(ours)
    assert process.returncode == 0
    text = shown.decode()
    assert "of 3,000 rows" in text
    assert " rows/s" in text
    assert text.rstrip().splitlines()[-1].endswith("in v.parquet")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""


@pytest.fixture(autouse=True)
def _interrupts_count() -> Iterator[None]:
    """Of a run of tests in a shell's background they don't, nor for what it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def start(*arguments: str) -> subprocess.Popen[bytes]:
    """A run that is reading its input, of which there is more to come, and has begun to write."""
    command = [*COMMAND, "embed", *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(b"x\n" * 100)
    process.stdin.flush()
    deadline = time.monotonic() + 60
    while not any(name.endswith(".part") for name in os.listdir()):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_file(number: int) -> None:
    with start("-", "-o", "v.parquet", "--engine", "fake") as process:
        process.send_signal(number)
        _, stderr = process.communicate(timeout=MAX_STOP_S)
    assert process.returncode == 130
    assert stderr == b"interrupted\n"
    assert os.listdir() == []


def test_a_killed_run_leaves_nothing_under_the_files_name() -> None:
    Path("v.parquet").write_text("old")
    with start("-", "-o", "v.parquet", "--overwrite", "--engine", "fake") as process:
        process.kill()
    assert Path("v.parquet").read_text() == "old"


def test_an_interrupt_does_not_wait_for_running_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine below takes long over every chunk, until it is closed."""
    closed = threading.Event()

    class SlowEngine(FakeEngine):
        def run(self, batch: Any, *, batch_size: int | None = None, call_size: int | None = None) -> Any:
            # Not at once: the other thread is to be waiting for this one's result.
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
            closed.wait(2 * MAX_STOP_S)
            return super().run(batch, batch_size=batch_size)

        def close(self) -> None:
            super().close()
            closed.set()

    monkeypatch.setattr("jina_embeddings.engine.fake.FakeEngine", SlowEngine)
    before = signal.getsignal(signal.SIGINT)
    began = time.perf_counter()
    result = run("-", "-o", "v.parquet", stdin="x")
    assert result.exit_code == 130
    assert time.perf_counter() - began < MAX_STOP_S
    assert os.listdir() == []
    assert signal.getsignal(signal.SIGINT) == before


def test_debug_shows_the_traceback_and_nothing_else_does() -> None:
    arguments = [*COMMAND, "embed", "-", "-o", "v.csv", "--engine", "fake"]
    plain = subprocess.run(arguments, input=b"x", capture_output=True)
    debug = subprocess.run([*arguments, "--debug"], input=b"x", capture_output=True)
    assert plain.returncode == debug.returncode == 2
    assert plain.stderr.count(b"\n") == 1
    assert debug.stderr.startswith(b"Traceback")
    assert debug.stderr.endswith(plain.stderr)


def test_debug_shows_the_packages_messages() -> None:
    arguments = ["embed", "-", "-o", "v.jsonl", "--engine", "fake", "--option", "enforce_eager=true"]
    done = subprocess.run([*COMMAND, *arguments, "--debug"], input=b"x", capture_output=True, check=True)
    assert b"enforce_eager has no effect on the fake engine" in done.stderr
    quiet = subprocess.run([*COMMAND, *arguments, "--overwrite"], input=b"x", capture_output=True, check=True)
    assert b"enforce_eager" not in quiet.stderr


def test_warnings_of_the_package_are_shown() -> None:
    arguments = ["embed", "-", "-o", "v.jsonl", "--engine", "fake", "--option", "swap_space=4"]
    done = subprocess.run([*COMMAND, *arguments], input=b"x", capture_output=True, check=True)
    first, summary = done.stderr.decode().splitlines()
    assert first.startswith("warning: swap_space=4.0: ")
    assert summary.startswith("1 row in ")


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


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    code = (
        "import sys, atexit\n"
        f"atexit.register(lambda: print(*sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr))\n"
        "from jina_embeddings.cli import main\nmain()"
    )
    times = []
    for arguments in (["--help"], ["embed", "--help"], ["doctor", "--help"]):
        # Of the processor, so that a busy machine fails nothing.
        began = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime)
        assert "Usage" in done.stdout
        assert done.stderr.strip() == ""
    assert min(times) < MAX_HELP_S


def test_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"jina-embeddings {jina_embeddings.__version__}\n")


def test_the_console_script_is_this_one() -> None:
    (script,) = entry_points(group="console_scripts", name="jina-embeddings")
    assert script.load() is main


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


def test_what_the_library_calls_by_its_name_is_named_as_the_commands_option(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("body\nx\n")
    arguments = ["embed", str(tmp_path / "t.csv"), "--output", str(tmp_path / "v.jsonl"), "--engine", "fake"]
    result = CliRunner().invoke(app, arguments)
    assert "name one with --text-field or --image-field" in result.stderr


def test_no_library_module_names_an_option_of_the_command_line() -> None:
    source = Path(jina_embeddings.__file__).parent
    options = {f"--{name.replace('_', '-')}" for name in inspect.signature(ModelChoice.of).parameters}
    for command in typer.main.get_command(app).commands.values():  # type: ignore[attr-defined]
        options |= {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
    naming = re.compile("|".join(rf"{option}(?![\w-])" for option in sorted(options)))
    strings = [
        (path.relative_to(source).as_posix(), node.value)
        for path in source.rglob("*.py")
        if path.parent.name not in ("cli", "doctor")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" not in node.value
    ]
    # git's own option.
    assert [(path, text) for path, text in strings if naming.search(text) and text != "--others"] == []
