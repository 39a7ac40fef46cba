"""A look at the judged sets while training: dense recall@1 with the student as it is."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from student import Student
from vision_stage import text_vectors

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
    """Recall@1 by set, of build/judged.json: {set: {"queries": [...], "passages": [...]}}, row i answers row i."""
    file = build / "judged.json"
    if not file.is_file():
        return {}
    measured = {}
    for name, texts in json.loads(file.read_text(encoding="utf-8")).items():
        queries = vectors(student, tokenizer, ["Query: " + text for text in texts["queries"]], device)
        prompt = "Query: " if texts.get("symmetric") else "Passage: "
        passages = vectors(student, tokenizer, [prompt + text for text in texts["passages"]], device)
        best = (queries @ passages.T).argmax(1)
        measured[name] = round((best == torch.arange(len(best), device=best.device)).float().mean().item(), 4)
    return measured
