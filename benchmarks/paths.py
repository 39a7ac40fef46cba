"""Compares the packed and the scheduled path of the vLLM engine, in turns on one engine.

    python benchmarks/paths.py [--model FOLDER] [--rounds 3] [--scale 1.0]

Without --model it makes a tiny untrained checkpoint, with which next to all the time is overhead: what each
path costs an input before the model does any work. Texts are docstrings cut to 27, 256 and 2,000 tokens, and
uncut; pages are A4 at 150 dots an inch. All vectors of one path are compared with those of the other.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from from_tools import make_checkpoint, write_result
from texts import docstrings

if TYPE_CHECKING:
    from jina_embeddings import JinaEmbeddings

TASKS = ("retrieval", "text-matching", "code")
PATHS = ("packed", "scheduled")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the number of inputs of each set")
    arguments = parser.parse_args()

    from jina_embeddings import JinaEmbeddings
    from jina_embeddings.checkpoint import open_checkpoint
    from jina_embeddings.engine.choice import load_engine
    from jina_embeddings.options import make_options

    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.model or _tiny(Path(scratch))
        engine = load_engine("vllm", open_checkpoint(folder), make_options({"max_num_batched_tokens": 8192}, "vllm"))
        with JinaEmbeddings(folder, engine=engine) as model:
            figures = {
                name: measure(model, engine, inputs, options, arguments.rounds)
                for name, (inputs, options) in input_sets(arguments.scale).items()
            }
    write_result("paths", {"model": str(arguments.model or "tiny untrained checkpoint"), "sets": figures})


def _tiny(scratch: Path) -> Path:
    return make_checkpoint(scratch / "tiny", dtype="float32")


def input_sets(scale: float) -> dict[str, tuple[list[Any], dict[str, Any]]]:
    """The inputs and the options of each call, by name."""
    texts = docstrings(2000)
    long = [" ".join(texts[start : start + 12]) for start in range(0, 2000, 12)]
    some = int(scale * 2000)
    return {
        "27 tokens": (texts[:some], {"max_length": 27}),
        "256 tokens": (long[: some // 4], {"max_length": 256}),
        "2,000 tokens": (long[: some // 40], {"max_length": 2000}),
        "mixed lengths": (texts[: some // 2], {}),
        "27 tokens, multi-vector": (texts[: some // 2], {"max_length": 27, "return_multivector": True}),
        "A4 pages": ([page(number) for number in range(max(2, some // 250))], {}),
    }


def page(seed: int) -> Image.Image:
    """A page of text of 1240 x 1754 pixels, different for each seed."""
    image = Image.new("RGB", (1240, 1754), "white")
    draw = ImageDraw.Draw(image)
    for line, text in enumerate(docstrings(60, seed=seed, most=100)):
        draw.text((90, 90 + 26 * line), text.replace("\n", " "), fill="black", font_size=18)
    return image


def measure(
    model: JinaEmbeddings, engine: Any, inputs: list[Any], options: dict[str, Any], rounds: int
) -> dict[str, Any]:
    """The seconds of each path, measured in turns, their ratio, and the lowest cosine between them."""
    seconds: dict[str, list[float]] = {path: [] for path in PATHS}
    vectors: dict[str, Any] = {}
    for round_ in range(rounds + 1):
        for path in PATHS:
            engine.path = path
            started = time.perf_counter()
            vectors[path] = model.encode(inputs, task=TASKS[round_ % 3], **options)
            if round_:  # the first round only warms up
                seconds[path].append(time.perf_counter() - started)
    ratios = [b / a for a, b in zip(*seconds.values(), strict=True)]
    cosines = [float((a * b).sum(-1).min()) for a, b in zip(*vectors.values(), strict=True)]
    return {
        "num_inputs": len(inputs),
        "ms_per_input": {
            path: round(1000 * statistics.median(values) / len(inputs), 3) for path, values in seconds.items()
        },
        "times_as_fast": {"median": round(statistics.median(ratios), 2), "least": round(min(ratios), 2)},
        "least_cosine": round(float(np.min(cosines)), 7),
    }


if __name__ == "__main__":
    main()
