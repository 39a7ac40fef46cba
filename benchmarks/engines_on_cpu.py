"""Compares the engines without vLLM with sentence-transformers, on one checkpoint and the same texts.

    python benchmarks/engines_on_cpu.py [--texts 2000] [--rounds 5]

All load the same untrained merged checkpoint in float32 and embed docstrings of mixed length, in turns, so
that a machine that slows down slows all. sentence-transformers runs as it comes (batches of 32, sorted by
length), with one thing taken away: the checkpoint's chat template, which it would otherwise put around every
text, and which the model was not trained with. The vectors are compared, so that all did the same work.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from from_tools import make_checkpoint, write_result
from texts import docstrings

OTHER = "sentence-transformers"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    texts = docstrings(arguments.texts)

    from jina_embeddings import JinaEmbeddings
    from jina_embeddings.torch_companions import repair

    repair()
    import torch
    from sentence_transformers import SentenceTransformer

    with tempfile.TemporaryDirectory() as scratch:
        folder = make_checkpoint(Path(scratch) / "ours", layout="merged", task="code", dtype="float32")
        theirs = Path(shutil.copytree(folder, Path(scratch) / "theirs"))
        (theirs / "chat_template.jinja").unlink()
        other = SentenceTransformer(str(theirs), device="cpu", model_kwargs={"dtype": torch.float32})
        systems: dict[str, Callable[[], np.ndarray]] = {
            engine: partial(JinaEmbeddings(folder, task="code", engine=engine, dtype="float32").encode_text, texts)
            for engine in ("torch", "transformers")
        }
        systems[OTHER] = partial(other.encode, texts, prompt="Query: ", normalize_embeddings=True)
        vectors = {name: run() for name, run in systems.items()}
        cosines = {name: (rows * vectors[OTHER]).sum(axis=1) for name, rows in vectors.items() if name != OTHER}
        seconds: dict[str, list[float]] = {name: [] for name in systems}
        for _ in range(arguments.rounds):
            for name, run in systems.items():
                started = time.perf_counter()
                run()
                seconds[name].append(time.perf_counter() - started)

    ratios = {
        name: [b / a for a, b in zip(seconds[name], seconds[OTHER], strict=True)] for name in seconds if name != OTHER
    }
    write_result(
        "engines_on_cpu",
        {
            "num_texts": len(texts),
            "least_cosine": {name: round(float(values.min()), 7) for name, values in cosines.items()},
            "seconds": {name: [round(value, 3) for value in values] for name, values in seconds.items()},
            "texts_per_second": {
                name: round(len(texts) / statistics.median(values), 1) for name, values in seconds.items()
            },
            "times_as_fast": {
                name: {
                    "median": round(statistics.median(values), 2),
                    "least": round(min(values), 2),
                    "most": round(max(values), 2),
                }
                for name, values in ratios.items()
            },
        },
    )


if __name__ == "__main__":
    main()
