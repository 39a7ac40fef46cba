"""The Transformers engine beside sentence-transformers, on one checkpoint and the same texts.

    python benchmarks/transformers_engine.py [--texts 2000] [--rounds 5]

Both load the same untrained merged checkpoint in float32 and embed docstrings of mixed length, in turns, so
that a machine that slows down slows both. sentence-transformers runs as it comes (batches of 32, sorted by
length), with one thing taken away: the checkpoint's chat template, which it would otherwise put around every
text, and which the model was not trained with. The vectors are compared, so that both did the same work.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from report import write_result
from texts import docstrings

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    texts = docstrings(arguments.texts)

    from jina_embeddings import JinaEmbeddings
    from jina_embeddings.torch_companions import repair
    from make_checkpoint import make_checkpoint

    repair()
    import torch
    from sentence_transformers import SentenceTransformer

    with tempfile.TemporaryDirectory() as scratch:
        folder = make_checkpoint(Path(scratch) / "ours", layout="merged", task="code", dtype="float32")
        theirs = Path(shutil.copytree(folder, Path(scratch) / "theirs"))
        (theirs / "chat_template.jinja").unlink()
        model = JinaEmbeddings(folder, task="code", engine="transformers", dtype="float32")
        other = SentenceTransformer(str(theirs), device="cpu", model_kwargs={"dtype": torch.float32})

        def ours_run() -> np.ndarray:
            return model.encode_text(texts)

        def theirs_run() -> np.ndarray:
            return other.encode(texts, prompt="Query: ", normalize_embeddings=True)

        cosines = (ours_run() * theirs_run()).sum(axis=1)
        seconds: dict[str, list[float]] = {"ours": [], "sentence-transformers": []}
        for _ in range(arguments.rounds):
            for name, run in (("ours", ours_run), ("sentence-transformers", theirs_run)):
                started = time.perf_counter()
                run()
                seconds[name].append(time.perf_counter() - started)

    ratios = [b / a for a, b in zip(seconds["ours"], seconds["sentence-transformers"], strict=True)]
    write_result(
        "transformers_engine",
        {
            "num_texts": len(texts),
            "least_cosine": round(float(cosines.min()), 7),
            "seconds": {name: [round(value, 3) for value in values] for name, values in seconds.items()},
            "texts_per_second": {
                name: round(len(texts) / statistics.median(values), 1) for name, values in seconds.items()
            },
            "times_as_fast": {
                "median": round(statistics.median(ratios), 2),
                "least": round(min(ratios), 2),
                "most": round(max(ratios), 2),
            },
        },
    )


if __name__ == "__main__":
    main()
