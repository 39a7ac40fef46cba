"""The checkpoint of the engine `fake`: sizes of the published model, words for tokens, and no files."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ..types import ARCHITECTURE, TASKS
from .checkpoint import FAKE, Checkpoint
from .config import MAX_TEXT_TOKENS, ModelConfig, VisionConfig
from .tensors import WeightStore
from .tokenizer import IMAGE_PAD, VISION_END, VISION_START

CONFIG = ModelConfig(
    architecture=ARCHITECTURE,
    hidden_size=2048,
    intermediate_size=11_008,
    num_layers=36,
    num_heads=16,
    num_kv_heads=2,
    head_dim=128,
    vocab_size=151_936,
    max_length=MAX_TEXT_TOKENS,
    max_positions=128_000,
    norm_eps=1e-6,
    activation="silu",
    sliding_window=False,
    rope_type="default",
    rope_theta=1e6,
    mrope_section=(16, 24, 24),
    vision=VisionConfig(
        depth=32,
        hidden_size=1280,
        intermediate_size=3420,
        out_hidden_size=2048,
        patch_size=14,
        temporal_patch_size=2,
        spatial_merge_size=2,
        in_channels=3,
        activation="silu",
        num_heads=16,
        window_size=112,
        full_attention_blocks=(7, 15, 23, 31),
    ),
    multivector_dim=128,
    matryoshka_dims=(128, 256, 512, 1024, 2048),
    task_names=TASKS,
    weight_dtype=None,
    cautions={},
    names_model_type=True,
    truncate_dim=None,
)
_SPECIAL = {VISION_START: 1, IMAGE_PAD: 2, VISION_END: 3}


@dataclass(frozen=True)
class FakeCheckpoint(Checkpoint):
    """What the published model says of itself, without its files."""

    @cached_property
    def digest(self) -> str:
        return ""

    def tokenizer(self) -> Any:
        return WordTokenizer()

    def image_settings(self) -> dict[str, Any]:
        """The defaults."""
        return {}


def fake_checkpoint() -> FakeCheckpoint:
    nowhere = Path(FAKE)
    return FakeCheckpoint(FAKE, None, nowhere, CONFIG, WeightStore(nowhere), adapters=None, tasks=TASKS)


class _Ids(dict[str, int]):
    """The ids of the words that were seen."""

    def __missing__(self, word: str) -> int:
        number = _SPECIAL.get(word) or zlib.crc32(word.lower().encode()) % (2**31 - 16) + 16
        if len(self) < _MAX_KNOWN:
            self[word] = number
        return number


_MAX_KNOWN = 65_536
_KNOWN = _Ids()


class WordTokenizer:
    """Makes a token of each word, whose id is a checksum. Has the methods of a `tokenizers.Tokenizer` we use."""

    def encode_batch_fast(self, texts: list[str], add_special_tokens: bool = False) -> list[Any]:
        ids = _KNOWN.__getitem__
        return [SimpleNamespace(ids=list(map(ids, self._words(text)))) for text in texts]

    def get_vocab_size(self) -> int:
        return 2**31

    def decode(self, ids: list[int], skip_special_tokens: bool = True) -> str:
        """A word for each; which word had the id, its checksum doesn't say."""
        return " ".join(map(str, ids))

    def token_to_id(self, token: str) -> int:
        return _SPECIAL[token]

    @staticmethod
    def _words(text: str) -> list[str]:
        for token in _SPECIAL if "<|" in text else ():
            text = text.replace(token, f" {token} ")
        return text.split()
