"""From the sources' files to what one training run carries:  python training/prepare.py

    build/train/texts.parquet   every distinct text, the prompt that it stands under, and whether it is English
    build/train/pairs.parquet   query and passage as rows of texts, kind, source
    build/train/passages.parquet  English passages as text, for rendered pages
    build/train/words.parquet   English words and names, to make texts of (synthesis.py)
    build/teacher/              the teacher in half precision
    build/parts/                all that a run of training reads, in parts (carry.py)

Texts travel as text: compressed they are a third of their token ids in both vocabularies, which batches.py makes of
them where they are trained on.
"""

from __future__ import annotations

import argparse
import re
import shutil
from collections import Counter
from collections.abc import Iterable
from itertools import compress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from carry import pack
from corpus import BUILD, tables

COMPRESSION = {"compression": "zstd", "compression_level": 19}
WORD = re.compile(r"\b[A-Za-z][a-z]{2,}\b")
MIN_MENTIONS = 4
"""Rarer words of the corpus are mostly misspelt."""


class Texts:
    """Distinct texts in the order of their first mention, each under one prompt."""

    def __init__(self) -> None:
        self.index: dict[tuple[str, str], int] = {}
        self.english: list[bool] = []

    def add(self, text: str, prompt: str, english: bool) -> int:
        key = (text, prompt)
        if key not in self.index:
            self.index[key] = len(self.index)
            self.english.append(english)
        return self.index[key]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=Path, required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--most", type=int, default=400_000, help="most pairs of one source file")
    parser.add_argument("--megabytes", type=int, default=50, help="the most that a part holds")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    texts, pairs, passages = Texts(), [], []
    for name, table in tables("pairs-*"):
        keep = np.sort(rng.permutation(len(table))[: options.most])
        for row in table.take(keep).to_pylist():
            kind, english = row["kind"], row["language"] == "en"
            prompt = "query" if kind == "translation" else "passage"
            query = texts.add(row["query"].strip(), "query", english)
            passage = texts.add(row["passage"].strip(), prompt, True)
            if query != passage:
                pairs.append((query, passage, kind, f"{name}:{row['language']}"))
            if kind == "passage" and len(row["passage"]) > 250:
                passages.append(row["passage"])
    for _, table in tables("texts-*"):
        keep = np.sort(rng.permutation(len(table))[: options.most])
        for row in table.take(keep).to_pylist():
            prompt = "passage" if rng.random() < 0.5 else "query"
            texts.add(row["text"].strip(), prompt, row["language"] == "en")
            if len(row["text"]) > 250:
                passages.append(row["text"])
    folder = BUILD / "train"
    folder.mkdir(exist_ok=True)
    rows = [(text, prompt == "query") for text, prompt in texts.index]
    columns = [*zip(*rows, strict=True), texts.english]
    texts_table = pa.table(dict(zip(("text", "is_query", "english"), columns, strict=True)))
    pq.write_table(texts_table, folder / "texts.parquet", **COMPRESSION)
    english = (text for text, _ in texts.index)
    words = english_words(compress(english, texts.english), names(), options.teacher)
    pq.write_table(pa.table({"word": words}), folder / "words.parquet", **COMPRESSION)
    columns = list(zip(*pairs, strict=True))
    pairs_table = pa.table(
        {
            "query": pa.array(columns[0], pa.int32()),
            "passage": pa.array(columns[1], pa.int32()),
            "kind": pa.array(columns[2]).dictionary_encode(),
            "source": pa.array(columns[3]).dictionary_encode(),
        }
    )
    pq.write_table(pairs_table, folder / "pairs.parquet", **COMPRESSION)
    passages = [passages[i] for i in rng.permutation(len(passages))[:60_000]]
    passages_table = pa.table({"text": passages})
    pq.write_table(passages_table, folder / "passages.parquet", **COMPRESSION)
    copy_teacher(options.teacher, BUILD / "teacher")
    carried = [BUILD / name for name in ("train", "teacher", "fonts", "tokenizer.json", "sets.json.gz")]
    carried += sorted(BUILD.glob("pictures-*.parquet"))
    parts = pack(BUILD / "parts", carried, options.megabytes * 1_000_000, BUILD.parents[1])
    print(f"{parts} parts to carry")
    print(f"{len(texts.index):,} texts, {len(pairs):,} pairs, {len(passages):,} passages")


def copy_teacher(folder: Path, target: Path) -> None:
    """The teacher's files, its weights in half precision."""
    target.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(folder / name, target)
    weights = {name: tensor.half() for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})


def english_words(texts: Iterable[str], names: Iterable[str], teacher: Path) -> list[str]:
    """Words of the corpus in small letters, whole words of the teacher's vocabulary, which knows more of the world, names."""
    mentions: Counter[str] = Counter()
    for text in texts:
        mentions.update({word.lower() for word in WORD.findall(text)})
    vocabulary = Tokenizer.from_file(str(teacher / "tokenizer.json")).get_vocab()
    known = {word for word in vocabulary if WORD.fullmatch(word)}
    return sorted({*names, *known} | {word for word, count in mentions.items() if count >= MIN_MENTIONS})


def names() -> list[str]:
    """The names of `sources/names.py`, as they are typed into a search box."""
    return [name.lower() for _, table in tables("texts-names") for name in table["text"].to_pylist()]


if __name__ == "__main__":
    main()
