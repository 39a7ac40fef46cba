"""Tests an installed wheel in a clean environment, without any extra.

    make smoke

builds the wheel, installs it into an environment of its own, and runs this file there, from an empty folder.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from importlib.metadata import metadata
from importlib.resources import files
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

EXTRAS = ("vllm", "lancedb", "faiss", "nicegui", "pypdfium2", "tree_sitter", "pytest")
COMMAND = Path(sys.executable).parent / "jina-embeddings"


def main() -> None:
    present = [name for name in EXTRAS if importlib.util.find_spec(name) is not None]
    assert not present, f"the environment is not clean: it has {', '.join(present)}"
    check_contents()
    check_command()
    check_vectors()
    print("smoke: the wheel works")


def check_contents() -> None:
    """The package is the installed one and has type annotations, and its description has no relative links."""
    package = files("jina_embeddings")
    assert "site-packages" in str(package), f"{package} is not what was installed"
    assert (package / "py.typed").is_file()
    page = str(metadata("jina-embeddings-vllm").json["description"])
    assert page.startswith("# jina-embeddings-vllm")
    relative = re.findall(r"\]\((?!https?://)[^)]*\)", page)
    assert not relative, f"links that are broken outside the repository: {relative}"


def check_command() -> None:
    assert run("--version").startswith("jina-embeddings ")
    assert "pocket" in run("doctor", "--model", "pocket")
    Path("note.md").write_text("# A note\n\nBread is baked from flour and water.\n", encoding="utf-8")
    run("embed", "note.md", "--model", "pocket", "--output", "vectors.parquet")
    assert Path("vectors.parquet").stat().st_size > 0


def check_vectors() -> None:
    import numpy as np

    from jina_embeddings import JinaEmbeddings

    with JinaEmbeddings("pocket") as model:
        query = model.encode_text("how is bread made", prompt_name="query")
        texts = ["Bread is baked from flour and water.", "The market fell."]
        passages = model.encode_text(texts, prompt_name="passage")
        scores = model.similarity(query, passages)
    assert passages.shape == (2, 384)
    assert np.allclose(np.linalg.norm(passages, axis=1), 1, atol=1e-5)
    near, far = np.ravel(scores)
    assert near > far + 0.2, f"a question is nearer to what it doesn't ask for: {near:.2f} and {far:.2f}"


def run(*arguments: str) -> str:
    """The output of a command; if it fails, this program ends with its error."""
    done = subprocess.run([str(COMMAND), *arguments], capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        sys.exit(f"jina-embeddings {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
