"""Importing the package is cheap, and imports point down only."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import jina_embeddings

MAX_IMPORT_S = 0.3
HEAVY = ("torch", "vllm", "transformers", "tokenizers", "safetensors", "huggingface_hub", "PIL", "numpy")

# From the ground up. A room is a file or a folder; those of one floor may not import each other. Whoever adds
# a room says here where it stands.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "types", "fill"),
    ("options", "logs", "torch_companions"),
    ("vectors", "checkpoint"),
    ("inputs",),
    ("model", "plugin"),
    ("engine",),
    ("calls", "opened"),
    ("embedder",),
    ("__init__",),
    ("pipeline", "integrations"),
    ("apps",),
    ("server",),
    ("cli",),
    ("__main__",),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

SOURCE = Path(jina_embeddings.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_modules(path: Path) -> Iterator[str]:
    """Absolute names of everything that a file imports anywhere in it, submodules included."""
    package = path.relative_to(SOURCE.parent).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{module}.{alias.name}"


def imported_rooms(path: Path) -> Iterator[str]:
    for name in imported_modules(path):
        package, _, rest = name.partition(".")
        room = rest.partition(".")[0]
        # The version is all that a room may ask of the package itself.
        if package == "jina_embeddings" and rest != "__version__":
            yield room if room in FLOOR_OF else "__init__"


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def test_every_file_is_on_a_floor_and_every_floor_is_of_files() -> None:
    assert {room_of(path) for path in FILES} == set(FLOOR_OF)


def test_imports_point_down_only() -> None:
    """All imports count, also those inside functions and for type checkers."""
    upward = [
        f"{name_of(path)} imports {room}"
        for path in FILES
        for room in imported_rooms(path)
        if room != room_of(path) and FLOOR_OF[room] >= FLOOR_OF[room_of(path)]
    ]
    assert upward == []


def test_only_the_vllm_engine_and_the_plugin_import_vllm() -> None:
    others = [path for path in FILES if not name_of(path).startswith(("engine/vllm/", "plugin/"))]
    assert others
    found = [(name_of(path), name) for path in others for name in imported_modules(path)]
    assert [entry for entry in found if entry[1].partition(".")[0] == "vllm"] == []


def test_modules_above_the_embedder_import_no_engine() -> None:
    above = [path for path in FILES if FLOOR_OF[room_of(path)] > FLOOR_OF["__init__"]]
    found = [(name_of(path), name) for path in above for name in imported_modules(path)]
    assert [entry for entry in found if entry[1].startswith("jina_embeddings.engine")] == []


def modules_after(statement: str) -> list[str]:
    code = f"import sys, json\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return list(json.loads(done.stdout))


def test_importing_the_package_is_cheap() -> None:
    code = "import time; start = time.process_time(); import jina_embeddings; print(time.process_time() - start)"
    times = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
        times.append(float(done.stdout))
    assert min(times) < MAX_IMPORT_S


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert set(HEAVY).isdisjoint(modules_after("import jina_embeddings"))


@pytest.mark.parametrize(
    "statement",
    [
        "from jina_embeddings import JinaEmbeddings",
        "from jina_embeddings import *",
        "from jina_embeddings import JinaEmbeddings; JinaEmbeddings(engine='fake').encode_text('a')",
    ],
)
def test_the_class_itself_and_the_fake_engine_load_neither_torch_nor_vllm(statement: str) -> None:
    assert {"torch", "vllm", "transformers"}.isdisjoint(modules_after(statement))


def test_the_plugin_is_registered_without_loading_vllm() -> None:
    """vLLM looks entry points up in every process that it starts."""
    assert {"torch", "vllm", "numpy"}.isdisjoint(modules_after("import jina_embeddings.plugin"))


@pytest.mark.parametrize("name", jina_embeddings.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(jina_embeddings, name) is not None
    assert name in dir(jina_embeddings)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'JinaEmbedding'"):
        jina_embeddings.JinaEmbedding  # noqa: B018
