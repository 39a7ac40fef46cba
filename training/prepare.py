"""From the sources' files to what one training run carries:  python training/prepare.py

    build/train/texts.parquet   every distinct text: student and teacher token ids, kind of prompt
    build/train/pairs.parquet   query and passage as rows of texts, kind, source
    build/train/passages.parquet  English passages as text, for rendered pages
    build/teacher/              the teacher in half precision
    build/parts/                all that a run of training reads, in parts of 60 MB (carry.py)

The student's ids have the prompt in front that the product would put there. The teacher's ids are there for English and code only;
of a translation, the English side is the target.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from carry import pack
from corpus import BUILD, tables

MAX_TOKENS = 384
TEACHER_TOKENS = 256
PROMPTS = {"query": "Query: ", "passage": "Passage: "}
ROWS_A_FILE = 120_000


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
    write_texts(folder / "texts.parquet", texts, options.teacher)
    columns = list(zip(*pairs, strict=True))
    pairs_table = pa.table(
        {
            "query": pa.array(columns[0], pa.int32()),
            "passage": pa.array(columns[1], pa.int32()),
            "kind": pa.array(columns[2]).dictionary_encode(),
            "source": pa.array(columns[3]).dictionary_encode(),
        }
    )
    pq.write_table(pairs_table, folder / "pairs.parquet", compression="zstd", compression_level=9)
    passages = [passages[i] for i in rng.permutation(len(passages))[:60_000]]
    passages_table = pa.table({"text": passages})
    pq.write_table(passages_table, folder / "passages.parquet", compression="zstd", compression_level=9)
    copy_teacher(options.teacher, BUILD / "teacher")
    carried = [BUILD / name for name in ("train", "teacher", "fonts", "tokenizer.json", "sets.json.gz")]
    carried += sorted(BUILD.glob("pictures-*.parquet"))
    parts = pack(BUILD / "parts", carried, 60_000_000, BUILD.parents[1])
    print(f"{parts} parts to carry")
    print(f"{len(texts.index):,} texts, {len(pairs):,} pairs, {len(passages):,} passages")


def copy_teacher(folder: Path, target: Path) -> None:
    """The teacher's files, its weights in half precision."""
    target.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(folder / name, target)
    weights = {name: tensor.half() for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})


def write_texts(path: Path, texts: Texts, teacher: Path) -> None:
    """Token ids of both models, uint16, in Parquet."""
    student_tokenizer = Tokenizer.from_file(str(BUILD / "tokenizer.json"))
    teacher_tokenizer = Tokenizer.from_file(str(teacher / "tokenizer.json"))
    teacher_tokenizer.no_padding()
    teacher_tokenizer.enable_truncation(TEACHER_TOKENS)
    schema = pa.schema({"student": pa.list_(pa.uint16()), "teacher": pa.list_(pa.uint16())})
    keys = list(texts.index)
    with pq.ParquetWriter(path, schema, compression="zstd", compression_level=9, use_dictionary=False) as writer:
        for start in range(0, len(keys), ROWS_A_FILE):
            part = keys[start : start + ROWS_A_FILE]
            student = student_tokenizer.encode_batch_fast([PROMPTS[prompt] + text for text, prompt in part])
            english = [text if texts.english[start + i] else "" for i, (text, _) in enumerate(part)]
            teacher_ids = teacher_tokenizer.encode_batch_fast(english)
            writer.write_table(
                pa.table(
                    [
                        pa.array([e.ids[:MAX_TOKENS] for e in student], pa.list_(pa.uint16())),
                        pa.array(
                            [e.ids if text else [] for e, text in zip(teacher_ids, english, strict=True)],
                            pa.list_(pa.uint16()),
                        ),
                    ],
                    schema=schema,
                )
            )


if __name__ == "__main__":
    main()
