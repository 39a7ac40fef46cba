"""A look at the judged sets while training: dense recall@1 with the student as it is."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from evaluation.collect import load
from student import Student, text_vectors

MAX_TOKENS = 512
ROWS = 64


@torch.no_grad()
def vectors(student: Student, tokenizer: Tokenizer, texts: list[str], device: str) -> Tensor:
    """Unit vectors (n, hidden) of texts that have their prompts already."""
    rows = []
    for start in range(0, len(texts), ROWS):
        encodings = tokenizer.encode_batch_fast(texts[start : start + ROWS], add_special_tokens=False)
        ids = [encoding.ids[:MAX_TOKENS] for encoding in encodings]
        lengths = torch.tensor([len(row) for row in ids], device=device)
        padded = torch.zeros(len(ids), int(lengths.max()), dtype=torch.long)
        for row, values in zip(padded, ids, strict=True):
            row[: len(values)] = torch.tensor(values)
        rows.append(text_vectors(student, padded.to(device), lengths))
    return torch.cat(rows)


def report(student: Student, tokenizer: Tokenizer, build: Path, device: str) -> dict[str, float]:
    """Recall@1 by set, of the build/sets.json.gz that decontaminate.py writes; empty without it."""
    file = build / "sets.json.gz"
    if not file.is_file():
        return {}
    measured = {}
    for pairs in load(file).pairs:
        prompt = "Query: " if pairs.task == "text-matching" else "Passage: "
        queries = vectors(student, tokenizer, ["Query: " + text for text in pairs.queries], device)
        documents = vectors(student, tokenizer, [prompt + text for text in pairs.documents], device)
        best = (queries @ documents.T).argmax(1)
        measured[pairs.name] = round((best == torch.arange(len(best), device=best.device)).float().mean().item(), 4)
    return measured
