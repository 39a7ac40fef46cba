"""Kills indexing with SIGKILL at random moments, and compares the result with an index made without kills.

    python tools/kill_indexing.py [--kills 50] [--files 2000] [--engine fake] [--multivector int8] [--output FILE]

Half of the kills come at any moment after indexing has begun, the others within 30 ms of a file that appears in the
index, so in the middle of a write. After each the index is opened and searched. When a run gets to its end before it is
killed, the index is compared with one made from the same files in one go: the same passages at the same places, the
same metadata, the same words found, vectors that differ by no more than batches make them differ. Then a third of the
files is edited, replaced or renamed, and it goes on, so that updates are killed as well. The engine `fake` is so fast
that all would be one write, hence --write-passages; with `transformers`, the model is `pocket`. Prints one line of
JSON; exit status 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import numpy as np

from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.index import Index, update
from jina_embeddings.apps.index.multivectors import COLUMN, FORMATS, from_column
from jina_embeddings.apps.index.store import Store
from jina_embeddings.apps.retrieval import index_files
from results import circumstances

PROCESSES = multiprocessing.get_context("forkserver")
WRITE_DELAY_S = 0.03
MAX_VECTOR_DIFFERENCE = 1e-5
WORDS = [
    "bread",
    "water",
    "stone",
    "river",
    "engine",
    "letter",
    "window",
    "garden",
    "copper",
    "signal",
    "matrix",
    "planet",
    "winter",
    "market",
    "paper",
    "tunnel",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--engine", choices=["transformers", "fake"], default="fake")
    parser.add_argument("--multivector", choices=FORMATS, help="keep multi-vectors too, in this format")
    parser.add_argument("--max-wait", type=float, default=5.0, help="most seconds from the beginning to a kill")
    parser.add_argument("--write-passages", type=int, default=200, help="passages that are written at once")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="write the result here as well")
    arguments = parser.parse_args()
    # Importing takes longer than making a small index, so it is done once, in the process that the others are forked
    # from. That LanceDB warns of forks is about its threads, which have done nothing there.
    PROCESSES.set_forkserver_preload(
        ["__main__", "jina_embeddings.apps.retrieval", "jina_embeddings.engine.fake", "lancedb"]
    )
    with loaded(arguments.engine) as model, tempfile.TemporaryDirectory() as scratch:
        result = Trial(Path(scratch), model, arguments).run()
    result["same"] = not result["differences"]
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))
    sys.exit(0 if result["same"] else 1)


def loaded(engine: str) -> JinaEmbeddings:
    return JinaEmbeddings("pocket" if engine != "fake" else "fake", engine=engine)


def work(folder: Path, index: Path, arguments: argparse.Namespace, ready: Connection) -> None:
    """What is killed."""
    update.WRITE_PASSAGES = arguments.write_passages
    with loaded(arguments.engine) as model:
        ready.send("ready")
        index_files([folder], index, model, multivector=arguments.multivector)


class Trial:
    def __init__(self, scratch: Path, model: JinaEmbeddings, arguments: argparse.Namespace):
        self.folder, self.index, self.reference = (scratch / name for name in ("files", "index", "reference"))
        self.model, self.arguments = model, arguments
        self.random = random.Random(arguments.seed)
        self.kills: list[dict[str, Any]] = []
        self.differences: list[str] = []
        self.rounds: list[dict[str, Any]] = []

    def run(self) -> dict[str, Any]:
        self.folder.mkdir()
        for number in range(self.arguments.files):
            self.write(f"{number:05}.md")
        while True:
            done = self.killed_until_done()
            self.compare()
            if done:
                break
            self.change()
        return {
            **circumstances(),
            "engine": self.arguments.engine,
            "multivector": self.arguments.multivector,
            "files": self.arguments.files,
            "write_passages": self.arguments.write_passages,
            "num_kills": len(self.kills),
            "rounds": self.rounds,
            "kills_with_new_passages": sum(kill["passages"] != before for kill, before in self.with_before()),
            "max_vector_difference_allowed": MAX_VECTOR_DIFFERENCE,
            "differences": self.differences,
            "kills": self.kills,
        }

    def with_before(self) -> list[tuple[dict[str, Any], int]]:
        return list(zip(self.kills, [0, *(kill["passages"] for kill in self.kills)], strict=False))

    def killed_until_done(self) -> bool:
        """Runs and kills until a run completes; returns whether there have been enough kills."""
        while len(self.kills) < self.arguments.kills:
            process = self.start()
            began = time.monotonic()
            wait = self.random.uniform(0, self.arguments.max_wait)
            in_write = self.random.random() < 0.5
            if in_write:
                self.wait_for_a_write(process, wait)
                time.sleep(self.random.uniform(0, WRITE_DELAY_S))
            else:
                process.join(wait)
            process.kill()
            process.join()
            if process.exitcode != -signal.SIGKILL:
                assert process.exitcode == 0, "indexing failed"
                return False
            after = time.monotonic() - began
            self.kills.append({"after_s": round(after, 3), "in_write": in_write, "passages": self.opened()})
            print(len(self.kills), self.kills[-1], file=sys.stderr)
        process = self.start()
        process.join()
        assert process.exitcode == 0, "indexing failed"
        return True

    def start(self) -> ForkServerProcess:
        """Starts a process, and waits until it has begun to index."""
        ready, told = PROCESSES.Pipe(duplex=False)
        process = PROCESSES.Process(target=work, args=(self.folder, self.index, self.arguments, told))
        process.start()
        told.close()
        ready.recv()
        return process

    def wait_for_a_write(self, process: ForkServerProcess, earliest: float) -> None:
        """Until a file appears in the index, after `earliest` seconds if there are several."""
        began, before = time.monotonic(), self.num_files()
        while process.is_alive():
            now = self.num_files()
            if now != before and time.monotonic() > began + earliest / 2:
                return
            before = now

    def num_files(self) -> int:
        return sum(1 for _ in self.index.glob("passages.lance/*/*"))

    def opened(self) -> int:
        """The number of passages in the index; 0 if it doesn't exist yet."""
        if not Store.exists(str(self.index)):
            return 0
        index = Index.open(self.index, self.model)
        hits = index.search("copper river", limit=5)
        if len(hits) != min(5, len(index)):
            self.differences.append(f"kill {len(self.kills)}: {len(hits)} hits of {len(index)} passages")
        return len(index)

    def compare(self) -> None:
        shutil.rmtree(self.reference, ignore_errors=True)
        began = time.monotonic()
        index_files([self.folder], self.reference, self.model, multivector=self.arguments.multivector)
        took = time.monotonic() - began
        found, expected = read(self.index), read(self.reference)
        difference = found.difference(expected)
        if found.rows != expected.rows:
            self.differences.append(f"round {len(self.rounds)}: the passages differ")
        if difference is None or difference > MAX_VECTOR_DIFFERENCE:
            self.differences.append(f"round {len(self.rounds)}: the vectors differ by {difference}")
        self.compare_words(expected.rows)
        self.rounds.append(
            {
                "kills": len(self.kills) - sum(past["kills"] for past in self.rounds),
                "passages": len(expected.rows),
                "in_one_go_s": round(took, 1),
                "max_vector_difference": difference,
            }
        )

    def compare_words(self, expected: list[dict[str, Any]]) -> None:
        """Each title has a number of its own, by which words have to find it."""
        index = Index.open(self.index, self.model)
        if not index.store.indexes_words:
            self.differences.append(f"round {len(self.rounds)}: words have no index")
        for row in self.random.sample(expected, min(len(expected), 20)):
            hits = index.search(row["title"].split()[-1], mode="words", limit=1)
            if [hit.id for hit in hits] != [row["id"]]:
                self.differences.append(f"round {len(self.rounds)}: {row['title']!r} is not found by its number")

    def change(self) -> None:
        """Changes a third of the files: each is edited, replaced by a file of another name, or renamed."""
        names = sorted(path.name for path in self.folder.iterdir())
        for number, name in enumerate(self.random.sample(names, len(names) // 3)):
            path = self.folder / name
            if number % 4 == 0:
                path.unlink()
                self.write(f"new-{len(self.rounds)}-{name}")
            elif number % 4 == 1:
                path.rename(path.with_name(f"moved-{len(self.rounds)}-{name}"))
            else:
                self.write(name)

    def write(self, name: str) -> None:
        sections = [
            f"# {self.random.choice(WORDS)} {self.random.randrange(10**6)}\n\n"
            + " ".join(self.random.choices(WORDS, k=self.random.randint(5, 60)))
            for _ in range(self.random.randint(1, 4))
        ]
        (self.folder / name).write_text("\n\n".join(sections) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Content:
    """The contents of an index, in the order of documents and of their passages. rows: every column but the vectors."""

    rows: list[dict[str, Any]]
    vectors: np.ndarray
    tokens: list[np.ndarray]

    def difference(self, other: Content) -> float | None:
        """Returns the largest difference between any two values of vectors; None if their numbers differ."""
        if self.vectors.shape != other.vectors.shape or [*map(len, self.tokens)] != [*map(len, other.tokens)]:
            return None
        both = zip([self.vectors, *self.tokens], [other.vectors, *other.tokens], strict=True)
        return max(float(np.abs(one - another).max()) for one, another in both)


def read(address: Path) -> Content:
    import lancedb

    table = (
        lancedb.connect(str(address))
        .open_table("passages")
        .to_arrow()
        .sort_by([("path", "ascending"), ("position", "ascending")])
    )
    tokens = from_column(table[COLUMN]) if COLUMN in table.column_names else []
    vectors = np.array(table["vector"].to_pylist())
    return Content(
        table.drop_columns([name for name in ("vector", COLUMN) if name in table.column_names]).to_pylist(),
        vectors,
        tokens,
    )


if __name__ == "__main__":
    main()
